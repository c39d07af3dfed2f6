package local

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

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

// TestForwardAnswersAsAsked is the same for the datagrams of a forward.
func TestForwardAnswersAsAsked(t *testing.T) {
	target := udpEcho(t)
	text := fmt.Sprintf("[[forward]]\nlisten = \"0.0.0.0:0\"\nopen = true\nnetwork = \"udp\"\ntarget = %q\nto = \"direct\"\n", target)
	_, _, forwards := serveServer(t, parse(t, text), &net.Dialer{})
	_, port, _ := net.SplitHostPort(forwards[0].String())
	for _, at := range []string{"127.0.0.1", "127.0.0.2", "127.1.2.3"} {
		c, err := net.Dial("udp", net.JoinHostPort(at, port))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for range 2 {
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			if _, err := io.WriteString(c, "hello"); err != nil {
				t.Fatal(err)
			}
			if n, err := c.Read(make([]byte, 10)); n != 5 || err != nil {
				t.Errorf("asked at %s: %d bytes, %v", at, n, err)
			}
		}
	}
}
