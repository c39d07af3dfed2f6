package configs

import (
	"net/netip"
	"path/filepath"
	"strings"
)

// check reports what is wrong with values that are each fine by themselves.
func (e *Egress) check(d *decoder) {
	for i, l := range e.Listeners {
		d.address(l.Address, join(at("listen", i), "address"))
		d.onlyFirst("listen", i)
	}
	e.TLS.check(d)
	for i, s := range e.Sites {
		s.check(d, at("site", i))
		d.onlyFirst("site", i)
	}
	d.users("user", elements(e.Users, func(u User) string { return u.Name }))
	e.HTTP2.check(d)
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
		for _, key := range []string{"tls.names", "tls.state"} {
			if d.has(key) {
				d.fail(key, "is for a certificate that is made here, and one is given; remove one of the two")
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

func (s Site) check(d *decoder, path string) {
	root, upstream := d.has(join(path, "root")), d.has(join(path, "upstream"))
	switch {
	case root && upstream:
		d.fail(path, "has both root and upstream; keep one of them")
	case !root && !upstream:
		d.fail(path, `has neither root nor upstream; add root = "folder" or upstream = "http://127.0.0.1:8080"`)
	}
	if u := s.Upstream; u != nil {
		place := join(path, "upstream")
		if u.Scheme != "http" && u.Scheme != "https" {
			d.fail(place, "scheme %q is not known; write http or https", u.Scheme)
		}
		if u.User != nil {
			d.fail(place, "has credentials, which a site does not take; leave them out")
		}
	}
}
