package httpproxy

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
)

// other is a hop's other way: its session comes after a while, or never.
type other struct {
	after  atomic.Int64 // a time.Duration; less than 0: never
	asked  atomic.Int32 // for a session
	dialed atomic.Int32
	up     atomic.Bool
	closed atomic.Bool
}

var errOther = errors.New("no session")

func (o *other) Ready(ctx context.Context) error {
	o.asked.Add(1)
	after := time.Duration(o.after.Load())
	if o.up.Load() && after >= 0 {
		return nil
	}
	var done <-chan time.Time
	if after >= 0 {
		done = time.After(after)
	}
	select {
	case <-done:
		o.up.Store(true)
		return nil
	case <-ctx.Done():
		return chain.Fail(chain.PhaseDial, errOther)
	}
}

func (o *other) DialContext(context.Context, string, string) (net.Conn, error) {
	o.dialed.Add(1)
	c, _ := testnet.DatagramPipe(0)
	return c, nil
}

func (o *other) Carries(network string) bool { return true }

func (o *other) Close() error {
	o.closed.Store(true)
	return nil
}

// TestRace: who wins, what it costs, and what is remembered. The hop is 25 ms away: a session on
// HTTP/2 takes 100 ms, a tunnel 50 more.
func TestRace(t *testing.T) {
	const rtt = 50 * time.Millisecond
	for name, test := range map[string]struct {
		after  time.Duration // until the session of HTTP/3
		h1     bool          // the proxy has no HTTP/2
		first  time.Duration // what a tunnel takes
		second time.Duration
		three  int32 // tunnels by HTTP/3, of the two
	}{
		"ahead by a trip":       {rtt, false, rtt + shortPath, 0, 2},
		"ahead by little":       {2*rtt - shortPath/2, false, 3 * rtt, rtt, 0},
		"later":                 {3 * rtt, false, 3 * rtt, rtt, 0},
		"never":                 {-1, false, 3 * rtt, rtt, 0},
		"never, and HTTP/1.1":   {-1, true, 3 * rtt, 3 * rtt, 0},
		"ahead of HTTP/1.1":     {rtt, true, rtt + shortPath, 0, 2},
		"with HTTP/1.1 at once": {2 * rtt, true, 3 * rtt, 3 * rtt, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, l, r := world(t)
				serveTLS(t, l, test.h1, tunnelled(r, ConnectOptions{}))
				o := new(other)
				o.after.Store(int64(test.after))
				d := wrap(t, HopTLS("hop1:443", HopOptions{TLS: trust(testCert()), HTTP3: func(chain.Dialer) HTTP3 { return o }}), client)
				dial := func() error {
					conn, err := d.DialContext(context.Background(), "tcp", "target:80")
					if err == nil {
						_ = conn.Close()
					}
					return err
				}
				took(t, "the first tunnel", test.first, dial)
				asked := o.asked.Load()
				took(t, "the second", test.second, dial)
				if got := o.dialed.Load(); got != test.three {
					t.Errorf("%d tunnels by HTTP/3", got)
				}
				if test.three == 0 && o.asked.Load() != asked {
					t.Error("HTTP/3 was tried again at once")
				}
			})
		})
	}
}

// TestRaceIsRunAgain, when HTTP/3 lost, after a while and with no session left.
func TestRaceIsRunAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, l, r := world(t)
		serveTLS(t, l, false, tunnelled(r, ConnectOptions{}))
		o := new(other)
		o.after.Store(-1)
		d := wrap(t, HopTLS("hop1:443", HopOptions{TLS: trust(testCert()), IdleLimit: time.Minute, HTTP3: func(chain.Dialer) HTTP3 { return o }}), client)
		for i, want := range []int32{1, 1, 2} {
			conn, err := d.DialContext(t.Context(), "tcp", "target:80")
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.Close()
			if got := o.asked.Load(); got != want {
				t.Errorf("tunnel %d: HTTP/3 was tried %d times, want %d", i, got, want)
			}
			time.Sleep([]time.Duration{2 * time.Minute, forget, 0}[i])
		}
	})
}

// TestFallback: HTTP/3 won, and then UDP is blocked: a tunnel waits for it 300 ms, and the next ones
// do not.
func TestFallback(t *testing.T) {
	const rtt = 50 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		client, l, r := world(t)
		serveTLS(t, l, false, tunnelled(r, ConnectOptions{}))
		o := new(other)
		d := wrap(t, HopTLS("hop1:443", HopOptions{TLS: trust(testCert()), HTTP3: func(chain.Dialer) HTTP3 { return o }}), client)
		dial := func() error {
			conn, err := d.DialContext(context.Background(), "tcp", "target:80")
			if err == nil {
				_ = conn.Close()
			}
			return err
		}
		took(t, "the first", shortPath, dial)
		o.after.Store(-1)
		took(t, "the one that finds out", fallback+3*rtt, dial)
		took(t, "the next", rtt, dial)
		if got := o.dialed.Load(); got != 1 {
			t.Errorf("%d tunnels by HTTP/3", got)
		}
	})
}

// TestRaceFails when both do, with HTTP/2's reason; one alone is enough.
func TestRaceFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New() // nobody listens
		o := new(other)
		o.after.Store(-1)
		limits := HopOptions{TLS: trust(testCert()), DialLimit: time.Second, HandshakeLimit: time.Second, HTTP3: func(chain.Dialer) HTTP3 { return o }}
		d := wrap(t, HopTLS("hop1:443", limits), n.Host("client"))
		_, err := d.DialContext(t.Context(), "tcp", "target:80")
		if err == nil || errors.Is(err, errOther) {
			t.Errorf("got %v", err)
		}
		o.after.Store(int64(time.Second / 2))
		if _, err := d.DialContext(t.Context(), "tcp", "target:80"); err != nil || o.dialed.Load() != 1 {
			t.Errorf("with HTTP/3 alone: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		o.after.Store(-1)
		began := time.Now()
		if _, err := d.DialContext(ctx, "tcp", "target:80"); err == nil || time.Since(began) > 101*time.Millisecond {
			t.Errorf("given up by the caller: %v after %v", err, time.Since(began))
		}
	})
}

// TestFlowsRace: a flow goes by HTTP/3 if that comes in time, and else on HTTP/1.1, which is
// remembered for a while.
func TestFlowsRace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, l, r := world(t)
		serveTLS(t, l, true, flowing(r))
		o := new(other)
		d := wrap(t, HopTLS("hop1:443", HopOptions{TLS: trust(testCert()), HTTP3: func(chain.Dialer) HTTP3 { return o }}), client)
		dial := func() {
			t.Helper()
			conn, err := d.DialContext(t.Context(), "udp", "target:53")
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.Close()
		}
		dial()
		if o.dialed.Load() != 1 {
			t.Error("not by HTTP/3")
		}
		o.after.Store(-1)
		for range 2 {
			dial()
		}
		if got := o.asked.Load(); o.dialed.Load() != 1 || got != 2 {
			t.Errorf("%d flows by HTTP/3, which was asked for %d times", o.dialed.Load(), got)
		}
		time.Sleep(forget)
		dial()
		if o.asked.Load() != 3 {
			t.Error("it is not tried again")
		}
		if c, ok := d.(interface{ Close() error }); ok {
			_ = c.Close()
		}
		if !o.closed.Load() {
			t.Error("it is not closed with the hop")
		}
		time.Sleep(2 * time.Minute) // the flows idle
	})
}

// TestNoUDPNoRace: over a way without UDP nothing is tried.
func TestNoUDPNoRace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, l, r := world(t)
		serveTLS(t, l, false, tunnelled(r, ConnectOptions{}))
		o := new(other)
		tcp := chain.DialerFunc(client.DialContext) // it does not say that it carries UDP
		d := wrap(t, HopTLS("hop1:443", HopOptions{TLS: trust(testCert()), HTTP3: func(chain.Dialer) HTTP3 { return o }}), tcp)
		conn, err := d.DialContext(t.Context(), "tcp", "target:80")
		if err != nil || o.asked.Load() != 0 {
			t.Fatalf("%v; HTTP/3 was asked for %d times", err, o.asked.Load())
		}
		_ = conn.Close()
	})
}
