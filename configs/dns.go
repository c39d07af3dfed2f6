package configs

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// DNS is one address, by UDP and TCP, that answers the DNS questions of programs that
// resolve by themselves.
type DNS struct {
	Listen    string       `toml:"listen,required"` // host:port; port 0 takes any that is free
	Addresses Addresses    `toml:"addresses"`       // what names have; default AddressesReal
	Upstreams []NameServer `toml:"upstream,single"` // the first that works is asked; none with AddressesStandIn alone
	Via       string       `toml:"via"`             // the name of a chain or group, or Direct, by which they are reached; goes with them
	Blocked   BlockedName  `toml:"blocked"`         // default BlockedMissing
	Open      bool         `toml:"open"`            // listen beyond loopback; default false
	Cache     uint         `toml:"cache"`           // how many answers are kept; default 4096, no more than MostCached
}

func (n *DNS) setDefaults() { n.Addresses, n.Blocked, n.Cache = AddressesReal, BlockedMissing, 4096 }

// Addresses are what programs are told that names have.
type Addresses string

// The values of Addresses.
const (
	AddressesReal    Addresses = "real"     // what the servers say
	AddressesStandIn Addresses = "stand-in" // some that stand for them, which the listeners turn into names again
)

// StandsIn reports whether a DNS listener of c hands out addresses that stand for names.
func (c *Client) StandsIn() bool {
	return slices.ContainsFunc(c.DNS, func(n DNS) bool { return n.Addresses == AddressesStandIn })
}

// MostCached is how many answers may be kept.
const MostCached = 1 << 20

// A NameServer is the URL of a DNS server: https://host/path (RFC 8484), tls://host
// (RFC 7858) or tcp://host, each with a port or without.
type NameServer string

// BlockedName is what is said of a name that the routes block.
type BlockedName string

// The values of BlockedName.
const (
	BlockedMissing BlockedName = "nxdomain" // there is none
	BlockedZero    BlockedName = "zero"     // it has the addresses 0.0.0.0 and ::
)

func parseNameServer(s string) (any, error) {
	return NameServer(s), checkNameServer(s, "https", "tls", "tcp")
}

// checkNameServer tells what is wrong with the URL of a DNS server.
func checkNameServer(s string, known ...string) error {
	u, err := url.Parse(s)
	if err != nil && strings.Contains(s, "@") { // its text could hold a password
		return errors.New("is not a valid URL; write https://host/dns-query, tls://host or tcp://host")
	}
	switch {
	case err != nil || u.Hostname() == "" || u.Opaque != "":
		return fmt.Errorf("%q is not a valid URL; write https://host/dns-query, tls://host or tcp://host", s)
	case !slices.Contains(known, u.Scheme):
		return fmt.Errorf("scheme %q is not known; %s", u.Scheme, orElse(u.Scheme, known, "write "+strings.Join(known[:len(known)-1], ", ")+" or "+known[len(known)-1]))
	case u.User != nil:
		return errors.New("has credentials, which are not sent; leave them out")
	case u.Port() != "" && !isPort(u.Port()):
		return fmt.Errorf("port %s is out of range; give one from 1 to 65535", u.Port())
	case u.Fragment != "" || strings.ContainsAny(s, "{}"):
		return fmt.Errorf("%q is a template or has a fragment; questions are posted, so leave out what stands in braces or behind #", s)
	case u.Scheme != "https" && (strings.Trim(u.Path, "/") != "" || u.RawQuery != ""):
		return fmt.Errorf("%q has a path, which %s servers have not; leave it out", s, u.Scheme)
	}
	if a, err := netip.ParseAddr(u.Hostname()); err == nil && (a.Zone() != "" || a.IsUnspecified() || a.IsMulticast()) {
		return fmt.Errorf("%q is no address of a server that could be reached; give another", u.Hostname())
	}
	return nil
}

func (n DNS) check(d *decoder, path string, chains []string) {
	listen := join(path, "listen")
	if strings.HasPrefix(n.Listen, "unix:") {
		d.fail(listen, "%q is a socket, and DNS is asked at a port; give host:port", n.Listen)
	} else if !d.address(n.Listen, listen) && !n.Open && !d.failed[join(path, "open")] {
		d.fail(listen, "%q can be reached from other machines, and DNS asks for no credentials; "+
			"listen on 127.0.0.1, or say open = true", n.Listen)
	}
	n.checkUpstreams(d, path)
	for i, u := range n.Upstreams {
		if u != "" && slices.Contains(n.Upstreams[:i], u) {
			d.fail(at(join(path, "upstream"), i), "%q stands there twice; remove one", u)
		}
	}
	if n.Cache > MostCached {
		d.fail(join(path, "cache"), "%d is more than the %d that may be kept; write less", n.Cache, MostCached)
	}
	via := join(path, "via")
	switch {
	case n.Via == Block:
		d.fail(via, "%q leads nowhere; name a chain, or remove the table", n.Via)
	case n.Via != "" && n.Via != Direct && !slices.Contains(chains, n.Via):
		d.fail(via, "chain %q is not defined; %s", n.Via,
			orElse(n.Via, append([]string{Direct}, chains...), fmt.Sprintf("add a [[chain]] with name = %q, or write %q", n.Via, Direct)))
	}
}

// checkUpstreams fails if there is nobody to ask who is needed, or no way there.
func (n DNS) checkUpstreams(d *decoder, path string) {
	upstream, via := join(path, "upstream"), join(path, "via")
	if d.failed[join(path, "addresses")] {
		return
	}
	if n.Addresses == AddressesStandIn {
		d.bothOrNeither(path, "upstream", "via")
	} else {
		if !d.has(upstream) {
			d.fail(path, `upstream is missing; write upstream = ["..."]`)
		}
		if !d.has(via) {
			d.fail(path, `via is missing; add via = "..."`)
		}
	}
	if d.has(upstream) && len(n.Upstreams) == 0 && !d.failed[upstream] {
		d.fail(upstream, `is empty; write upstream = ["..."]`)
	}
}
