package socks

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
)

const (
	oneWay = 25 * time.Millisecond // between client and hop
	rtt    = 2 * oneWay
)

// A world has a client, a hop and, next to the hop, a target that echoes.
type world struct {
	*testnet.Network
	conns *atomic.Int32 // that the hop accepted
	live  atomic.Int32  // of them, those not closed by the client
}

func newWorld(t *testing.T, serve func(c net.Conn, next chain.Dialer)) *world {
	w := &world{Network: testnet.New()}
	w.SetDelay("client", "hop", oneWay)
	listen(t, w.Network, "target", ":80", echo)
	w.conns = listen(t, w.Network, "hop", ":1080", func(c net.Conn) {
		w.live.Add(1)
		serve(c, w.Host("hop"))
		_, _ = io.Copy(io.Discard, c)
		w.live.Add(-1)
	})
	return w
}

// good is a byway server.
func good(t *testing.T, s Server) func(net.Conn, chain.Dialer) {
	return func(c net.Conn, next chain.Dialer) {
		s := s
		s.Relay = via(next)
		_ = s.ServeConn(t.Context(), c)
	}
}

// slow is a dialer that takes that much longer.
func slow(next chain.Dialer, wait time.Duration) chain.Dialer {
	return chain.DialerFunc(func(ctx context.Context, network, addr string) (net.Conn, error) {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		return next.DialContext(ctx, network, addr)
	})
}

// dialTakes dials by d, checks how long it takes and how many conns to the hop
// it needs, and uses the conn.
func (w *world) dialTakes(t *testing.T, d chain.Dialer, took time.Duration, conns int32) {
	t.Helper()
	began, before := time.Now(), w.conns.Load()
	c, err := d.DialContext(t.Context(), "tcp", "target:80")
	if err != nil {
		t.Errorf("after %v: %v", time.Since(began), err)
		return
	}
	if got := time.Since(began); got != took {
		t.Errorf("the dial took %v, want %v", got, took)
	}
	if got := w.conns.Load() - before; got != conns {
		t.Errorf("the dial took %d conns to the hop, want %d", got, conns)
	}
	pingPong(t, c)
	time.Sleep(time.Second)
	if live := w.live.Load(); live != 0 {
		t.Errorf("%d conns to the hop were left open", live)
	}
}

func TestRoundTrips(t *testing.T) {
	secret := map[string]string{"ann": "secret"}
	for _, test := range []struct {
		name  string
		hop   func(string, HopOptions) chain.Hop
		o     HopOptions
		trips time.Duration // with TCP's own
	}{
		{"serial", Hop5, HopOptions{Pipeline: Off}, 3},
		{"serial with password", Hop5, HopOptions{Pipeline: Off, User: "ann", Password: "secret"}, 4},
		{"pipelined", Hop5, HopOptions{Pipeline: On}, 2},
		{"pipelined with password", Hop5, HopOptions{Pipeline: On, User: "ann", Password: "secret"}, 2},
		{"auto", Hop5, HopOptions{}, 2},
		{"auto with password", Hop5, HopOptions{User: "ann", Password: "secret"}, 2},
		{"SOCKS4a", Hop4a, HopOptions{}, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := Server{}
				if test.o.User != "" {
					s.Users = users(t, secret)
				}
				w := newWorld(t, good(t, s))
				c := newChain(t, testnet.Only(t, w.Host("client"), "hop:1080"), test.hop("hop:1080", test.o))
				for range 3 {
					w.dialTakes(t, c, test.trips*rtt, 1)
				}
			})
		})
	}
}

// TestRoundTripsOfTwoHops nests: the second hop is dialled by way of the first.
func TestRoundTripsOfTwoHops(t *testing.T) {
	for pipeline, want := range map[Pipeline]time.Duration{
		Off: 3*rtt + 40*time.Millisecond + 2*(rtt+40*time.Millisecond), // TCP and handshake with hop, TCP from hop to far, handshake with far
		On:  2*rtt + 40*time.Millisecond + rtt + 40*time.Millisecond,
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, good(t, Server{}))
			w.SetDelay("hop", "far", 20*time.Millisecond)
			listen(t, w.Network, "far", ":1081", func(c net.Conn) { good(t, Server{})(c, w.Host("far")) })
			o := HopOptions{Pipeline: pipeline}
			c := newChain(t, testnet.Only(t, w.Host("client"), "hop:1080"), Hop5("hop:1080", o), Hop5("far:1081", o))
			w.dialTakes(t, c, want, 1)
		})
	}
}

// serially answers a request, if the server's reading of the greeting let it come.
func serially(c net.Conn, next chain.Dialer) {
	p, err := new(Server).Handshake(context.Background(), chain.Unread(c, []byte(hello)))
	if err != nil {
		return
	}
	_ = via(next).Serve(context.Background(), p)
}

// Servers that can't be pipelined to: what they do with more than a greeting.
var odd = map[string]func(c net.Conn){
	"drops the rest": func(c net.Conn) { // as microsocks
		_, _ = c.Write([]byte("\x05\x00"))
		_, _ = io.Copy(io.Discard, c)
	},
	"hangs":           func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
	"closes":          func(c net.Conn) { _ = c.Close() },
	"answers garbage": func(c net.Conn) { _, _ = c.Write([]byte("what?")) },
	"resets":          func(c net.Conn) { _, _ = c.Write([]byte("\x05\x00")); _ = chain.Abort(c) },
}

// without returns a server that can't be pipelined to while broken holds.
func without(t *testing.T, broken *atomic.Bool, act func(net.Conn)) func(net.Conn, chain.Dialer) {
	return func(c net.Conn, next chain.Dialer) {
		if !broken.Load() {
			good(t, Server{})(c, next)
			return
		}
		first := make([]byte, 1024)
		k, err := c.Read(first)
		switch {
		case err != nil:
		case string(first[:k]) != hello:
			act(c)
		default:
			serially(c, next)
		}
	}
}

func oddWorld(t *testing.T, act func(net.Conn)) (*world, *atomic.Bool, chain.Dialer) {
	broken := new(atomic.Bool)
	w := newWorld(t, without(t, broken, act))
	return w, broken, newChain(t, w.Host("client"), Hop5("hop:1080", HopOptions{}))
}

// TestTrialFails meets servers that can't be pipelined to from the start.
func TestTrialFails(t *testing.T) {
	for name, wait := range map[string]time.Duration{ // until the serial attempt
		"drops the rest": 2*rtt + 250*time.Millisecond, "hangs": rtt + 250*time.Millisecond,
		"closes": 2 * rtt, "answers garbage": 2 * rtt, "resets": 2 * rtt,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, broken, d := oddWorld(t, odd[name])
				broken.Store(true)
				w.dialTakes(t, d, wait+3*rtt, 2)
				for range 3 {
					w.dialTakes(t, d, 3*rtt, 1)
				}
				broken.Store(false)
				w.dialTakes(t, d, 3*rtt, 1)
				time.Sleep(time.Hour)
				w.dialTakes(t, d, 2*rtt, 1)
			})
		})
	}
}

// TestPatience has a far hop: what is overdue depends on how far it is.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, broken, d := oddWorld(t, odd["drops the rest"])
		w.SetDelay("client", "hop", 100*time.Millisecond)
		broken.Store(true)
		w.dialTakes(t, d, (2+4+3)*200*time.Millisecond, 2)
	})
}

// TestTrialOfSlowTarget hedges in vain: the pipelined attempt is answered first.
func TestTrialOfSlowTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c net.Conn, next chain.Dialer) { good(t, Server{})(c, slow(next, 3*time.Second)) })
		d := newChain(t, w.Host("client"), Hop5("hop:1080", HopOptions{}))
		w.dialTakes(t, d, 2*rtt+3*time.Second, 2)
		w.dialTakes(t, d, 2*rtt+3*time.Second, 1) // learnt, so no hedge
	})
}

// TestOneTrial dials many at once while nothing is known.
func TestOneTrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, good(t, Server{}))
		d := newChain(t, w.Host("client"), Hop5("hop:1080", HopOptions{}))
		var wg sync.WaitGroup
		var fast, slow atomic.Int32
		for range 10 {
			wg.Go(func() {
				began := time.Now()
				c, err := d.Dial("tcp", "target:80")
				if err != nil {
					t.Error(err)
					return
				}
				switch time.Since(began) {
				case 2 * rtt:
					fast.Add(1)
				case 3 * rtt:
					slow.Add(1)
				}
				pingPong(t, c)
			})
		}
		wg.Wait()
		if fast.Load() != 1 || slow.Load() != 9 || w.conns.Load() != 10 {
			t.Errorf("%d pipelined, %d serial, %d conns", fast.Load(), slow.Load(), w.conns.Load())
		}
	})
}

// TestUnlearn changes a server that was pipelined to.
func TestUnlearn(t *testing.T) {
	for _, name := range []string{"closes", "answers garbage", "resets"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, broken, d := oddWorld(t, odd[name])
				for pause := time.Minute; pause < 10*time.Minute; pause *= 2 {
					broken.Store(false)
					w.dialTakes(t, d, 2*rtt, 1)
					broken.Store(true)
					w.dialTakes(t, d, 2*rtt+3*rtt, 2)
					broken.Store(false)
					time.Sleep(pause - 5*time.Second)
					w.dialTakes(t, d, 3*rtt, 1)
					time.Sleep(5 * time.Second)
				}
			})
		})
	}
	for _, name := range []string{"drops the rest", "hangs"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, broken, d := oddWorld(t, odd[name])
				w.dialTakes(t, d, 2*rtt, 1)
				broken.Store(true)
				began := time.Now()
				if _, err := d.DialContext(t.Context(), "tcp", "target:80"); !errors.Is(err, syscall.ETIMEDOUT) {
					t.Error(err)
				}
				if took := time.Since(began); took != rtt+10*time.Second || w.conns.Load() != 2 {
					t.Errorf("took %v, %d conns in all", took, w.conns.Load())
				}
				time.Sleep(time.Second)
				wait := rtt + 250*time.Millisecond
				if name == "drops the rest" {
					wait += rtt
				}
				w.dialTakes(t, d, wait+3*rtt, 2)
				w.dialTakes(t, d, 3*rtt, 1)
			})
		})
	}
}
