package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/quic-go/quic-go/http3"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/httpproxy"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/masque"
)

// start3 serves an egress with HTTP/3, whose address is the second.
func start3(t testing.TB, p *Policy, with ...func(*Server)) (s *Server, addr, addr3, token string) {
	t.Helper()
	s, addr, token = startWide(t, Windows{}, p, with...)
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	served := make(chan error, 1)
	go func() { served <- s.ServePacket(conn) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = s.Shutdown(ctx)
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("ServePacket: %v", err)
		}
	})
	return s, addr, conn.LocalAddr().String(), token
}

func through3(t testing.TB, s *Server, addr, token string) *chain.Chain {
	t.Helper()
	sum, err := PinSum(s.Certificate)
	must(t, err)
	cfg := &tls.Config{}
	httpproxy.PinSPKI(cfg, sum)
	c, err := chain.New(udpToo{testnet.Only(t, &net.Dialer{}, addr)},
		masque.Hop(addr, httpproxy.HopOptions{User: "alice", Password: token, TLS: cfg}))
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// udpToo says that it carries UDP.
type udpToo struct{ chain.Dialer }

func (udpToo) Carries(string) bool { return true }

// TestTunnel3 carries bytes to a name that the egress resolves, half-close included.
func TestTunnel3(t *testing.T) {
	l := testnet.Listen(t)
	go testnet.Echo(l)
	port := netip.MustParseAddrPort(l.Addr().String()).Port()
	s, _, addr, token := start3(t, &Policy{
		Resolver: names{"target.example": addrs("127.0.0.1"), "private.example": addrs("10.0.0.1")},
		Base:     &net.Dialer{},
		Allow:    prefixes("127.0.0.1/32"),
	})
	c := through3(t, s, addr, token)
	for range 3 {
		conn, err := c.Dial("tcp", net.JoinHostPort("target.example", itoa(port)))
		must(t, err)
		_, err = io.WriteString(conn, "hello")
		must(t, err)
		must(t, chain.CloseWrite(conn))
		if got, err := io.ReadAll(conn); err != nil || string(got) != "hello" {
			t.Errorf("echo %q, %v", got, err)
		}
		_ = conn.Close()
	}
	_, err := c.Dial("tcp", "private.example:443")
	if e := (*chain.Error)(nil); !errors.As(err, &e) || e.Phase != chain.PhaseConnect || chain.Errno(err) == 0 {
		t.Errorf("a target that is not allowed: %v", err)
	}
}

// TestStrangers3: who has no good credential gets the website, and nothing is dialled or
// looked up.
func TestStrangers3(t *testing.T) {
	s, addr, addr3, _ := start3(t, &Policy{Resolver: forbidden{t}, Base: testnet.NoDial(t)})
	_, err := through3(t, s, addr3, strings.Repeat("x", 32)).Dial("tcp", "target.example:443")
	if e := (*chain.Error)(nil); !errors.As(err, &e) || e.Phase != chain.PhaseAuth {
		t.Errorf("with a wrong token: %v", err)
	}
	cfg := &tls.Config{InsecureSkipVerify: true} //nolint:gosec // whose site it is, is known
	three := &http3.Transport{TLSClientConfig: cfg}
	defer three.Close()
	two := &http.Transport{TLSClientConfig: cfg, ForceAttemptHTTP2: true}
	defer two.CloseIdleConnections()
	_, port, _ := net.SplitHostPort(addr3)
	for name, get := range map[string]struct {
		rt   http.RoundTripper
		at   string
		tell string
	}{
		"HTTP/3": {three, addr3, ""},
		"HTTP/2": {two, addr, `h3=":` + port + `"; ma=2592000`},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+get.at+"/", nil)
		must(t, err)
		r.Header.Set("Proxy-Authorization", "Bearer nonsense")
		resp, err := get.rt.RoundTrip(r)
		must(t, err)
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || string(body) != "the website" || resp.Header.Get("Alt-Svc") != get.tell {
			t.Errorf("%s: %q, %v, Alt-Svc %q", name, body, err, resp.Header.Get("Alt-Svc"))
		}
	}
}

// TestShutdown3 waits for a tunnel on HTTP/3, and delivers what is said on it last.
func TestShutdown3(t *testing.T) {
	l := testnet.Listen(t)
	s, _, addr, token := start3(t, &Policy{Resolver: forbidden{t}, Base: &net.Dialer{}, Allow: prefixes("127.0.0.1/32")})
	c := through3(t, s, addr, token)
	conn, err := c.Dial("tcp", l.Addr().String())
	must(t, err)
	target, err := l.Accept()
	must(t, err)
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(context.Background()) }()
	for range 10 { // round trips, in which it could end
		_, err = io.WriteString(conn, "x")
		must(t, err)
		_, err = io.ReadFull(target, make([]byte, 1))
		must(t, err)
	}
	select {
	case err := <-done:
		t.Fatalf("it did not wait for the tunnel: %v", err)
	default:
	}
	words := strings.Repeat("last words", 10_000)
	go func() {
		_, _ = io.WriteString(target, words)
		_ = target.Close()
	}()
	if got, err := io.ReadAll(conn); err != nil || string(got) != words {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	_ = conn.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
