package masque

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/httpproxy"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

// TestIdleSession is closed after its limit, and another one opened when it is needed. One
// that carries a tunnel in which nothing moves is kept.
func TestIdleSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, httpproxy.HopOptions{IdleLimit: time.Minute}, nil)
		conn, err := w.dialer.DialContext(t.Context(), "tcp", "target:80")
		must(t, err)
		time.Sleep(9 * time.Minute)
		echo(t, conn)
		_ = conn.Close()
		time.Sleep(59 * time.Second)
		conn, err = w.dialer.DialContext(t.Context(), "tcp", "target:80")
		must(t, err)
		_ = conn.Close()
		if n := w.sessions(); n != 1 {
			t.Errorf("%d sessions while it was in use", n)
		}
		time.Sleep(61 * time.Second)
		conn, err = w.dialer.DialContext(t.Context(), "tcp", "target:80")
		must(t, err)
		_ = conn.Close()
		if n := w.sessions(); n != 2 {
			t.Errorf("%d sessions after the limit", n)
		}
	})
}

// TestManyTunnels need more than one session, as a server has room for a hundred on each.
func TestManyTunnels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, httpproxy.HopOptions{}, nil)
		for range 2*maxTunnels + 1 {
			conn, err := w.dialer.DialContext(t.Context(), "tcp", "target:80")
			must(t, err)
			defer conn.Close()
		}
		if n := w.sessions(); n != 3 {
			t.Errorf("%d sessions", n)
		}
	})
}

// TestIdentities have sessions and tickets of their own.
func TestIdentities(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, httpproxy.HopOptions{}, nil)
		resumed := func(key string) {
			ctx := chain.WithIdentity(t.Context(), chain.Identity{Key: key})
			conn, err := w.dialer.DialContext(ctx, "tcp", "target:80")
			must(t, err)
			echo(t, conn)
			_ = conn.Close()
		}
		resumed("alice")
		resumed("bob")
		resumed("alice")
		if n := w.sessions(); n != 2 {
			t.Errorf("%d sessions for two identities", n)
		}
	})
}

// TestServerGoes: a session that the hop ends costs a retry, and a tunnel on one that dies
// ends with an error.
func TestServerGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, httpproxy.HopOptions{}, nil)
		conn, err := w.dialer.DialContext(t.Context(), "tcp", "target:80")
		must(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_ = w.hop.Shutdown(ctx)
		if n, err := conn.Read(make([]byte, 1)); err == nil || err == io.EOF || errors.Is(err, os.ErrDeadlineExceeded) || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read %d, %v on a session that was cut", n, err)
		}
		_ = conn.Close()
		synctest.Wait()
		again, err := w.Host("hop1").ListenPacket(":443")
		must(t, err)
		serve(t, again, tunnelled(&relay.Relay{Router: direct(w.Host("hop1"))}))
		conn, err = w.dialer.DialContext(t.Context(), "tcp", "target:80")
		must(t, err)
		echo(t, conn)
		_ = conn.Close()
	})
}

// TestSilentDeath: a session of which nothing is heard any more ends, and its tunnels with it.
func TestSilentDeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Minute) })
		n := testnet.New()
		conn, err := n.Host("hop1").ListenPacket(":443")
		must(t, err)
		var cut atomic.Bool
		serve(t, &leaky{Socket: conn, cut: &cut}, tunnelled(&relay.Relay{Router: direct(n.Host("hop1"))}))
		l, err := n.Host("target").Listen(":80")
		must(t, err)
		defer l.Close()
		go testnet.Echo(l)
		d := wrap(t, Hop("hop1:443", httpproxy.HopOptions{TLS: trust()}), n.Host("client"))
		c, err := d.DialContext(t.Context(), "tcp", "target:80")
		must(t, err)
		defer c.Close()
		echo(t, c)
		cut.Store(true)
		began := time.Now()
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read %v", err)
		}
		// A sign of life is asked for after 10 s, and awaited for 25.
		if took := time.Since(began).Round(time.Second); took != 35*time.Second {
			t.Errorf("after %v", took)
		}
	})
}

// leaky sends nothing once it is cut.
type leaky struct {
	*testnet.Socket
	cut *atomic.Bool
}

func (l *leaky) WriteTo(p []byte, to net.Addr) (int, error) {
	if l.cut.Load() {
		return len(p), nil
	}
	return l.Socket.WriteTo(p, to)
}

// TestTrust: a hop that can't prove itself gets no credential.
func TestTrust(t *testing.T) {
	other := &tls.Config{ServerName: "another.example", RootCAs: trust().RootCAs}
	pinned := &tls.Config{}
	httpproxy.PinSPKI(pinned, [32]byte{1})
	for name, cfg := range map[string]*tls.Config{"no roots": nil, "another name": other, "another key": pinned} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, httpproxy.HopOptions{}, nil)
				d := wrap(t, Hop("hop1:443", httpproxy.HopOptions{TLS: cfg, User: "u", Password: "p"}), w.Host("client"))
				_, err := d.DialContext(t.Context(), "tcp", "target:80")
				if e := (*chain.Error)(nil); !errors.As(err, &e) || e.Phase != chain.PhaseTLS || w.asked.Load() != 0 {
					t.Errorf("%v; %d requests", err, w.asked.Load())
				}
			})
		})
	}
}

// TestNothingElse: a hop that the way does not reach is dialled by no other.
func TestNothingElse(t *testing.T) {
	d := wrap(t, Hop("hop1:443", httpproxy.HopOptions{}), testnet.NoDial(t))
	if chain.Carries(d, "tcp") || chain.Carries(d, "udp") {
		t.Error("a hop over a way without UDP carries something")
	}
	for _, addr := range []string{"a", "a b:1", "[::1%eth0]:1", ":80", "a:0"} {
		if _, err := d.DialContext(t.Context(), "tcp", addr); err == nil || !errors.Is(err, httpproxy.ErrTarget) {
			t.Errorf("target %q: %v", addr, err)
		}
	}
	if _, err := d.DialContext(t.Context(), "tcp", "target:80"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("over a way without UDP: %v", err)
	}
}
