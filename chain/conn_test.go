package chain_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestUnreadConforms(t *testing.T) {
	testnet.TestConn(t, func(t *testing.T) (net.Conn, net.Conn) {
		a, b := testnet.TCPPair(t)
		// An Unread conn whose bytes are read is as good as the one below.
		u := chain.Unread(a, []byte("x"))
		if _, err := io.ReadFull(u, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		return u, b
	})
}

func TestFrom(t *testing.T) {
	a, b := testnet.Pipe(0)
	defer a.Close()
	defer b.Close()
	from := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 9), Port: 9}
	before := chain.From(chain.Unread(a, []byte("x")), from)
	for name, c := range map[string]net.Conn{
		"before": before, "after": chain.Unread(chain.From(a, from), []byte("x")),
		"amid": chain.Unread(chain.From(chain.Unread(a, nil), from), []byte("x")),
	} {
		if c.RemoteAddr() != net.Addr(from) || c.LocalAddr() != a.LocalAddr() {
			t.Errorf("%s: %v to %v", name, c.RemoteAddr(), c.LocalAddr())
		}
		if ahead, raw := chain.Raw(c); string(ahead) != "x" || raw != a {
			t.Errorf("%s: %q before %T", name, ahead, raw)
		}
	}
	if got := chain.Unread(a, []byte("x")).RemoteAddr(); got != a.RemoteAddr() {
		t.Errorf("Unread alone is from %v", got)
	}
}

func TestUnread(t *testing.T) {
	a, b := testnet.TCPPair(t)
	defer a.Close()
	if chain.Unread(a, nil) != net.Conn(a) {
		t.Error("without bytes ahead, Unread must return the conn itself")
	}
	if _, err := b.Write([]byte("-tail")); err != nil {
		t.Fatal(err)
	}
	_ = b.Close()
	u := chain.Unread(chain.Unread(a, []byte("two")), []byte("one-"))
	if got, err := io.ReadAll(u); err != nil || string(got) != "one-two-tail" {
		t.Errorf("read %q, %v", got, err)
	}
	u = chain.Unread(a, []byte("abc"))
	if _, err := u.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	ahead, raw := chain.Raw(u)
	if string(ahead) != "bc" || raw != net.Conn(a) {
		t.Errorf("Raw gave %q and %T", ahead, raw)
	}
	if ahead, raw := chain.Raw(a); ahead != nil || raw != net.Conn(a) {
		t.Errorf("Raw of a raw conn gave %q and %T", ahead, raw)
	}
}

func TestHandshakeDeadlines(t *testing.T) {
	read := func(c net.Conn) func() error {
		return func() error { _, err := c.Read(make([]byte, 1)); return err }
	}
	write := func(c net.Conn) func() error {
		return func() error { _, err := c.Write(make([]byte, 1<<20)); return err }
	}
	for name, f := range map[string]func(net.Conn) func() error{"read": read, "write": write} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := testnet.Pipe(0)
				defer b.Close()
				defer a.Close()
				began := time.Now()
				err := chain.Handshake(t.Context(), a, 3*time.Second, f(a))
				if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != 3*time.Second {
					t.Errorf("limit: %v after %v", err, time.Since(began))
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				began = time.Now()
				err = chain.Handshake(ctx, a, time.Minute, f(a))
				if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
					t.Errorf("deadline of ctx: %v after %v", err, time.Since(began))
				}
				ctx, stop := context.WithCancelCause(t.Context())
				cause := errors.New("the client left")
				time.AfterFunc(2*time.Second, func() { stop(cause) })
				began = time.Now()
				err = chain.Handshake(ctx, a, time.Minute, f(a))
				if !errors.Is(err, cause) || time.Since(began) != 2*time.Second {
					t.Errorf("cancelled: %v after %v", err, time.Since(began))
				}
				if err := chain.Handshake(ctx, a, 0, func() error { t.Error("f ran"); return nil }); !errors.Is(err, cause) {
					t.Errorf("begun with a dead ctx: %v", err)
				}
			})
		})
	}
}

// TestHandshakeLeavesNothingBehind checks that a conn has no deadline and no tie to ctx after success.
func TestHandshakeLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := testnet.Pipe(0)
		ctx, cancel := context.WithCancel(t.Context())
		if err := chain.Handshake(ctx, a, time.Second, func() error { return nil }); err != nil {
			t.Fatal(err)
		}
		cancel()
		time.Sleep(time.Minute)
		if _, err := b.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Read(make([]byte, 1)); err != nil {
			t.Error(err)
		}
		_ = a.Close()
		_ = b.Close()
	})
}

func TestAbortIsNoOrderlyEnd(t *testing.T) {
	a, b := testnet.TCPPair(t)
	defer b.Close()
	_ = chain.Abort(chain.Unread(a, []byte("x")))
	if _, err := b.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("the peer saw %v", err)
	}
}
