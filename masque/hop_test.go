package masque

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
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

// switched is a world's handler, which may be another one later.
type switched struct {
	w *world
	h http.HandlerFunc
}

func (s *switched) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.w.asked.Add(1)
	s.h(w, r)
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
	w.hop = serve(t, conn, &switched{w: w, h: handle})
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
