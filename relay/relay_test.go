package relay_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pending is a Pending that records what it was answered.
type pending struct {
	conn     net.Conn
	accepted bool
	refused  error
}

func (p *pending) Request() relay.Request {
	return relay.Request{Network: "tcp", Addr: "target:80", User: "alice"}
}
func (p *pending) Accept() (net.Conn, error) { p.accepted = true; return p.conn, nil }
func (p *pending) Reject(err error) error    { p.refused = err; return p.conn.Close() }

// to routes everything to d.
func to(d chain.Dialer) relay.Router {
	return relay.RouterFunc(func(context.Context, relay.Request) relay.Decision {
		return relay.Decision{Dialer: d, Via: "test"}
	})
}

// dialerOf returns the conns given, one a dial.
func dialerOf(conns ...net.Conn) chain.Dialer {
	var i atomic.Int32
	return chain.DialerFunc(func(context.Context, string, string) (net.Conn, error) {
		return conns[i.Add(1)-1], nil
	})
}

// decided is a pending whose listener has one way out.
type decided struct {
	pending
	way relay.Decision
}

func (d *decided) Request() relay.Request {
	q := d.pending.Request()
	q.Decided = &d.way
	return q
}

// TestDecided asks no Router what was decided beforehand, not even where that is nothing.
func TestDecided(t *testing.T) {
	wrong := relay.RouterFunc(func(context.Context, relay.Request) relay.Decision {
		t.Error("the router was asked")
		return relay.Decision{}
	})
	r := &relay.Relay{Router: wrong}
	conn, far := testnet.Pipe(0)
	client, app := testnet.Pipe(0)
	_, _ = far.Close(), app.Close()
	p := &decided{pending{conn: client}, relay.Decision{Dialer: dialerOf(conn), Via: "forward"}}
	if err := r.Serve(t.Context(), p); err != nil || !p.accepted {
		t.Errorf("%v, accepted: %v", err, p.accepted)
	}
	client, app = testnet.Pipe(0)
	defer app.Close()
	p = &decided{pending: pending{conn: client}}
	if err := r.Serve(t.Context(), p); !errors.Is(err, relay.ErrBlocked) || p.accepted {
		t.Errorf("without a dialer: %v, accepted: %v", err, p.accepted)
	}
}

func TestServeBlocksWithoutADecision(t *testing.T) {
	for name, r := range map[string]*relay.Relay{
		"no router":     {},
		"zero decision": {Router: relay.RouterFunc(func(context.Context, relay.Request) relay.Decision { return relay.Decision{} })},
		"direct by name alone": {Router: relay.RouterFunc(func(context.Context, relay.Request) relay.Decision {
			return relay.Decision{Via: "direct"}
		})},
	} {
		var failed error
		r.Trace = &relay.Trace{Failed: func(_ relay.Request, d relay.Decision, err error) {
			failed = err
			if d.Via != "block" {
				t.Errorf("%s: via %q", name, d.Via)
			}
		}}
		near, far := testnet.Pipe(0)
		p := &pending{conn: near}
		err := r.Serve(t.Context(), p)
		if !errors.Is(err, relay.ErrBlocked) || !errors.Is(p.refused, relay.ErrBlocked) || p.accepted || !errors.Is(failed, relay.ErrBlocked) {
			t.Errorf("%s: error %v, refused %v, accepted %v, traced %v", name, err, p.refused, p.accepted, failed)
		}
		if chain.Errno(err) != syscall.EACCES {
			t.Errorf("%s: errno %v", name, chain.Errno(err))
		}
		if _, err := r.Dial(t.Context(), p.Request(), relay.Decision{Via: "direct"}); !errors.Is(err, relay.ErrBlocked) {
			t.Errorf("%s: Dial: %v", name, err)
		}
		_ = far.Close()
	}
}

func TestServeCarriesAndTraces(t *testing.T) {
	client, near := testnet.Pipe(0)
	far, target := testnet.Pipe(0)
	var opened, closed atomic.Int32
	var stats relay.Stats
	r := &relay.Relay{Router: to(dialerOf(far)), Trace: &relay.Trace{
		Opened: func(relay.Request, relay.Decision, time.Duration) { opened.Add(1) },
		Closed: func(_ relay.Request, _ relay.Decision, s relay.Stats) { closed.Add(1); stats = s },
		Failed: func(_ relay.Request, _ relay.Decision, err error) { t.Errorf("failed: %v", err) },
	}}
	done := make(chan error, 1)
	go func() { done <- r.Serve(t.Context(), &pending{conn: chain.Unread(near, []byte("ahead "))}) }()
	_, _ = client.Write([]byte("request"))
	_ = chain.CloseWrite(client)
	if got, err := io.ReadAll(target); err != nil || string(got) != "ahead request" {
		t.Errorf("the target read %q, %v", got, err)
	}
	if r.Live() != 1 {
		t.Errorf("%d live tunnels", r.Live())
	}
	_, _ = target.Write([]byte("answer after half-close"))
	_ = target.Close()
	if got, err := io.ReadAll(client); err != nil || string(got) != "answer after half-close" {
		t.Errorf("the client read %q, %v", got, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if opened.Load() != 1 || closed.Load() != 1 || stats.Up != 13 || stats.Down != 23 || stats.Err != nil || r.Live() != 0 {
		t.Errorf("opened %d, closed %d, %+v, live %d", opened.Load(), closed.Load(), stats, r.Live())
	}
	_ = client.Close()
}

func TestDialIsALiveTunnelUntilClosed(t *testing.T) {
	far, target := testnet.Pipe(0)
	var stats relay.Stats
	r := &relay.Relay{Trace: &relay.Trace{
		Closed: func(_ relay.Request, _ relay.Decision, s relay.Stats) { stats = s },
	}}
	c, err := r.Dial(t.Context(), relay.Request{Network: "tcp", Addr: "target:80"}, relay.Decision{Dialer: dialerOf(far)})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = c.Write([]byte("four"))
	if r.Live() != 1 {
		t.Errorf("%d live", r.Live())
	}
	_ = c.Close()
	_ = c.Close()
	if r.Live() != 0 || stats.Up != 4 {
		t.Errorf("%d live, %+v", r.Live(), stats)
	}
	_ = target.Close()
}

func TestDialedConforms(t *testing.T) {
	testnet.TestConn(t, func(t *testing.T) (net.Conn, net.Conn) {
		a, b := testnet.TCPPair(t)
		r := &relay.Relay{}
		c, err := r.Dial(t.Context(), relay.Request{Network: "tcp"}, relay.Decision{Dialer: dialerOf(a)})
		if err != nil {
			t.Fatal(err)
		}
		return c, b
	})
}

func TestDialLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New()
		n.BlackHole("target:80")
		r := &relay.Relay{Router: to(n.Host("here"))}
		near, far := testnet.Pipe(0)
		began := time.Now()
		err := r.Serve(t.Context(), &pending{conn: near})
		if chain.Errno(err) != syscall.ETIMEDOUT || time.Since(began) != 30*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		_ = far.Close()
	})
}

func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, near := testnet.Pipe(0)
		far, target := testnet.Pipe(0)
		n := testnet.New()
		n.BlackHole("target:80")
		hole := false
		r := &relay.Relay{Router: relay.RouterFunc(func(context.Context, relay.Request) relay.Decision {
			if hole {
				return relay.Decision{Dialer: n.Host("here")}
			}
			return relay.Decision{Dialer: dialerOf(far)}
		})}
		served := make(chan error, 2)
		go func() { served <- r.Serve(t.Context(), &pending{conn: near}) }()
		synctest.Wait()
		hole = true
		dying, other := testnet.Pipe(0)
		go func() { served <- r.Serve(t.Context(), &pending{conn: dying}) }() // a dial under way
		synctest.Wait()
		if r.Live() != 2 {
			t.Errorf("%d live", r.Live())
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began := time.Now()
		if err := r.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 5*time.Second {
			t.Errorf("Shutdown: %v after %v", err, time.Since(began))
		}
		if err := <-served; err == nil {
			t.Error("a tunnel that was cut ended without error")
		}
		<-served
		if _, err := client.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("the client of a tunnel that was cut read %v", err)
		}
		near2, far2 := testnet.Pipe(0)
		if err := r.Serve(t.Context(), &pending{conn: near2}); !errors.Is(err, relay.ErrClosed) {
			t.Errorf("served after Shutdown: %v", err)
		}
		for _, c := range []net.Conn{client, target, other, far2} {
			_ = c.Close()
		}
	})
}

// TestShutdownWaits lets a tunnel end by itself.
func TestShutdownWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, near := testnet.Pipe(0)
		far, target := testnet.Pipe(0)
		r := &relay.Relay{Router: to(dialerOf(far))}
		go func() { _ = r.Serve(t.Context(), &pending{conn: near}) }()
		synctest.Wait()
		time.AfterFunc(3*time.Second, func() { _ = client.Close(); _ = target.Close() })
		began := time.Now()
		if err := r.Shutdown(t.Context()); err != nil || time.Since(began) != 3*time.Second {
			t.Errorf("Shutdown: %v after %v", err, time.Since(began))
		}
	})
}

func TestServeEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, near := testnet.Pipe(0)
		far, target := testnet.Pipe(0)
		r := &relay.Relay{Router: to(dialerOf(far))}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if err := r.Serve(ctx, &pending{conn: near}); err == nil {
			t.Error("no error")
		}
		_ = client.Close()
		_ = target.Close()
	})
}

// scout is a Router that may carry what its network says.
type scout struct {
	relay.Router
	network string
}

func (s scout) MayCarry(_ context.Context, q relay.Request) bool { return q.Network == s.network }

func TestMayCarry(t *testing.T) {
	for name, test := range map[string]struct {
		router relay.Router
		want   bool
	}{
		"none":                {nil, false},
		"one that can't tell": {to(testnet.NoDial(t)), false},
		"one that may not":    {scout{nil, "tcp"}, false},
		"one that may":        {scout{nil, "udp"}, true},
	} {
		if got := (&relay.Relay{Router: test.router}).MayCarry(t.Context(), relay.Request{Network: "udp"}); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
