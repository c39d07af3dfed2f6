package relay_test

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

// account notes what it is told.
type account struct {
	asked, told [2]atomic.Int64 // up, down
	ended       atomic.Int32
	waits       bool
	delay       time.Duration // of each Pass
	fails       atomic.Pointer[error]
}

func way(up bool) int {
	if up {
		return 0
	}
	return 1
}

func (m *account) Pass(up bool, n int) error {
	time.Sleep(m.delay)
	if err := m.fails.Load(); err != nil {
		return *err
	}
	m.asked[way(up)].Add(int64(n))
	return nil
}
func (m *account) Passed(up bool, n int64) { m.told[way(up)].Add(n) }
func (m *account) Waits() bool             { return m.waits }
func (m *account) Ended()                  { m.ended.Add(1) }

// metered has m account for all tunnels of a new relay, whose stats end up in s.
func metered(m *account, s *relay.Stats, d chain.Dialer) *relay.Relay {
	return &relay.Relay{
		Router:  to(d),
		Account: func(relay.Request, func()) (relay.Account, error) { return m, nil },
		Trace:   &relay.Trace{Closed: func(_ relay.Request, _ relay.Decision, got relay.Stats) { *s = got }},
	}
}

// TestAccountCounts: what moved is what the account knows of, each byte once, in user space and spliced; one
// that may wait is asked about all.
func TestAccountCounts(t *testing.T) {
	for _, waits := range []bool{false, true} {
		m, s := &account{waits: waits}, relay.Stats{}
		app, client := testnet.TCPPair(t)
		conn, target := testnet.TCPPair(t)
		done := make(chan error, 1)
		go func() {
			p := &pending{conn: client}
			done <- metered(m, &s, dialerOf(conn)).Serve(t.Context(), p)
		}()
		go func() {
			_, _ = target.Write(make([]byte, 8<<20))
			_, _ = io.Copy(io.Discard, target)
			_ = target.Close()
		}()
		if _, err := io.ReadFull(app, make([]byte, 8<<20)); err != nil {
			t.Fatal(err)
		}
		_, _ = app.Write(make([]byte, 12345))
		_ = app.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
		up, down := m.asked[0].Load()+m.told[0].Load(), m.asked[1].Load()+m.told[1].Load()
		if up != s.Up || down != s.Down || up != 12345 || down != 8<<20 {
			t.Errorf("waits %v: counted %d and %d, moved %d and %d", waits, up, down, s.Up, s.Down)
		}
		if waits && m.told[1].Load() > 0 {
			t.Error("spliced past an account that waits")
		}
		if n := m.ended.Load(); n != 1 {
			t.Errorf("ended %d times", n)
		}
	}
}

// TestAccountHoldsUp: an account that takes longer than the idle limit for all, but not for a piece, ends nothing.
func TestAccountHoldsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s := &account{waits: true, delay: 40 * time.Second}, relay.Stats{}
		app, client := testnet.Pipe(0)
		conn, target := testnet.Pipe(0)
		r := metered(m, &s, dialerOf(conn))
		r.IdleLimit = time.Minute
		done := make(chan error, 1)
		go func() { done <- r.Serve(t.Context(), &pending{conn: client}) }()
		go func() {
			_, _ = target.Write(make([]byte, 64<<10))
			_ = target.Close()
		}()
		began := time.Now()
		n, err := io.Copy(io.Discard, app)
		if took := time.Since(began); err != nil || n != 64<<10 || took < 160*time.Second {
			t.Errorf("%d bytes in %v, %v", n, took, err)
		}
		_ = app.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestAccountEnds: an error of the account's aborts the tunnel at both ends.
func TestAccountEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s := &account{}, relay.Stats{}
		app, client := testnet.Pipe(0)
		conn, target := testnet.Pipe(0)
		done := make(chan error, 1)
		go func() { done <- metered(m, &s, dialerOf(conn)).Serve(t.Context(), &pending{conn: client}) }()
		_, _ = app.Write([]byte("x"))
		_, _ = target.Read(make([]byte, 1))
		over := errors.New("over")
		m.fails.Store(&over)
		_, _ = app.Write([]byte("y"))
		if n, err := target.Read(make([]byte, 1)); n != 0 || err == nil || err == io.EOF {
			t.Errorf("the target read %d, %v", n, err)
		}
		if _, err := app.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("the client read %v", err)
		}
		if err := <-done; err != over || m.ended.Load() != 1 || s.Up != 1 {
			t.Errorf("%v, ended %d times, %d up", err, m.ended.Load(), s.Up)
		}
	})
}

// TestAccount: what it refuses is not dialled, what can't be dialled is ended, and end ends a tunnel,
// parked ones included.
func TestAccountOf(t *testing.T) {
	no := errors.New("no")
	r := &relay.Relay{Router: to(testnet.NoDial(t)), Account: func(relay.Request, func()) (relay.Account, error) { return nil, no }}
	client, app := testnet.Pipe(0)
	_ = app.Close()
	p := &pending{conn: client}
	if err := r.Serve(t.Context(), p); !errors.Is(err, no) || p.refused != no || r.Live() != 0 {
		t.Errorf("%v, refused for %v", err, p.refused)
	}

	m, s := &account{}, relay.Stats{}
	r = metered(m, &s, chain.DialerFunc(func(context.Context, string, string) (net.Conn, error) {
		return nil, syscall.ECONNREFUSED
	}))
	client, app = testnet.Pipe(0)
	_ = app.Close()
	if err := r.Serve(t.Context(), &pending{conn: client}); err == nil || m.ended.Load() != 1 {
		t.Errorf("%v, ended %d times", err, m.ended.Load())
	}

	near, client := testnet.TCPPair(t)
	conn, target := testnet.TCPPair(t)
	r = metered(m, &s, dialerOf(conn))
	r.Rest(time.Millisecond)
	ends := make(chan func(), 1)
	r.Account = func(_ relay.Request, end func()) (relay.Account, error) {
		ends <- end
		return m, nil
	}
	served := make(chan error, 1)
	go func() { served <- r.Serve(t.Context(), &pending{conn: client}) }()
	end := <-ends
	if runtime.GOOS == "linux" {
		<-served // it is parked
	}
	end()
	for _, c := range []net.Conn{near, target} {
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("read %v", err)
		}
	}
	if err := r.Close(); err != nil || m.ended.Load() != 2 {
		t.Errorf("%v, ended %d times", err, m.ended.Load())
	}
}

// TestAccountOfFlows counts datagrams.
func TestAccountOfFlows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s := &account{}, relay.Stats{}
		app, client := testnet.DatagramPipe(0)
		conn, target := testnet.DatagramPipe(0)
		p := &flowPending{pending{conn: client}}
		done := make(chan error, 1)
		go func() { done <- metered(m, &s, dialerOf(conn)).Serve(t.Context(), p) }()
		for range 3 {
			_, _ = app.Write(make([]byte, 100))
			_, _ = target.Read(make([]byte, 200))
			_, _ = target.Write(make([]byte, 1000))
			_, _ = app.Read(make([]byte, 2000))
		}
		_, _ = app.Close(), target.Close()
		<-done
		if m.asked[0].Load() != 300 || m.asked[1].Load() != 3000 || s.Up != 300 || s.Down != 3000 || m.ended.Load() != 1 {
			t.Errorf("counted %d and %d, moved %+v", m.asked[0].Load(), m.asked[1].Load(), s)
		}
	})
}

type flowPending struct{ pending }

func (f *flowPending) Request() relay.Request {
	q := f.pending.Request()
	q.Network = "udp"
	return q
}
