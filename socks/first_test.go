package socks

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
)

// firstDial dials target:80 by way of d for a client that has said hello, as the
// relay does, and returns how much of it went along.
func firstDial(t *testing.T, d chain.Dialer) (sent int, err error) {
	t.Helper()
	f := chain.NewFirstData(nil, []byte("hello"))
	c, err := d.DialContext(chain.WithFirstData(t.Context(), f), "tcp", "target:80")
	if err != nil {
		return 0, err
	}
	defer c.Close()
	sent, rest, err := f.Settle(c)
	if err != nil {
		return 0, err
	}
	_, err = c.Write(rest)
	must(t, err)
	must(t, chain.CloseWrite(c))
	if got, err := io.ReadAll(c); err != nil || string(got) != "hello" {
		t.Errorf("%d went along, and the echo was %q, %v", sent, got, err)
	}
	return sent, nil
}

// loses is a server that reads requests into a buffer, and relays from the conn.
func loses(c net.Conn, next chain.Dialer) {
	br := bufio.NewReader(c)
	skip := func(n int) []byte {
		b := make([]byte, n)
		_, _ = io.ReadFull(br, b)
		return b
	}
	skip(int(skip(2)[1]))
	_, _ = c.Write([]byte{5, 0})
	host := skip(int(skip(5)[4]))
	skip(2)
	if string(host) == "hop" {
		host = []byte("hop:1080")
	} else {
		host = []byte("target:80")
	}
	out, err := next.DialContext(context.Background(), "tcp", string(host))
	if err != nil {
		_, _ = c.Write([]byte{5, 5, 0, 1, 0, 0, 0, 0, 0, 0})
		return
	}
	_, _ = c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = io.Copy(out, c)
		_ = chain.CloseWrite(out)
	})
	_, _ = io.Copy(c, out)
	_ = chain.CloseWrite(c)
	wg.Wait()
	_ = out.Close()
}

// TestFirstDataIsLearnt: a hop is not trusted with a client's data before it has
// passed on a greeting to itself; and nobody's data is lost by one that would lose it.
func TestFirstDataIsLearnt(t *testing.T) {
	never := [4]int{}
	for name, test := range map[string]struct {
		serve func(*testing.T) func(net.Conn, chain.Dialer)
		o     HopOptions
		sent  [4]int // by four dials, the last after two hours
	}{
		"auto, passes on":     {func(t *testing.T) func(net.Conn, chain.Dialer) { return good(t, Server{}) }, HopOptions{}, [4]int{0, 5, 5, 5}},
		"auto, loses":         {func(*testing.T) func(net.Conn, chain.Dialer) { return loses }, HopOptions{}, never},
		"auto, not to itself": {selfless, HopOptions{}, never},
		"auto, with password": {func(t *testing.T) func(net.Conn, chain.Dialer) {
			return good(t, Server{Users: users(t, map[string]string{"ann": "secret"})})
		}, HopOptions{User: "ann", Password: "secret"}, [4]int{0, 5, 5, 5}},
		"on":                   {func(t *testing.T) func(net.Conn, chain.Dialer) { return good(t, Server{}) }, HopOptions{Pipeline: On}, [4]int{5, 5, 5, 5}},
		"off":                  {func(t *testing.T) func(net.Conn, chain.Dialer) { return good(t, Server{}) }, HopOptions{Pipeline: Off}, never},
		"auto, no more in use": {changes, HopOptions{}, [4]int{0, 5, 5, 5}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, test.serve(t))
				c := newChain(t, testnet.Only(t, w.Host("client"), "hop:1080"), Hop5("hop:1080", test.o))
				defer c.Close()
				for i, want := range test.sent {
					if i == 3 {
						time.Sleep(2 * time.Hour)
					}
					if sent, err := firstDial(t, c); err != nil || sent != want {
						t.Errorf("dial %d sent %d along, want %d; error %v", i, sent, want, err)
					}
					time.Sleep(time.Minute)
				}
				if test.o.Pipeline == Auto && name == "auto, no more in use" {
					// The question of the last dial had another answer.
					if sent, err := firstDial(t, c); err != nil || sent != 0 {
						t.Errorf("after another server took its place %d went along, %v", sent, err)
					}
				}
			})
		})
	}
}

// selfless is a server that opens no tunnel to itself.
func selfless(t *testing.T) func(net.Conn, chain.Dialer) {
	return func(c net.Conn, next chain.Dialer) {
		good(t, Server{})(c, chain.DialerFunc(func(ctx context.Context, network, addr string) (net.Conn, error) {
			if strings.HasPrefix(addr, "hop:") {
				return nil, syscall.EACCES
			}
			return next.DialContext(ctx, network, addr)
		}))
	}
}

// changes is a good server that after an hour opens no tunnel to itself.
func changes(t *testing.T) func(net.Conn, chain.Dialer) {
	began := time.Now()
	return func(c net.Conn, next chain.Dialer) {
		if time.Since(began) > time.Hour {
			selfless(t)(c, next)
			return
		}
		good(t, Server{})(c, next)
	}
}

// TestFirstDataQuestions: how often a hop is asked, and that it takes no time of a
// client's. Without first data it is never asked.
func TestFirstDataQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, good(t, Server{}))
		c := newChain(t, testnet.Only(t, w.Host("client"), "hop:1080"), Hop5("hop:1080", HopOptions{}))
		defer c.Close()
		asked := func() (n int) {
			for _, d := range w.Dials() {
				if d == (testnet.Dial{From: "hop", To: "hop:1080"}) {
					n++
				}
			}
			return n
		}
		for range 3 {
			w.dialTakes(t, c, 2*rtt, 1)
		}
		if n := asked(); n != 0 {
			t.Errorf("asked %d times without first data", n)
		}
		for range 10 {
			if _, err := firstDial(t, c); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Minute)
		}
		if n := asked(); n != 1 {
			t.Errorf("asked %d times in ten minutes", n)
		}
	})
}

// TestCloseEndsQuestions: a chain that is closed leaves nothing behind, and one that was closed asks nothing.
func TestCloseEndsQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c net.Conn, next chain.Dialer) {
			good(t, Server{})(c, chain.DialerFunc(func(ctx context.Context, network, addr string) (net.Conn, error) {
				if addr == "hop:1080" {
					<-ctx.Done()
				}
				return next.DialContext(ctx, network, addr)
			}))
		})
		c := newChain(t, w.Host("client"), Hop5("hop:1080", HopOptions{}))
		if _, err := firstDial(t, c); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		must(t, c.Close())
		if took := time.Since(began); took != 0 {
			t.Errorf("Close took %v", took)
		}
		before := w.conns.Load()
		if sent, err := firstDial(t, c); err != nil || sent != 0 || w.conns.Load() != before+1 {
			t.Errorf("after Close: %d went along, %v, %d conns", sent, err, w.conns.Load()-before)
		}
	})
}

// TestFirstDataThatFails: what went along is free to go again only if the hop refused.
func TestFirstDataThatFails(t *testing.T) {
	const methodChosen = "\x05\x00"
	for name, test := range map[string]struct {
		says  string // after the greeting
		end   func(net.Conn) error
		spent bool
	}{
		"refused":                   {methodChosen + "\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00", net.Conn.Close, false},
		"method refused":            {"\x05\xff", net.Conn.Close, false},
		"ended before the method":   {"", chain.CloseWrite, true},
		"ended before the reply":    {methodChosen, chain.CloseWrite, true},
		"ended amid the reply":      {methodChosen + "\x05", chain.CloseWrite, true},
		"ended amid a success":      {methodChosen + "\x05\x00\x00", chain.CloseWrite, true},
		"reset before the reply":    {methodChosen, chain.Abort, true},
		"garbage in place of reply": {methodChosen + "HTTP/1.1", chain.CloseWrite, true},
		"silent":                    {methodChosen, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, func(c net.Conn, _ chain.Dialer) {
					// It reads all that is sent along, to end in order.
					_, _ = io.ReadFull(c, make([]byte, 3+4+1+6+2+5))
					_, _ = io.WriteString(c, test.says)
					if test.end != nil {
						_ = test.end(c)
					}
				})
				c := newChain(t, w.Host("client"), Hop5("hop:1080", HopOptions{Pipeline: On}))
				f := chain.NewFirstData(nil, []byte("hello"))
				if _, err := c.DialContext(chain.WithFirstData(t.Context(), f), "tcp", "target:80"); err == nil {
					t.Error("no error")
				}
				if f.Spent() != test.spent {
					t.Errorf("spent: %v, want %v", f.Spent(), test.spent)
				}
			})
		})
	}
}

// TestSpareDiesUnderFirstData: a spare that ends before first data goes along costs a
// retry; one that ends with it is an error, however it ends, as the hop may have acted.
func TestSpareDiesUnderFirstData(t *testing.T) {
	for name, test := range map[string]struct {
		end    func(net.Conn) error
		before bool // the second dial
		fail   bool
	}{
		"ended before":  {chain.CloseWrite, true, false},
		"reset before":  {chain.Abort, true, false},
		"ends with it":  {chain.CloseWrite, false, true},
		"reset with it": {chain.Abort, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var spares atomic.Int32
				w := newWorld(t, func(c net.Conn, next chain.Dialer) {
					greeting := make([]byte, 100)
					n, _ := c.Read(greeting)
					if n != 3 || spares.Add(1) > 1 { // a spare's comes alone
						good(t, Server{})(chain.Unread(c, greeting[:n]), next)
						return
					}
					_, _ = c.Write([]byte{5, 0})
					if !test.before {
						_, _ = io.ReadFull(c, make([]byte, 4+1+6+2+5))
					}
					_ = test.end(c)
				})
				c := newChain(t, w.Host("client"), chain.Spare(Hop5("hop:1080", HopOptions{Pipeline: On}), chain.SpareOptions{}))
				defer c.Close()
				for i := range 2 {
					sent, err := firstDial(t, c)
					if fail := test.fail && i == 1; (err != nil) != fail || !fail && sent != 5 {
						t.Errorf("dial %d: %d went along, error %v", i, sent, err)
					}
					if err != nil && !errors.Is(err, syscall.ECONNRESET) {
						t.Errorf("dial %d: %v", i, err)
					}
					time.Sleep(time.Second)
				}
			})
		})
	}
}
