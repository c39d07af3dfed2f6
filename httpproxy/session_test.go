package httpproxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/relay"
)

// counted counts the conns that d opens, and keeps them.
type counted struct {
	d     chain.Dialer
	mu    sync.Mutex
	conns []net.Conn
}

func (c *counted) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := c.d.DialContext(ctx, network, addr)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns = append(c.conns, conn)
	return conn, err
}

func (c *counted) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.conns)
}

func (c *counted) last() net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conns[len(c.conns)-1]
}

func echoed(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := io.WriteString(conn, "hello"); err != nil {
		t.Error(err)
	}
	_ = chain.CloseWrite(conn)
	if got, err := io.ReadAll(conn); err != nil || string(got) != "hello" {
		t.Errorf("echoed %q, %v", got, err)
	}
	_ = conn.Close()
}

// overH2 is a hop over an egress in virtual time.
func overH2(t *testing.T, o HopOptions, handle func(*relay.Relay) http.HandlerFunc) (chain.Dialer, *counted, *egress) {
	client, l, r := world(t)
	srv := serveTLS(t, l, false, handle(r))
	next := &counted{d: client}
	o.TLS = trust(testCert())
	return wrap(t, HopTLS("hop1:443", o), next), next, srv
}

func plainTunnels(r *relay.Relay) http.HandlerFunc { return tunnelled(r, ConnectOptions{}) }

func TestFirstSessionIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, next, _ := overH2(t, HopOptions{}, plainTunnels)
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				ctx := t.Context()
				if i == 0 { // this one gives up, and does not take the others with it
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, time.Millisecond)
					defer cancel()
				} else {
					time.Sleep(time.Microsecond)
				}
				conn, err := d.DialContext(ctx, "tcp", "target:80")
				switch {
				case i == 0 && !errors.Is(err, context.DeadlineExceeded), i > 0 && err != nil:
					t.Errorf("dial %d: error %v", i, err)
				case i > 0:
					echoed(t, conn)
				}
			})
		}
		wg.Wait()
		if n := next.count(); n != 1 {
			t.Errorf("%d sessions, want 1", n)
		}
	})
}

func TestOpeningIsGivenUpWithItsLastWaiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		given := false
		d := wrap(t, HopTLS("hop1:443", HopOptions{}), chain.DialerFunc(func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			given = errors.Is(ctx.Err(), context.Canceled)
			return nil, ctx.Err()
		}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := d.DialContext(ctx, "tcp", "a:1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		synctest.Wait()
		if !given {
			t.Error("the dial goes on for nobody")
		}
	})
}

// TestDeadSession: a session that died unseen costs a retry, never an error.
func TestDeadSession(t *testing.T) {
	for name, kill := range map[string]func(net.Conn, *egress){
		"reset": func(c net.Conn, _ *egress) { _ = chain.Abort(c) },
		"goaway": func(_ net.Conn, s *egress) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			defer cancel()
			_ = s.Shutdown(ctx)
		},
	} {
		t.Run(name, func(t *testing.T) {
			client, l, r := newLoopback(t)
			next := &counted{d: client}
			srv := serveTLS(t, l, false, plainTunnels(r))
			d := wrap(t, HopTLS(l.Addr().String(), HopOptions{TLS: trust(testCert())}), next)
			target := echoTargets(t)
			conn, err := d.DialContext(t.Context(), "tcp", target)
			if err != nil {
				t.Fatal(err)
			}
			echoed(t, conn)
			if name == "goaway" {
				// The same address is served again, as after a restart.
				kill(nil, srv)
				l2, err := net.Listen("tcp", l.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				serveTLS(t, l2, false, plainTunnels(r))
			} else {
				kill(next.last(), srv)
			}
			for range 5 {
				conn, err := d.DialContext(t.Context(), "tcp", target)
				if err != nil {
					t.Fatal(err)
				}
				echoed(t, conn)
			}
			if n := next.count(); n != 2 {
				t.Errorf("%d sessions, want 2", n)
			}
		})
	}
}

func TestIdleSessionIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, next, _ := overH2(t, HopOptions{}, plainTunnels)
		for want := 1; want <= 2; want++ {
			conn, err := d.DialContext(t.Context(), "tcp", "target:80")
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(9 * time.Minute) // a tunnel may idle for longer than a session
			echoed(t, conn)
			time.Sleep(4 * time.Minute)
			if n := next.count(); n != want {
				t.Errorf("%d sessions, want %d", n, want)
			}
			time.Sleep(2 * time.Minute)
			if _, err := next.last().Write([]byte{0}); !errors.Is(err, net.ErrClosed) {
				t.Errorf("the idle session was not closed: %v", err)
			}
		}
	})
}

func TestManyStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, l, r := world(t)
		srv := &http.HTTP2Config{MaxConcurrentStreams: 10}
		serveTLS(t, l, false, plainTunnels(r)).HTTP2.MaxConcurrentStreams = srv.MaxConcurrentStreams
		next := &counted{d: client}
		d := wrap(t, HopTLS("hop1:443", HopOptions{TLS: trust(testCert())}), next)
		var conns []net.Conn
		for range 35 {
			conn, err := d.DialContext(t.Context(), "tcp", "target:80")
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, conn)
		}
		if n := next.count(); n != 4 {
			t.Errorf("%d sessions for 35 tunnels, ten each", n)
		}
		for _, c := range conns {
			echoed(t, c)
		}
	})
}

// TestCloseKeepsTunnels: a hop that is closed opens no more, but what it opened lives on.
func TestCloseKeepsTunnels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, next, _ := overH2(t, HopOptions{}, plainTunnels)
		conn, err := d.DialContext(t.Context(), "tcp", "target:80")
		if err != nil {
			t.Fatal(err)
		}
		_ = d.(io.Closer).Close()
		if _, err := d.DialContext(t.Context(), "tcp", "target:80"); err == nil {
			t.Error("a closed hop dials")
		}
		session := next.conns[0]
		echoed(t, conn)
		time.Sleep(time.Second)
		if _, err := session.Write([]byte{0}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the session outlives its last tunnel: %v", err)
		}
	})
}
