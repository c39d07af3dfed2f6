package local

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/byway-proxy/byway/internal/testnet"
)

// answering is a configuration with one DNS listener, beyond hop.
func answering(hop string) string {
	return strings.Replace(through(hop), "[[route]]", "[[route]]\nto = \"block\"\ndomain = \"website.blocked\"\n[[route]]", 1) +
		"[[dns]]\nlisten = \"127.0.0.1:0\"\nupstream = \"tcp://9.9.9.9\"\nvia = \"c\"\n"
}

// asks looks a name up by the DNS listener at addr.
func asks(t *testing.T, addr, network, name string) string {
	t.Helper()
	r := &net.Resolver{PreferGo: true, StrictErrors: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, addr)
	}}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	all, err := r.LookupNetIP(ctx, "ip4", name+".")
	if err != nil || len(all) != 1 {
		return "none"
	}
	return all[0].Unmap().String()
}

// TestDNS answers by UDP and TCP of one port, through the chain alone. What the routes block
// is not asked about.
func TestDNS(t *testing.T) {
	hop := socksServer(t, dnsOnly(t))
	s, err := New(parse(t, answering(hop)), testnet.Only(t, &net.Dialer{}, hop), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	addr := s.DNS()[0].String()
	for _, network := range []string{"udp", "tcp"} {
		for name, want := range map[string]string{
			"website.example": "192.0.2.7", "website.blocked": "none", "localhost": "127.0.0.1", "website.onion": "none",
		} {
			if got := asks(t, addr, network, name); got != want {
				t.Errorf("%s by %s: %s, want %s", name, network, got, want)
			}
		}
	}
	before := s.relay.Live()
	if _, err := s.newIdentity(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if got := asks(t, addr, "udp", "website.example"); got != "192.0.2.7" || before != 1 {
		t.Errorf("a new identity is told %s; %d conns were kept", got, before)
	}
	if all := s.Lint(); len(all) > 0 {
		t.Errorf("there is more to say: %v", all)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// TestDNSPortTaken says so, in the place of the file, and leaves nothing open.
func TestDNSPortTaken(t *testing.T) {
	taken := testnet.Listen(t)
	text := strings.Replace(answering("127.0.0.1:1"), "listen = \"127.0.0.1:0\"\nupstream", "listen = \""+taken.Addr().String()+"\"\nupstream", 1)
	s, err := New(parse(t, text), testnet.NoDial(t), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Listen(t.Context()); err == nil || !strings.Contains(err.Error(), "dns[0].listen: cannot be listened on") {
		t.Errorf("Listen: %v", err)
	}
	_ = s.Close()
}
