package netlab

import (
	"context"
	"io"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/route"
	"github.com/byway-proxy/byway/socks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLab(t *testing.T) {
	lab := New(t)
	a, b, c := lab.Host(), lab.Host(), lab.Host()
	const delay = 5 * time.Millisecond
	lab.Link(a, b, delay)
	lab.Link(b, c, delay)
	lab.Route()
	l, err := c.Listen(7)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go testnet.Echo(l)
	began := time.Now()
	conn, err := a.DialContext(t.Context(), "tcp", c.Addr(7))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if took := time.Since(began); took < 4*delay {
		t.Errorf("a dial over %v each way took %v", 2*delay, took)
	}
	if _, err := io.WriteString(conn, "hello"); err != nil {
		t.Fatal(err)
	}
	if err := chain.CloseWrite(conn); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	// The hosts are alone in their world.
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if conn, err := a.DialContext(ctx, "tcp", "192.0.2.1:80"); err == nil {
		_ = conn.Close()
		t.Error("a host reached an address that no host has")
	}
	if _, err := a.DialContext(ctx, "tcp", "localhost:80"); err == nil {
		t.Error("a host dialled a name")
	}
}

// BenchmarkFirstByte measures the time from a request to the first byte of its
// answer over four legs of 25 ms each way: directly, and through three SOCKS5 hops.
func BenchmarkFirstByte(b *testing.B) {
	lab := New(b)
	var hosts []*Host
	for i := range 5 {
		hosts = append(hosts, lab.Host())
		if i > 0 {
			lab.Link(hosts[i-1], hosts[i], 25*time.Millisecond)
		}
	}
	lab.Route()
	client, target := hosts[0], hosts[4]
	l, err := target.Listen(7)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go testnet.Echo(l)
	for _, h := range hosts[1:4] {
		serveSOCKS(b, h)
	}
	ways := []struct {
		name string
		d    chain.Dialer
	}{
		{"direct", client},
		{"serial", socksChain(b, client, hosts[1:4], socks.Off, false)},
		{"pipelined", socksChain(b, client, hosts[1:4], socks.On, false)},
		{"auto", socksChain(b, client, hosts[1:4], socks.Auto, false)},
		{"spare", socksChain(b, client, hosts[1:4], socks.Auto, true)},
	}
	for _, w := range ways {
		b.Run(w.name, func(b *testing.B) {
			firstByte(b, w.d, target.Addr(7)) // auto learns
			for b.Loop() {
				b.StopTimer()
				time.Sleep(time.Second) // as a person would; a spare is made meanwhile
				b.StartTimer()
				firstByte(b, w.d, target.Addr(7))
			}
			b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/first-byte")
		})
	}
}

func firstByte(b *testing.B, d chain.Dialer, addr string) {
	conn, err := d.DialContext(b.Context(), "tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("x")); err != nil {
		b.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		b.Fatal(err)
	}
}

func serveSOCKS(b *testing.B, h *Host) {
	l, err := h.Listen(1080)
	if err != nil {
		b.Fatal(err)
	}
	s := &socks.Server{Relay: &relay.Relay{Router: route.Table{{To: h, Via: "direct"}}}}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _ = s.ServeConn(context.Background(), c) }()
		}
	}()
	b.Cleanup(func() {
		_ = l.Close()
		_ = s.Relay.Close()
	})
}

func socksChain(b *testing.B, client *Host, through []*Host, p socks.Pipeline, spare bool) chain.Dialer {
	var hops []chain.Hop
	for _, h := range through {
		hops = append(hops, socks.Hop5(h.Addr(1080), socks.HopOptions{Pipeline: p}))
	}
	if spare {
		hops[len(hops)-1] = chain.Spare(hops[len(hops)-1], chain.SpareOptions{})
	}
	c, err := chain.New(client, hops...)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	return c
}
