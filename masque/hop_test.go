package masque

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
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

// world is a client, a hop and a target on a network in memory.
type world struct {
	*testnet.Network
	asked  atomic.Int32 // requests that the hop served
	hop    *Server
	dialer chain.Dialer
}

const legHop, legTarget = 25 * time.Millisecond, 15 * time.Millisecond

// newWorld has a target that echoes, and a hop that serves handle, or else tunnels.
func newWorld(t *testing.T, o httpproxy.HopOptions, handle http.HandlerFunc) *world {
	t.Helper()
	t.Cleanup(func() { time.Sleep(time.Minute) }) // what is on its way at the end arrives
	w := &world{Network: testnet.New()}
	w.SetDelay("client", "hop1", legHop)
	w.SetDelay("hop1", "target", legTarget)
	l, err := w.Host("target").Listen(":80")
	must(t, err)
	go testnet.Echo(l)
	t.Cleanup(func() { _ = l.Close() })
	conn, err := w.Host("hop1").ListenPacket(":443")
	must(t, err)
	if handle == nil {
		handle = tunnelled(&relay.Relay{Router: direct(w.Host("hop1"))})
	}
	w.hop = serve(t, conn, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.asked.Add(1)
		handle(rw, r)
	}))
	o.TLS = trust()
	w.dialer = wrap(t, Hop("hop1:443", o), w.Host("client"))
	return w
}

// sessions returns how many sessions were dialled.
func (w *world) sessions() (n int) {
	for _, d := range w.Dials() {
		if d == (testnet.Dial{From: "client", To: "udp hop1:443"}) {
			n++
		}
	}
	return n
}

func echo(t *testing.T, c net.Conn) {
	t.Helper()
	_, err := io.WriteString(c, "hello")
	must(t, err)
	buf := make([]byte, 5)
	if _, err := io.ReadFull(c, buf); err != nil || string(buf) != "hello" {
		t.Fatalf("echo %q, %v", buf, err)
	}
}

// TestRoundTrips: a session costs one, and a tunnel another.
func TestRoundTrips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, httpproxy.HopOptions{}, nil)
		for _, want := range []time.Duration{2*2*legHop + 2*legTarget, 2*legHop + 2*legTarget} {
			began := time.Now()
			conn, err := w.dialer.DialContext(t.Context(), "tcp", "target:80")
			must(t, err)
			if took := time.Since(began).Round(time.Millisecond); took != want {
				t.Errorf("took %v, want %v", took, want)
			}
			echo(t, conn)
			_ = conn.Close()
		}
		if n := w.sessions(); n != 1 {
			t.Errorf("%d sessions", n)
		}
	})
}

// TestFirstData goes along behind the request.
func TestFirstData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, httpproxy.HopOptions{}, nil)
		warm, err := w.dialer.DialContext(t.Context(), "tcp", "target:80")
		must(t, err)
		defer warm.Close()
		first := chain.NewFirstData(nil, []byte("hello"))
		began := time.Now()
		conn, err := w.dialer.DialContext(chain.WithFirstData(t.Context(), first), "tcp", "target:80")
		must(t, err)
		defer conn.Close()
		if sent, rest, err := first.Settle(conn); sent != 5 || len(rest) != 0 || err != nil {
			t.Errorf("sent %d, left %q, %v", sent, rest, err)
		}
		_, err = io.ReadFull(conn, make([]byte, 5))
		must(t, err)
		// The tunnel's own trip, and the trip to the target that its handshake takes first.
		if took, want := time.Since(began).Round(time.Millisecond), 2*legHop+4*legTarget; took != want {
			t.Errorf("the echo took %v, want %v", took, want)
		}
	})
}

// answering is a handler that answers each request so.
func answering(status int, fields ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(fields); i += 2 {
			w.Header().Set(fields[i], fields[i+1])
		}
		w.WriteHeader(status)
	}
}

// TestRefusals: what a hop answers, and what is made of it.
func TestRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		handle http.HandlerFunc
		phase  chain.Phase
		errno  syscall.Errno
		text   string
	}{
		"a website":     {answering(200), chain.PhaseAuth, 0, "as a website does"},
		"a page":        {answering(404), chain.PhaseAuth, 0, "as a website does"},
		"credentials":   {answering(407), chain.PhaseAuth, 0, "credentials rejected"},
		"refused":       {answering(502, "Proxy-Status", "x; error=connection_refused"), chain.PhaseConnect, syscall.ECONNREFUSED, ""},
		"not allowed":   {answering(403, "Proxy-Status", "x; error=http_request_denied"), chain.PhaseConnect, syscall.EACCES, ""},
		"a reset":       {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, chain.PhaseConnect, syscall.ECONNRESET, ""},
		"no end of 103": {func(w http.ResponseWriter, _ *http.Request) { many103(w) }, chain.PhaseConnect, 0, "too many interim answers"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, httpproxy.HopOptions{User: "u", Password: "p"}, test.handle)
				conn, err := w.dialer.DialContext(t.Context(), "tcp", "target:80")
				var e *chain.Error
				if conn != nil || !errors.As(err, &e) || e.Phase != test.phase || !strings.Contains(e.Error(), test.text) {
					t.Fatalf("got %v, want phase %s and %q", err, test.phase, test.text)
				}
				if test.errno != 0 && !errors.Is(err, test.errno) {
					t.Errorf("errno %v, want %v", chain.Errno(err), test.errno)
				}
			})
		})
	}
}

func many103(w http.ResponseWriter) {
	for range 2 * maxInterim {
		w.WriteHeader(http.StatusEarlyHints)
	}
}

// TestLimits: each wait has its end.
func TestLimits(t *testing.T) {
	silent := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	for name, test := range map[string]struct {
		run   func(w *world) error
		want  time.Duration
		phase chain.Phase
	}{
		"no hop there": {func(w *world) error {
			d, _ := Hop("nobody:443", httpproxy.HopOptions{}).Wrap(opaque(w.Host("client")))
			_, err := d.DialContext(context.Background(), "tcp", "target:80")
			return err
		}, 0, chain.PhaseDial},
		"a hop that takes datagrams and is silent": {func(w *world) error {
			deaf, _ := w.Host("deaf").ListenPacket(":443")
			defer deaf.Close()
			d, _ := Hop("deaf:443", httpproxy.HopOptions{HandshakeLimit: 7 * time.Second}).Wrap(w.Host("client"))
			_, err := d.DialContext(context.Background(), "tcp", "target:80")
			return err
		}, 7 * time.Second, chain.PhaseDial},
		"no answer": {func(w *world) error {
			_, err := w.dialer.DialContext(context.Background(), "tcp", "target:80")
			return err
		}, 2*legHop + 4*time.Second, chain.PhaseConnect},
		"a caller that gives up": {func(w *world) error {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_, err := w.dialer.DialContext(ctx, "tcp", "target:80")
			return err
		}, time.Second, chain.PhaseConnect},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, httpproxy.HopOptions{ReplyLimit: 4 * time.Second}, silent)
				began := time.Now()
				err := test.run(w)
				var e *chain.Error
				if !errors.As(err, &e) || e.Phase != test.phase {
					t.Errorf("got %v, want phase %s", err, test.phase)
				}
				if took := time.Since(began).Round(time.Millisecond); took != test.want {
					t.Errorf("took %v, want %v", took, test.want)
				}
			})
		})
	}
}

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
