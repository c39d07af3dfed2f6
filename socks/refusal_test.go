package socks

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

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

// TestRefusalsAreFinal makes sure that a refusal costs one conn, unlearns
// nothing and proves nothing.
func TestRefusalsAreFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, good(t, Server{}))
		d := newChain(t, w.Host("client"), Hop5("hop:1080", HopOptions{}))
		refused := func() {
			before := w.conns.Load()
			conn, err := d.Dial("tcp", "target:81")
			wantFailure(t, conn, err, chain.PhaseConnect, syscall.ECONNREFUSED)
			if got := w.conns.Load() - before; got != 1 {
				t.Errorf("a refusal took %d conns", got)
			}
		}
		refused()
		w.dialTakes(t, d, 2*rtt, 1)
		refused()
		w.dialTakes(t, d, 2*rtt, 1)
	})
	for name, test := range map[string]struct {
		server Server
		o      HopOptions
		err    error
	}{
		"wrong password": {Server{Users: users(t, map[string]string{"ann": "secret"})}, HopOptions{User: "ann", Password: "wrong"}, errRejected},
		"no password":    {Server{Users: users(t, map[string]string{"ann": "secret"})}, HopOptions{}, errMethod},
		"none wanted":    {Server{Request: relay.Request{Isolate: relay.ByClient}}, HopOptions{User: "ann", Password: "secret"}, errMethod},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, good(t, test.server))
				d := newChain(t, w.Host("client"), Hop5("hop:1080", test.o))
				for i := range 3 {
					conn, err := d.Dial("tcp", "target:80")
					wantFailure(t, conn, err, chain.PhaseAuth, test.err)
					if got := w.conns.Load(); got != int32(i+1) {
						t.Errorf("%d dials took %d conns", i+1, got)
					}
				}
			})
		})
	}
}

// TestSerialRefusal has a server that closes on more than a greeting, and
// refuses otherwise: the refusal is what is told, and teaches.
func TestSerialRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, broken, d := oddWorld(t, odd["closes"])
		broken.Store(true)
		conn, err := d.DialContext(t.Context(), "tcp", "target:81")
		wantFailure(t, conn, err, chain.PhaseConnect, syscall.ECONNREFUSED)
		w.dialTakes(t, d, 3*rtt, 1)
	})
}

// TestServerThatAlwaysCloses says nothing about pipelining, so nothing is learnt.
func TestServerThatAlwaysCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		w := newWorld(t, func(c net.Conn, next chain.Dialer) {
			if broken.Load() {
				_ = c.Close()
				return
			}
			good(t, Server{})(c, next)
		})
		d := newChain(t, w.Host("client"), Hop5("hop:1080", HopOptions{}))
		for _, state := range []string{"before the trial", "after"} {
			broken.Store(true)
			before := w.conns.Load()
			conn, err := d.Dial("tcp", "target:80")
			wantFailure(t, conn, err, chain.PhaseAuth, syscall.ECONNRESET)
			if got := w.conns.Load() - before; got != 2 {
				t.Errorf("%s: %d conns", state, got)
			}
			broken.Store(false)
			w.dialTakes(t, d, 2*rtt, 1)
		}
	})
}

// TestOffAndOn never take a second conn.
func TestOffAndOn(t *testing.T) {
	for _, pipeline := range []Pipeline{On, Off} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, func(c net.Conn, _ chain.Dialer) { _ = c.Close() })
			d := newChain(t, w.Host("client"), Hop5("hop:1080", HopOptions{Pipeline: pipeline}))
			for i := range 3 {
				conn, err := d.Dial("tcp", "target:80")
				wantFailure(t, conn, err, chain.PhaseAuth, syscall.ECONNRESET)
				if got := w.conns.Load(); got != int32(i+1) {
					t.Errorf("%d dials took %d conns", i+1, got)
				}
			}
		})
	}
}

// TestTrialDialFails: a hop that can't be reached is dialled once, and the
// trial is still due.
func TestTrialDialFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New()
		d := newChain(t, n.Host("client"), Hop5("hop:1080", HopOptions{}))
		for i := range 2 {
			conn, err := d.Dial("tcp", "target:80")
			wantFailure(t, conn, err, chain.PhaseDial, syscall.ECONNREFUSED)
			if got := len(n.Dials()); got != i+1 {
				t.Errorf("%d dials of the hop", got)
			}
		}
	})
}

// TestOnlyOneConnAllowed has a hop that takes one conn at a time: the serial
// attempt fails, and the pipelined one is waited for.
func TestOnlyOneConnAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var busy atomic.Bool
		w := newWorld(t, func(c net.Conn, next chain.Dialer) {
			if !busy.CompareAndSwap(false, true) {
				_ = c.Close()
				return
			}
			good(t, Server{})(c, slow(next, 3*time.Second))
			busy.Store(false)
		})
		d := newChain(t, w.Host("client"), Hop5("hop:1080", HopOptions{}))
		w.dialTakes(t, d, 2*rtt+3*time.Second, 2)
		w.dialTakes(t, d, 2*rtt+3*time.Second, 1)
	})
}

// TestCancel gives up at every stage of a dial; nothing is left open, and the
// cause is told.
func TestCancel(t *testing.T) {
	cause := errors.New("enough")
	for _, pipeline := range []Pipeline{Auto, On, Off} {
		for after := time.Duration(0); after < time.Second; after += rtt / 2 {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, func(c net.Conn, _ chain.Dialer) { odd["drops the rest"](c) })
				d := newChain(t, w.Host("client"), Hop5("hop:1080", HopOptions{Pipeline: pipeline}))
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(after, func() { cancel(cause) })
				began := time.Now()
				conn, err := d.DialContext(ctx, "tcp", "target:80")
				if took := time.Since(began); conn != nil || took != after {
					t.Errorf("got %v after %v, want an error after %v", conn, took, after)
				}
				if !errors.Is(err, cause) && !errors.Is(err, context.Canceled) {
					t.Errorf("error %v", err)
				}
				time.Sleep(time.Second)
				if live := w.live.Load(); live != 0 {
					t.Errorf("%d conns were left open", live)
				}
				// Given up is not learnt from: the next dial gets all there is to get.
				if pipeline == Auto {
					l := d
					ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
					defer cancel()
					before := w.conns.Load()
					_, _ = l.DialContext(ctx, "tcp", "target:80")
					if got := w.conns.Load() - before; got != 2 {
						t.Errorf("the dial after a cancelled trial took %d conns, so was no trial", got)
					}
				}
			})
		}
	}
}

// TestBothAnswered lets both attempts of a trial be answered: the serial one
// first, but the pipelined one is through first. The other's conn must be closed.
func TestBothAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var order atomic.Int64
		w := newWorld(t, func(c net.Conn, next chain.Dialer) {
			good(t, Server{})(c, chain.DialerFunc(func(ctx context.Context, network, addr string) (net.Conn, error) {
				time.Sleep(800*time.Millisecond - time.Duration(order.Add(1))*5*time.Millisecond - time.Since(began))
				return next.DialContext(ctx, network, addr)
			}))
		})
		dials := 0
		base := chain.DialerFunc(func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := w.Host("client").DialContext(ctx, network, addr)
			if dials++; dials == 2 {
				c = hesitant{c}
			}
			return c, err
		})
		conn, err := newChain(t, base, Hop5("hop:1080", HopOptions{})).Dial("tcp", "target:80")
		must(t, err)
		if _, lost := conn.(hesitant); lost || w.conns.Load() != 2 {
			t.Errorf("a %T won of %d conns", conn, w.conns.Load())
		}
		time.Sleep(time.Second)
		if live := w.live.Load(); live != 1 {
			t.Errorf("%d conns are open, want that of the winner", live)
		}
		pingPong(t, conn)
	})
}

// A hesitant conn takes its time at the end of a handshake, when no ctx can
// interrupt it any more.
type hesitant struct{ net.Conn }

func (h hesitant) SetDeadline(d time.Time) error {
	if d.IsZero() {
		time.Sleep(20 * time.Millisecond)
	}
	return h.Conn.SetDeadline(d)
}

// TestEndlessServer never stops to talk: what is read of it is bounded.
func TestEndlessServer(t *testing.T) {
	for name, hop := range map[string]chain.Hop{
		"5": Hop5("hop:1080", HopOptions{Pipeline: Off}), "5p": Hop5("hop:1080", HopOptions{Pipeline: On}), "4": Hop4("hop:1080", HopOptions{}),
	} {
		for _, said := range []string{"\x05\x00", "\x05\x00\x00\x03\xff", "\x00\x5a", "\x00", "\x05"} {
			c := &scripted{segments: [][]byte{[]byte(said)}, endless: true}
			conn, err := newChain(t, always(c), hop).Dial("tcp", "192.0.2.1:80")
			if c.read > bufferSize {
				t.Errorf("%s: %d bytes were read of a server that says %q forever", name, c.read, said)
			}
			if err != nil && !c.closed.Load() {
				t.Errorf("%s: left open after %v", name, err)
			}
			if err == nil {
				if _, err := io.ReadFull(conn, make([]byte, 4*bufferSize)); err != nil {
					t.Error(err)
				}
			}
		}
	}
}
