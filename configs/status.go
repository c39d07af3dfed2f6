package configs

import (
	"net"
	"net/netip"
	"strings"
)

// StatusPage is where a running byway tells what it does: metrics for Prometheus at /metrics, and a page.
// Its zero value is nowhere.
type StatusPage struct {
	Listen string `toml:"listen"` // host:port of this machine alone, or unix:/path for its user alone
	Token  Secret `toml:"token"`  // for the page; without, one is made at each start
}

// Socket returns the path of a unix socket, if Listen is one.
func (s *StatusPage) Socket() (path string, ok bool) { return strings.CutPrefix(s.Listen, "unix:") }

func (s *StatusPage) check(d *decoder) {
	if s.Listen == "" {
		if s.Token.Reveal() != "" {
			d.fail("status.token", "is for a page that is not served; add listen")
		}
		return
	}
	if path, ok := s.Socket(); ok {
		if !strings.HasPrefix(path, "/") {
			d.fail("status.listen", `%q has no path from the root to a socket; write it like "unix:/run/byway-status.sock"`, s.Listen)
		}
		return
	}
	host, port, err := net.SplitHostPort(s.Listen)
	if err != nil || port == "" {
		d.fail("status.listen", "is not host:port; write 127.0.0.1:9095, or unix:/path")
		return
	}
	if a, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !a.IsLoopback()) {
		d.fail("status.listen", "%q is beyond this machine, and the page is in the clear; listen on 127.0.0.1, and put a server with TLS before it if need be", host)
	}
}
