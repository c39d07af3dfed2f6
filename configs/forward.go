package configs

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"unicode"
)

// Forward is a port of this machine that leads to one target.
type Forward struct {
	Listen  string  `toml:"listen,required"` // host:port; port 0 takes any that is free
	Target  string  `toml:"target,required"` // host:port, the name for the far end to resolve
	To      string  `toml:"to,required"`     // the name of a chain, or Direct; the routes are not asked
	Network Network `toml:"network"`         // default TCP
	Open    bool    `toml:"open"`            // listen beyond loopback; default false
}

func (f *Forward) setDefaults() { f.Network = TCP }

// Network is what is carried: streams or datagrams.
type Network string

// The networks.
const (
	TCP Network = "tcp"
	UDP Network = "udp"
)

func (f Forward) check(d *decoder, path string, chains []string) {
	listen := join(path, "listen")
	if strings.HasPrefix(f.Listen, "unix:") {
		d.fail(listen, "%q is a socket, and forwards are for ports; give host:port", f.Listen)
	} else if !d.address(f.Listen, listen) && !f.Open && !d.failed[join(path, "open")] {
		d.fail(listen, "%q can be reached from other machines, and a forward asks for no credentials; "+
			"listen on 127.0.0.1, or say open = true", f.Listen)
	}
	if target := join(path, "target"); f.Target != "" && !isTarget(f.Target) {
		d.fail(target, `%q is not host:port; write it like "db.example:5432" or "[2001:db8::1]:53"`, f.Target)
	}
	to := join(path, "to")
	switch {
	case f.To == Block:
		d.fail(to, "%q leads nowhere; name a chain, or remove the forward", f.To)
	case f.To != "" && f.To != Direct && !slices.Contains(chains, f.To):
		d.fail(to, "chain %q is not defined; %s", f.To,
			orElse(f.To, append([]string{Direct}, chains...), fmt.Sprintf("add a [[chain]] with name = %q, or write %q", f.To, Direct)))
	}
}

// isTarget reports whether s is a host and a port to connect to. What a name may
// have in it, the hops say.
func isTarget(s string) bool {
	host, port, err := net.SplitHostPort(s)
	return err == nil && host != "" && isPort(port) && !strings.ContainsFunc(host, func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r) || r == '/' || r == '@'
	})
}

// entrances fails if there is nothing to listen on.
func (c *Client) entrances(d *decoder) {
	const advice = "add a [[listen]] table"
	switch {
	case len(c.Listeners) > 0 || len(c.Forwards) > 0 || len(c.DNS) > 0 || d.failed["listen"] || d.failed["forward"] || d.failed["dns"]:
	case d.has("listen"):
		d.fail("listen", "is empty; "+advice)
	default:
		d.fail("", "listen is missing; "+advice)
	}
}

// apart fails for forwards and DNS that listen where another one or a listener does.
func (c *Client) apart(d *decoder) {
	taken := make(map[string]string)
	for i, l := range c.Listeners {
		taken["tcp "+l.Address] = join(at("listen", i), "address")
	}
	take := func(path, address string, networks ...Network) {
		for _, n := range networks {
			key := string(n) + " " + address
			if first, ok := taken[key]; ok && !strings.HasSuffix(address, ":0") {
				d.fail(path, "is taken already, on line %d; choose another", d.line(first))
				return
			}
			taken[key] = path
		}
	}
	for i, f := range c.Forwards {
		take(join(at("forward", i), "listen"), f.Listen, f.Network)
	}
	for i, n := range c.DNS {
		take(join(at("dns", i), "listen"), n.Listen, TCP, UDP)
	}
}
