package configs

import (
	"net/netip"
	"path/filepath"
	"reflect"
	"strings"
)

// check reports what is wrong with values that are each fine by themselves.
func (e *Egress) check(d *decoder) {
	for i, l := range e.Listeners {
		d.address(l.Address, join(at("listen", i), "address"))
		d.onlyFirst("listen", i)
		if l.Plain && !e.front {
			d.fail(join(at("listen", i), "plain"), "would have tokens sent in the clear; remove it (it is for \"byway front\", which has no tunnels)")
		}
		l.checkHTTPPort(d, join(at("listen", i), "http_port"))
	}
	e.noTunnels(d)
	if plain := len(e.Listeners) > 0 && e.Listeners[0].Plain && e.front; !plain || d.has("tls") {
		e.TLS.check(d)
		e.ECH.check(d)
	}
	e.checkACME(d)
	e.checkSites(d)
	e.checkUsers(d)
	e.HTTP2.check(d)
	if !d.failed["udp.flows_per_user"] && e.UDP.FlowsPerUser < 1 {
		d.fail("udp.flows_per_user", "is less than 1; give a number from 1 up")
	}
}

// noTunnels fails if there are no users, unless that is what is wanted.
func (e *Egress) noTunnels(d *decoder) {
	switch {
	case e.front || len(e.Users) > 0 || d.failed["user"] || d.has("store"):
	case d.has("user"):
		d.fail("user", "is empty; %s", example(reflect.TypeOf(e.Users), "user"))
	default:
		d.fail("", "user is missing; %s", example(reflect.TypeOf(e.Users), "user"))
	}
}

func (h HTTP2) check(d *decoder) {
	for key, v := range map[string]Size{"http2.stream_window": h.StreamWindow, "http2.session_window": h.SessionWindow} {
		if !d.failed[key] && (v < 64*KiB || v > GiB) {
			d.fail(key, "is out of range; give a size from 64KiB to 1GiB")
		}
	}
	if !d.failed["http2.stream_window"] && !d.failed["http2.session_window"] && h.StreamWindow > h.SessionWindow {
		d.fail("http2.session_window", "is smaller than the window of one stream; make it larger, or stream_window smaller")
	}
	if !d.failed["http2.budget"] && h.Budget > 0 && h.Budget < h.SessionWindow {
		d.fail("http2.budget", `is too small for one session; make it larger, or "0MiB" to leave all windows as they are`)
	}
}

func (d *decoder) onlyFirst(list string, i int) {
	if i > 0 {
		d.fail(at(list, i), "comes after the one on line %d, and for now there is exactly one; remove one of the two",
			d.line(at(list, 0)))
	}
}

func (t *EgressTLS) check(d *decoder) {
	d.bothOrNeither("tls", "certificate", "key")
	if d.has("tls.certificate") || d.has("tls.key") {
		for _, key := range []string{"tls.names", "tls.state", "tls.acme"} {
			if d.has(key) {
				d.fail(key, "is for a certificate that is made or asked for, and one is given; remove one of the two")
			}
		}
		return
	}
	for i, name := range t.Names {
		if path := at("tls.names", i); !d.failed[path] && !isHost(name) {
			d.fail(path, `%q is neither a DNS name nor an IP address; write it like "www.example.org"`, name)
		}
	}
	if len(t.Names) == 0 && !d.failed["tls.names"] && !d.failed["tls"] {
		d.fail("tls.names", `no certificate is given and none can be made without names; `+
			`add [tls] with names = ["..."], or with certificate and key`)
	}
	if t.State == "" {
		t.State = filepath.Join(d.dir, "state")
	}
}

func isAddr(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// isHost reports whether s may stand in a certificate: an IP address, or a DNS
// name of letters, digits and hyphens, whose first label may be "*".
func isHost(s string) bool {
	if ip, err := netip.ParseAddr(s); err == nil {
		return ip.Zone() == ""
	}
	if len(s) > 253 {
		return false
	}
	for i, label := range strings.Split(s, ".") {
		if i == 0 && label == "*" && len(s) > 1 {
			continue
		}
		odd := func(r rune) bool { return r > 127 || !isBareByte(byte(r)) || r == '_' }
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, odd) || strings.Trim(label, "-") != label {
			return false
		}
	}
	return true
}
