package local

import (
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/dnsask"
	"github.com/byway-proxy/byway/internal/testnet"
)

// zone is a DNS server's knowledge.
type zone map[string]string

func (z zone) Addrs(_ context.Context, name string) ([]netip.Addr, error) {
	a, err := netip.ParseAddr(z[name])
	return []netip.Addr{a}, err
}

func (z zone) Names(_ context.Context, a netip.Addr) ([]string, error) {
	return []string{z[a.String()]}, nil
}

// silent is a hop's far end that resolves nothing, and reaches a DNS server alone.
func dnsOnly(t *testing.T) chain.Dialer {
	return chain.DialerFunc(func(_ context.Context, network, addr string) (net.Conn, error) {
		if network != "tcp" || addr != "9.9.9.9:53" {
			t.Errorf("the far end was asked for %s %s", network, addr)
		}
		near, far := testnet.Pipe(0)
		go dnsask.Answer(far, zone{"website.example": "192.0.2.7", "192.0.2.7": "website.example"}, time.Minute)
		return near, nil
	})
}

// TestResolveByDNS asks a DNS server through the chain, where the hop resolves no
// names; without one in the file it is refused.
func TestResolveByDNS(t *testing.T) {
	hop := socksServer(t, dnsOnly(t))
	for dns, want := range map[string]string{
		"dns = \"9.9.9.9:53\"\n": "\x05\x00\x05\x00\x00\x01\xc0\x00\x02\x07\x00\x00",
		"":                       "\x05\x00\x05\x07\x00\x01\x00\x00\x00\x00\x00\x00",
	} {
		config := strings.Replace(through(hop), "[[route]]", dns+"[[route]]", 1)
		addr := serve(t, config, testnet.Only(t, &net.Dialer{}, hop))
		for range 2 {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(c, "\x05\x01\x00\x05\xf0\x00\x03\x0fwebsite.example\x00\x00")
			if got, err := io.ReadAll(c); string(got) != want || err != nil {
				t.Errorf("%q: answered %q, %v", dns, got, err)
			}
			_ = c.Close()
		}
	}
}
