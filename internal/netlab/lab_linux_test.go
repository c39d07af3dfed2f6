package netlab

import (
	"context"
	"io"
	"slices"
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

// A way is how an app may reach the target.
type way struct {
	name string
	d    chain.Dialer
}

// BenchmarkFirstByte measures the time from a dial to the first byte of the answer
// over four legs of 25 ms each way: directly, and through three SOCKS5 hops. Figures
// are medians in ms.
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
	client, hops, target := hosts[0], hosts[1:4], hosts[4]
	l, err := target.Listen(7)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go testnet.Echo(l)
	for _, h := range hops {
		serveSOCKS(b, h, 1080, &socks.Server{Relay: &relay.Relay{Router: route.Table{{To: h, Via: "direct"}}}})
	}
	b.Run("cold", func(b *testing.B) {
		takeTurns(b, target.Addr(7),
			way{"direct", client},
			way{"serial", socksChain(b, client, hops, socks.Off, false)},
			way{"pipelined", socksChain(b, client, hops, socks.On, false)},
			way{"auto", socksChain(b, client, hops, socks.Auto, false)})
	})
	b.Run("warm", func(b *testing.B) {
		warm := socksChain(b, client, hops, socks.Auto, true)
		takeTurns(b, target.Addr(7),
			way{"direct", client},
			way{"spare", warm},
			way{"listener", listener(b, client, 1081, relay.Request{}, warm)},
			way{"early", listener(b, client, 1082, relay.Request{EarlyReply: true}, warm)})
	})
}

// takeTurns measures the ways in turn, so that what else the machine does meets all.
func takeTurns(b *testing.B, addr string, ways ...way) {
	took := make([][]time.Duration, len(ways))
	round := func() {
		for i, w := range ways {
			time.Sleep(700 * time.Millisecond) // as a person would; a spare is made meanwhile
			took[i] = append(took[i], firstByte(b, w.d, addr))
		}
	}
	for range 3 { // for auto to learn
		round()
	}
	clear(took)
	for b.Loop() {
		round()
	}
	b.ReportMetric(0, "ns/op")
	for i, w := range ways {
		slices.Sort(took[i])
		b.ReportMetric(float64(took[i][len(took[i])/2].Microseconds())/1000, w.name+"-ms")
	}
}

func firstByte(b *testing.B, d chain.Dialer, addr string) time.Duration {
	began := time.Now()
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
	return time.Since(began)
}

// listener is an app's way by a listener of byway's on its own host.
func listener(b *testing.B, h *Host, port uint16, q relay.Request, by chain.Dialer) chain.Dialer {
	serveSOCKS(b, h, port, &socks.Server{Relay: &relay.Relay{Router: route.Table{{To: by, Via: "chain"}}}, Request: q})
	c, err := chain.New(h, socks.Hop5(h.Addr(port), socks.HopOptions{Pipeline: socks.Off}))
	if err != nil {
		b.Fatal(err)
	}
	return c
}

func serveSOCKS(b *testing.B, h *Host, port uint16, s *socks.Server) {
	l, err := h.Listen(port)
	if err != nil {
		b.Fatal(err)
	}
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
