package relay_test

import (
	"context"
	"io"
	"net"
	"testing"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

// given is a pending whose client is there already.
type given struct {
	q relay.Request
	c net.Conn
}

func (g given) Request() relay.Request    { return g.q }
func (g given) Accept() (net.Conn, error) { return g.c, nil }
func (g given) Reject(err error) error    { return g.c.Close() }

// TestMeter: bytes are counted while a tunnel is open, and all of them when it has ended; so are
// datagrams, and those of Dial's conns.
func TestMeter(t *testing.T) {
	l := testnet.Listen(t)
	go testnet.Echo(l)
	var meter relay.Meter
	var stats relay.Stats
	r := &relay.Relay{
		Router: relay.RouterFunc(func(context.Context, relay.Request) relay.Decision {
			return relay.Decision{Dialer: &net.Dialer{}, Via: "direct"}
		}),
		Trace: &relay.Trace{
			Meter:  func(relay.Request, relay.Decision) *relay.Meter { return &meter },
			Closed: func(_ relay.Request, _ relay.Decision, s relay.Stats) { stats = s },
		},
	}
	exchange := func(c net.Conn, n int) {
		t.Helper()
		wrote := make(chan struct{})
		go func() {
			defer close(wrote)
			_, _ = c.Write(make([]byte, n))
		}()
		if _, err := io.CopyN(io.Discard, c, int64(n)); err != nil {
			t.Fatal(err)
		}
		<-wrote // what is counted when a Write returns may come after its echo
	}
	q := relay.Request{Network: "tcp", Addr: l.Addr().String()}
	for _, size := range []int{1, 100_000, 3 << 20} {
		meter.Up.Store(0)
		meter.Down.Store(0)
		near, far := testnet.TCPPair(t)
		done := make(chan error, 1)
		go func() { done <- r.Serve(t.Context(), given{q, far}) }()
		exchange(near, size)
		_ = chain.CloseWrite(near)
		_, _ = io.Copy(io.Discard, near)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if up, down := meter.Up.Load(), meter.Down.Load(); up != int64(size) || down != up || stats.Up != up || stats.Down != down {
			t.Errorf("%d bytes: metered %d and %d, told %+v", size, up, down, stats)
		}
		_ = near.Close()
	}
	meter.Up.Store(0)
	d, err := r.Route(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	c, err := r.Dial(t.Context(), q, d)
	if err != nil {
		t.Fatal(err)
	}
	exchange(c, 1000)
	if up := meter.Up.Load(); up != 1000 {
		t.Errorf("a conn of Dial: %d", up)
	}
	_ = c.Close()
}
