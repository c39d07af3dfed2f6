package chain_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
)

// A taker is a hop that sends first data along: after a time it answers, and tells
// whether it acted.
type taker struct {
	name  string
	takes time.Duration
	acted bool
	err   error
	drops bool // it knows nothing of first data
	wraps func(net.Conn) net.Conn

	mu  sync.Mutex
	got strings.Builder // by all its conns
}

func (k *taker) hop() chain.Hop {
	return chain.Hop{Name: k.name, Wrap: func(next chain.Dialer) (chain.Dialer, error) {
		return chain.DialerFunc(func(ctx context.Context, network, _ string) (net.Conn, error) {
			under, err := next.DialContext(ctx, network, k.name+":1")
			if err != nil {
				return nil, err
			}
			if under != nil {
				_ = under.Close() // it has been dialled, which is all of interest
			}
			near, far := testnet.Pipe(0)
			go func() {
				buf := make([]byte, 100)
				for {
					n, err := far.Read(buf)
					k.mu.Lock()
					k.got.Write(buf[:n])
					k.mu.Unlock()
					if err != nil {
						_ = far.Close()
						return
					}
				}
			}()
			first := chain.FirstDataOf(ctx)
			if k.drops {
				first = nil
			}
			err = first.Along(near, func() (bool, error) {
				select {
				case <-time.After(max(k.takes, time.Millisecond)):
				case <-ctx.Done():
					return true, ctx.Err()
				}
				return k.acted, k.err
			})
			if err != nil {
				_ = near.Close()
				return nil, chain.Fail(chain.PhaseConnect, err)
			}
			if k.wraps != nil {
				near = k.wraps(near)
			}
			return near, nil
		}), nil
	}}
}

func (k *taker) heard() string {
	synctest.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.got.String()
}

// firstBase is the way to takers. It fails the test if first data comes that far.
func firstBase(t *testing.T) chain.Dialer {
	return chain.DialerFunc(func(ctx context.Context, _, addr string) (net.Conn, error) {
		if chain.FirstDataOf(ctx) != nil {
			t.Errorf("the dial to %s may send first data", addr)
		}
		return nil, nil //nolint:nilnil // nobody uses it
	})
}

func firstChain(t *testing.T, hops ...chain.Hop) *chain.Chain {
	t.Helper()
	c, err := chain.New(firstBase(t), hops...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// settled dials, settles and writes the rest, as the relay does.
func settled(ctx context.Context, c chain.Dialer, f *chain.FirstData) (sent int, err error) {
	conn, err := c.DialContext(chain.WithFirstData(ctx, f), "tcp", "target:443")
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	sent, rest, err := f.Settle(conn)
	if err != nil {
		return 0, err
	}
	_, err = conn.Write(rest)
	return sent, err
}

// TestFirstData: each byte gets to one hop, once, in order, by whatever attempt
// succeeds; or the dial fails.
func TestFirstData(t *testing.T) {
	const slow = 10 * time.Second
	for name, test := range map[string]struct {
		a, b    *taker
		sent    int
		a2, b2  string // what they heard
		failure bool
	}{
		"goes along":                 {a: &taker{}, sent: 5, a2: "hello"},
		"unknown to the hop":         {a: &taker{drops: true}, a2: "hel"}, /* "lo" is still to be read */
		"refused":                    {a: &taker{err: syscall.EHOSTUNREACH}, sent: 5, a2: "hello", b2: "hello"},
		"acted and failed":           {a: &taker{err: syscall.ECONNRESET, acted: true}, a2: "hello", failure: true},
		"refused twice":              {a: &taker{err: syscall.EHOSTUNREACH}, b: &taker{err: syscall.ECONNRESET}, a2: "hello", b2: "hello", failure: true},
		"silent, overtaken":          {a: &taker{takes: slow}, a2: "hello", failure: true},
		"silent, unknown to the hop": {a: &taker{takes: slow, drops: true}, sent: 5, b2: "hello"},
		"wrapped":                    {a: &taker{wraps: func(c net.Conn) net.Conn { return named{c} }}, sent: 5, a2: "hello"},
		"wrapped beyond recognition": {a: &taker{wraps: func(c net.Conn) net.Conn { return struct{ net.Conn }{c} }}, a2: "hello", failure: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := test.a, test.b
				if b == nil {
					b = &taker{}
				}
				a.name, b.name = "a", "b"
				c := firstChain(t, chain.Group("g", chain.GroupOptions{}, chain.Member{Hop: a.hop()}, chain.Member{Hop: b.hop()}))
				client, ours := testnet.Pipe(0)
				defer client.Close()
				defer ours.Close()
				_, _ = io.WriteString(client, "lo")
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				sent, err := settled(ctx, c, chain.NewFirstData(ours, []byte("hel")))
				if (err != nil) != test.failure || sent != test.sent {
					t.Errorf("sent %d along, error %v", sent, err)
				}
				expect(t, "a heard", a.heard(), test.a2)
				expect(t, "b heard", b.heard(), test.b2)
			})
		})
	}
}

type named struct{ net.Conn }

func (n named) NetConn() net.Conn { return n.Conn }

// TestFirstDataComesLate: it goes as soon as the client speaks, in pieces, and what
// comes after the answer is left to the conn, with the client's deadlines as they were.
func TestFirstDataComesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &taker{name: "a", takes: time.Second}
		c := firstChain(t, k.hop())
		client, ours := testnet.Pipe(0)
		defer client.Close()
		defer ours.Close()
		go func() {
			for _, piece := range []string{"b", "c", "d"} {
				time.Sleep(400 * time.Millisecond)
				_, _ = io.WriteString(client, piece)
			}
		}()
		began := time.Now()
		sent, err := settled(t.Context(), c, chain.NewFirstData(ours, []byte("a")))
		if took := time.Since(began); err != nil || sent != 3 || took != k.takes {
			t.Errorf("sent %d after %v, %v", sent, took, err)
		}
		expect(t, "heard", k.heard(), "abc")
		buf := make([]byte, 10)
		if n, err := ours.Read(buf); err != nil || string(buf[:n]) != "d" {
			t.Errorf("then %q, %v", buf[:n], err)
		}
	})
}

// TestFirstDataWaitsForNobody: a client without a word, or that leaves, changes nothing.
func TestFirstDataWaitsForNobody(t *testing.T) {
	for name, leave := range map[string]func(net.Conn){
		"silent": func(net.Conn) {},
		"ended":  func(c net.Conn) { _ = chain.CloseWrite(c) },
		"gone":   func(c net.Conn) { _ = chain.Abort(c) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := &taker{name: "a", takes: time.Second}
				c := firstChain(t, k.hop())
				client, ours := testnet.Pipe(0)
				defer client.Close()
				defer ours.Close()
				leave(client)
				began := time.Now()
				sent, err := settled(t.Context(), c, chain.NewFirstData(ours, nil))
				if took := time.Since(began); err != nil || sent != 0 || took != k.takes {
					t.Errorf("sent %d after %v, %v", sent, took, err)
				}
			})
		})
	}
}

// TestFirstDataIsBounded: a client that sends without end waits for the answer.
func TestFirstDataIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 16 << 10
		k := &taker{name: "a", takes: time.Second}
		c := firstChain(t, k.hop())
		client, ours := testnet.Pipe(0)
		defer client.Close()
		defer ours.Close()
		all := strings.Repeat("0123456789", 5000)
		_, _ = io.WriteString(client, all)
		sent, err := settled(t.Context(), c, chain.NewFirstData(ours, nil))
		if err != nil || sent != most {
			t.Errorf("sent %d, %v", sent, err)
		}
		expect(t, "heard", k.heard(), all[:most])
	})
}

// TestFirstDataOfTheTarget: in a chain of two that both know of it, the last hop
// gets it, and neither what prepares a spare nor a probe does.
func TestFirstDataOfTheTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &taker{name: "a"}, &taker{name: "b"}
		c := firstChain(t, a.hop(), chain.Sequence("s", chain.Spare(b.hop(), chain.SpareOptions{})))
		if _, err := settled(t.Context(), c, chain.NewFirstData(nil, []byte("hello"))); err != nil {
			t.Fatal(err)
		}
		expect(t, "a heard", a.heard(), "")
		expect(t, "b heard", b.heard(), "hello")
	})
}

// TestFirstDataAfterSettle: an attempt that was given up, and goes on, gets nothing.
func TestFirstDataAfterSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, ours := testnet.Pipe(0)
		defer client.Close()
		defer ours.Close()
		f := chain.NewFirstData(ours, nil)
		k := &taker{name: "a", takes: time.Second}
		c := firstChain(t, k.hop())
		lost := make(chan error)
		go func() {
			conn, err := c.DialContext(chain.WithFirstData(t.Context(), f), "tcp", "target:443")
			_ = conn.Close()
			lost <- err
		}()
		synctest.Wait() // it waits for the client
		won, far := testnet.Pipe(0)
		defer won.Close()
		defer far.Close()
		if sent, rest, err := f.Settle(won); sent != 0 || len(rest) != 0 || err != nil {
			t.Fatal(sent, rest, err)
		}
		_, _ = io.WriteString(client, "hello")
		if err := <-lost; err != nil {
			t.Error(err)
		}
		expect(t, "the one given up heard", k.heard(), "")
		buf := make([]byte, 10)
		if n, err := ours.Read(buf); err != nil || string(buf[:n]) != "hello" {
			t.Errorf("then %q, %v", buf[:n], err)
		}
		late := chain.NewFirstData(nil, []byte("hello"))
		_, _, _ = late.Settle(won)
		alongIsEmpty(t, late)
	})
}

// alongIsEmpty makes another attempt, which gets nothing.
func alongIsEmpty(t *testing.T, f *chain.FirstData) {
	t.Helper()
	near, far := testnet.Pipe(0)
	defer near.Close()
	err := f.Along(near, func() (bool, error) {
		time.Sleep(time.Second)
		return false, io.EOF
	})
	if !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	_ = chain.CloseWrite(near)
	if got, err := io.ReadAll(far); err != nil || len(got) != 0 {
		t.Errorf("another attempt got %q, %v", got, err)
	}
	_ = far.Close()
}

// TestFirstDataGoesOnce: after a success, and while an attempt waits for the client,
// others get nothing.
func TestFirstDataGoesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, ours := testnet.Pipe(0)
		defer client.Close()
		defer ours.Close()
		f := chain.NewFirstData(ours, nil)
		near, far := testnet.Pipe(0)
		defer near.Close()
		defer far.Close()
		done := make(chan error)
		go func() {
			done <- f.Along(near, func() (bool, error) {
				time.Sleep(time.Minute)
				return false, nil
			})
		}()
		synctest.Wait()
		go func() {
			time.Sleep(500 * time.Millisecond)
			_, _ = io.WriteString(client, "hello")
		}()
		alongIsEmpty(t, f)
		if err := <-done; err != nil {
			t.Error(err)
		}
		buf := make([]byte, 10)
		if n, err := far.Read(buf); err != nil || string(buf[:n]) != "hello" {
			t.Errorf("the first attempt got %q, %v", buf[:n], err)
		}
		alongIsEmpty(t, f)
		if sent, rest, err := f.Settle(near); sent != 5 || len(rest) != 0 || err != nil {
			t.Error(sent, rest, err)
		}
	})
}
