package local

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/httpproxy"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/local/names"
	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/socks"
)

// A beyond is the far end, which notes what it is asked for and echoes.
type beyond struct {
	tcp, udp net.Addr
	mu       sync.Mutex
	asked    []string
}

func newBeyond(t *testing.T) *beyond {
	l := testnet.Listen(t)
	go testnet.Echo(l)
	return &beyond{tcp: l.Addr(), udp: udpEcho(t)}
}

func (b *beyond) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if strings.HasPrefix(addr, "127.0.0.1:") { // whether first data is passed on
		return nil, syscall.EACCES
	}
	b.mu.Lock()
	b.asked = append(b.asked, network+" "+addr)
	b.mu.Unlock()
	if network == "udp" {
		return (&net.Dialer{}).DialContext(ctx, network, b.udp.String())
	}
	return (&net.Dialer{}).DialContext(ctx, network, b.tcp.String())
}

func (b *beyond) Carries(string) bool { return true }

func (b *beyond) take() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.asked
	b.asked = nil
	return all
}

// TestStandInsLead asks for the addresses that stand for a name by each protocol: what the hop is
// asked for is the name.
func TestStandInsLead(t *testing.T) {
	far := newBeyond(t)
	hop := socksServer(t, far)
	base := loopbackOnly{t}
	text := strings.Replace(through(hop), "[[route]]", "[[route]]\nto = \"direct\"\ncidr = [\"0.0.0.0/0\", \"::/0\"]\n[[route]]", 1)
	s, listeners, _ := serveServer(t, parse(t, text+standInDNS), base)
	addr := listeners[0].String()
	dns := s.DNS()[0].String()
	v4, v6 := asks(t, dns, "udp", "target.example"), asks6(t, dns, "target.example")
	if a := netip.MustParseAddr(v4); !names.StandIns4.Contains(a) {
		t.Fatalf("target.example is %s", v4)
	}
	if a := netip.MustParseAddr(v6); !names.StandIns6.Contains(a) {
		t.Fatalf("target.example is %s", v6)
	}
	as6 := netip.AddrFrom16(netip.MustParseAddr(v4).As16()).String()
	for name, hop := range map[string]chain.Hop{
		"socks4": socks.Hop4(addr, socks.HopOptions{}), "socks4a": socks.Hop4a(addr, socks.HopOptions{}),
		"socks5": socks.Hop5(addr, socks.HopOptions{}), "connect": httpproxy.Hop(addr, httpproxy.HopOptions{}),
	} {
		app, err := chain.New(&net.Dialer{}, hop)
		if err != nil {
			t.Fatal(err)
		}
		defer app.Close()
		for _, host := range []string{v4, v6, as6} {
			if strings.HasPrefix(name, "socks4") && host != v4 {
				continue
			}
			c, err := app.DialContext(t.Context(), "tcp", net.JoinHostPort(host, "7"))
			if err != nil {
				t.Fatalf("%s to %s: %v", name, host, err)
			}
			checkEcho(t, c)
			_ = c.Close()
			if got := far.take(); !slices.Equal(got, []string{"tcp target.example:7"}) {
				t.Errorf("%s to %s: the far end was asked for %q", name, host, got)
			}
		}
		if name == "socks5" {
			c, err := app.DialContext(t.Context(), "udp", net.JoinHostPort(v4, "7"))
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(c, "hello")
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			if n, err := c.Read(make([]byte, 10)); n != 5 || err != nil {
				t.Errorf("udp: %d bytes, %v", n, err)
			}
			_ = c.Close()
			if got := far.take(); !slices.Equal(got, []string{"udp target.example:7"}) {
				t.Errorf("udp: the far end was asked for %q", got)
			}
			if got, err := app.Resolve(t.Context(), v6); err != nil || got != "target.example" {
				t.Errorf("RESOLVE_PTR: %q, %v", got, err)
			}
		}
		stranger := "198.18.0.1"
		if stranger == v4 {
			stranger = "198.18.0.2"
		}
		for _, host := range []string{stranger, "fc00::ffff:1"} {
			if _, err := app.DialContext(t.Context(), "tcp", net.JoinHostPort(host, "7")); err == nil {
				t.Errorf("%s: %s was reached, which stands for nothing", name, host)
			}
		}
	}
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: addr}), DisableKeepAlives: true}}
	resp, err := client.Get("http://" + v4 + ":7/")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if got := far.take(); !slices.Equal(got, []string{"tcp target.example:7"}) {
		t.Errorf("plain HTTP: the far end was asked for %q", got)
	}
	if e := s.Explain(relay.Request{Network: "tcp", Addr: v4 + ":7"}, time.Now()); e.Target.Name != "target.example" || e.Decision.Target != "target.example:7" || e.Path.To != "c" {
		t.Errorf("explained as %+v", e)
	}
}

// loopbackOnly is the system's dialer, and fails the test when it is asked for what is beyond this machine.
type loopbackOnly struct{ t *testing.T }

func (d loopbackOnly) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if !strings.HasPrefix(addr, "127.0.0.1:") {
		return testnet.NoDial(d.t).DialContext(ctx, network, addr)
	}
	return (&net.Dialer{}).DialContext(ctx, network, addr)
}

func (loopbackOnly) Carries(string) bool { return true }

func asks6(t *testing.T, addr, name string) string {
	t.Helper()
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}}
	all, err := r.LookupNetIP(t.Context(), "ip6", name+".")
	if err != nil || len(all) != 1 {
		t.Fatalf("%v, %v", all, err)
	}
	return all[0].String()
}
