package local

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/byway-proxy/byway/internal/testnet"
)

// TestDNSAnswersAsAsked listens at all addresses, and answers from the one that was asked: a
// resolver takes no other for its server's.
func TestDNSAnswersAsAsked(t *testing.T) {
	for _, wildcard := range []string{"0.0.0.0", "[::]", ""} {
		text := fmt.Sprintf("[[dns]]\nlisten = \"%s:0\"\nopen = true\naddresses = \"stand-in\"\n[[route]]\nto = \"direct\"\n", wildcard)
		s, _, _ := serveServer(t, parse(t, text), testnet.NoDial(t))
		_, port, _ := net.SplitHostPort(s.DNS()[0].String())
		all := []string{"127.0.0.1", "127.0.0.2", "127.1.2.3"}
		if l, err := net.Listen("tcp", "[::1]:0"); err == nil {
			_ = l.Close()
			all = append(all, "::1")
		}
		for _, at := range all {
			for range 2 {
				if got := asks(t, net.JoinHostPort(at, port), "udp", "a.example"); !strings.HasPrefix(got, "198.1") {
					t.Errorf("%q, asked at %s: %s", wildcard, at, got)
				}
			}
		}
	}
}
