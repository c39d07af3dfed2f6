package egress

import (
	"crypto/tls"
	"io"
	"net"
	"testing"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/httpproxy"
	"github.com/byway-proxy/byway/internal/testnet"
)

// TestPaddedTunnel carries bytes between a hop and an egress that pad, and tells a hop that an egress does not.
func TestPaddedTunnel(t *testing.T) {
	l := testnet.Listen(t)
	go testnet.Echo(l)
	p := &Policy{Resolver: forbidden{t}, Base: &net.Dialer{}, Allow: prefixes("127.0.0.1/32")}
	padded := func(s *Server, addr, token string) *chain.Chain {
		sum, err := PinSum(s.Certificate)
		must(t, err)
		cfg := &tls.Config{}
		httpproxy.PinSPKI(cfg, sum)
		c, err := chain.New(&net.Dialer{}, httpproxy.HopTLS(addr, httpproxy.HopOptions{User: "alice", Password: token, TLS: cfg, Padding: true}))
		must(t, err)
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	if _, err := padded(start(t, p)).Dial("tcp", l.Addr().String()); err == nil {
		t.Error("a tunnel without padding was taken for one with it")
	}
	c := padded(startWith(t, p, func(s *Server) { s.Padding = true }))
	conn, err := c.Dial("tcp", l.Addr().String())
	must(t, err)
	defer conn.Close()
	for range 20 { // more than are padded
		_, err := io.WriteString(conn, "hello")
		must(t, err)
		got := make([]byte, 5)
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != "hello" {
			t.Fatalf("echo %q, %v", got, err)
		}
	}
	must(t, chain.CloseWrite(conn))
	if rest, err := io.ReadAll(conn); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v", rest, err)
	}
}
