package chain_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
)

// panicking is a hop that panics in a dial, with a text that nobody may see.
func panicking(name string) chain.Hop {
	return chain.Hop{Name: name, Wrap: func(chain.Dialer) (chain.Dialer, error) {
		return chain.DialerFunc(func(context.Context, string, string) (net.Conn, error) {
			panic("secret.example:443")
		}), nil
	}}
}

// TestPanicNamesTheHop: a fault in a hop's code is an error of that hop, with the stack.
func TestPanicNamesTheHop(t *testing.T) {
	w := newWorld(t)
	c, err := chain.New(w.base(), w.hop("a"), panicking("b"), w.hop("c"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.DialContext(t.Context(), "tcp", "target:443")
	var fault *chain.PanicError
	if !errors.As(err, &fault) || !strings.Contains(string(fault.Stack), "panic_test.go") {
		t.Fatalf("error %v", err)
	}
	if got, want := err.Error(), "hop 2/3 b: connect: a fault of byway (panic): string"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestPanicOfMember: a group takes the next, also where it is tried on a goroutine of the group's own.
func TestPanicOfMember(t *testing.T) {
	for name, first := range map[string]func(*world) chain.Hop{
		"at once": func(*world) chain.Hop { return panicking("a") },
		"late": func(w *world) chain.Hop { // the panic is that of the second try, which a timer begins
			w.set("a", fake{silent: true})
			return w.hop("a")
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			members := []chain.Member{{Hop: first(w)}, {Hop: panicking("b")}, {Hop: w.hop("c")}}
			c, err := chain.New(w.base(), chain.Group("g", chain.GroupOptions{}, members...))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			conn, err := c.DialContext(ctx, "tcp", "target:443")
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			_ = conn.Close()
		})
	}
}

// unprepared is a dialer whose spares cannot be made without a panic.
type unprepared struct{ chain.Dialer }

func (unprepared) Prepare(context.Context) (net.Conn, error) { panic("no") }

func (p unprepared) DialOver(ctx context.Context, _ net.Conn, network, addr string) (net.Conn, error) {
	return p.DialContext(ctx, network, addr)
}

// TestPanicOfSpare: a spare that can't be made is not there, and dials go on without.
func TestPanicOfSpare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plain := chain.Hop{Name: "a", Wrap: func(next chain.Dialer) (chain.Dialer, error) {
			return unprepared{chain.DialerFunc(func(context.Context, string, string) (net.Conn, error) {
				near, far := testnet.Pipe(0)
				return near, far.Close()
			})}, nil
		}}
		c, err := chain.New(testnet.NoDial(t), chain.Spare(plain, chain.SpareOptions{Max: 2}))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for range 2 {
			conn, err := c.DialContext(t.Context(), "tcp", "target:443")
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.Close()
			synctest.Wait()
		}
	})
}

// TestPanicWithFirstData: what was sent along before a panic may have been passed on, so no
// other attempt may take its place.
func TestPanicWithFirstData(t *testing.T) {
	for sent, want := range map[bool]string{true: "", false: "hello"} {
		synctest.Test(t, func(t *testing.T) {
			near, far := testnet.Pipe(0)
			defer far.Close()
			defer near.Close()
			first := chain.NewFirstData(nil, []byte("hello"))
			func() {
				defer func() {
					if recover() == nil {
						t.Error("the panic went no further")
					}
				}()
				if !sent {
					_ = near.Close() // nothing can be
				}
				_ = first.Along(near, func() (bool, error) {
					synctest.Wait()
					panic("no")
				})
			}()
			if first.Spent() != sent {
				t.Errorf("spent: %v", first.Spent())
			}
			other, end := testnet.Pipe(0)
			defer other.Close()
			defer end.Close()
			n, rest, err := first.Settle(other)
			if n != 0 || string(rest) != want || (err != nil) != sent {
				t.Errorf("sent before: %v: %d, %q, %v", sent, n, rest, err)
			}
		})
	}
}
