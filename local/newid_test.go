package local

import (
	"context"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/socks"
)

// TestNewIdentityLetsGo: a session that was kept for those before is closed with its last tunnel,
// which goes on, or at once if it has none; and not only when it has been idle for minutes.
func TestNewIdentityLetsGo(t *testing.T) {
	for scheme, test := range map[string]struct {
		serve func(*witness) (addr, more string)
		user  string
	}{
		"https": {serve: func(w *witness) (string, string) { return w.https(false) }},
		"ssh":   {serve: (*witness).ssh, user: "alice:sesame@"},
	} {
		t.Run(scheme, func(t *testing.T) {
			w := newWitness(t)
			addr, more := test.serve(w)
			b := &leaving{Dialer: w, left: make(chan struct{}, 100)}
			s, err := New(parse(t, oneHop(scheme+"://"+test.user+addr, more)), b, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			c, err := chain.New(testnet.Only(t, &net.Dialer{}, started(t, s)), socks.Hop5(s.in.doors[0].Addr().String(), socks.HopOptions{}))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			tunnel, err := c.Dial("tcp", "a.example:7")
			if err != nil {
				t.Fatal(err)
			}
			defer tunnel.Close()
			word(t, tunnel)
			s.NewIdentity()
			word(t, tunnel)
			if b.open.Load() == 0 {
				t.Error("the session was closed under a live tunnel")
			}
			_ = tunnel.Close()
			b.wait()

			if tunnel, err = c.Dial("tcp", "a.example:7"); err != nil {
				t.Fatal(err)
			}
			word(t, tunnel)
			_ = tunnel.Close()
			s.NewIdentity()
			b.wait()
		})
	}
}

// word has one go to the target and back.
func word(t *testing.T, c net.Conn) {
	t.Helper()
	got := make([]byte, 5)
	_, _ = io.WriteString(c, "hello")
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "hello" {
		t.Errorf("echo %q, %v", got, err)
	}
}

// leaving is a base dialer that tells when its conns were closed.
type leaving struct {
	chain.Dialer
	open atomic.Int32
	left chan struct{}
}

// wait waits until none is open.
func (l *leaving) wait() {
	for l.open.Load() > 0 {
		<-l.left
	}
}

func (l *leaving) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := l.Dialer.DialContext(ctx, network, addr)
	if err == nil {
		l.open.Add(1)
		c = &leavingConn{Conn: c, of: l}
	}
	return c, err
}

type leavingConn struct {
	net.Conn
	of   *leaving
	once sync.Once
}

func (c *leavingConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		c.of.open.Add(-1)
		c.of.left <- struct{}{}
	})
	return err
}

func (c *leavingConn) CloseWrite() error { return chain.CloseWrite(c.Conn) }
