package local

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/httpproxy"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/socks"
)

// fakeListener yields what it is given.
type fakeListener struct {
	conns  chan net.Conn
	fail   error // once given, of each Accept
	failed int
	closed chan struct{}
}

func (f *fakeListener) Accept() (net.Conn, error) {
	if f.fail != nil {
		select {
		case <-f.closed:
			return nil, net.ErrClosed
		default:
			f.failed++
			return nil, f.fail
		}
	}
	select {
	case c := <-f.conns:
		return c, nil
	case <-f.closed:
		return nil, net.ErrClosed
	}
}

func (f *fakeListener) Close() error   { close(f.closed); return nil }
func (f *fakeListener) Addr() net.Addr { return testnet.Addr("192.0.2.1:1080") }

// accepting runs a server whose only listener is f, with the tables of more.
func accepting(t *testing.T, f *fakeListener, log io.Writer, more string) (s *Server, stop func()) {
	t.Helper()
	f.conns, f.closed = make(chan net.Conn), make(chan struct{})
	config := "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nto = \"direct\"\n" + more
	s, err := New(parse(t, config), testnet.NoDial(t), slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	q := relay.Request{Listener: "test"}
	d := &door{Listener: f}
	d.role.Store(&role{
		limit: 10 * time.Second,
		socks: &socks.Server{Relay: s.relay, Limit: 10 * time.Second, Request: q},
		http:  &httpproxy.Server{Relay: s.relay, Limit: 10 * time.Second, Request: q},
	})
	s.in.doors = []*door{d}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	return s, func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TestAcceptErrors: out of descriptors is no end, and no spin either.
func TestAcceptErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeListener{fail: syscall.EMFILE}
		var log strings.Builder
		_, stop := accepting(t, f, &log, "")
		time.Sleep(time.Hour)
		synctest.Wait()
		if f.failed < 3600 || f.failed > 3610 {
			t.Errorf("%d tries in an hour", f.failed)
		}
		stop()
		if !strings.Contains(log.String(), "too many open files") {
			t.Errorf("the log has %.300s", log.String())
		}
	})
}

// TestSilentClients are gone at the deadline, whatever they have said by then.
func TestSilentClients(t *testing.T) {
	for name, says := range map[string]string{
		"nothing":          "",
		"half a greeting":  "\x05\x02\x00",
		"a greeting":       "\x05\x01\x00",
		"half a request":   "\x05\x01\x00\x05\x01\x00\x03\x0etarg",
		"SOCKS4":           "\x04\x01\x00\x50",
		"SOCKS4a":          "\x04\x01\x00\x50\x00\x00\x00\x01me\x00targ",
		"a line":           "CONNECT target.example:7 HTTP/1.1\r\n",
		"half a line":      "GE",
		"a TLS hello":      "\x16\x03\x01\x02\x00",
		"half HTTP/2":      "PRI * HTTP/2.0\r\n",
		"garbage":          "\x00\x00\x00",
		"a field too many": "GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\nX-",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeListener{}
				_, stop := accepting(t, f, io.Discard, "")
				defer stop()
				app, client := testnet.Pipe(0)
				began := time.Now()
				f.conns <- client
				_, _ = io.WriteString(app, says)
				_, _ = io.Copy(io.Discard, app)
				// Sniffing has its limit, and the protocol one of its own.
				if lasted := time.Since(began); lasted > 20*time.Second {
					t.Errorf("it was kept for %v", lasted)
				}
				_ = app.Close()
			})
		})
	}
}

// TestSlowClient says a byte every second: it is gone at the deadline all the same.
func TestSlowClient(t *testing.T) {
	for name, says := range map[string]string{
		"SOCKS5": "\x05\xff" + strings.Repeat("\x00", 255),
		"HTTP":   "GET http://a.example/ HTTP/1.1\r\nX-A: " + strings.Repeat("a", 255),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeListener{}
				_, stop := accepting(t, f, io.Discard, "")
				defer stop()
				app, client := testnet.Pipe(0)
				began := time.Now()
				f.conns <- client
				go func() {
					for i := range len(says) {
						if _, err := io.WriteString(app, says[i:i+1]); err != nil {
							return
						}
						time.Sleep(time.Second)
					}
				}()
				_, _ = io.Copy(io.Discard, app)
				if lasted := time.Since(began); lasted > 21*time.Second {
					t.Errorf("it was kept for %v", lasted)
				}
				_ = app.Close()
				time.Sleep(time.Minute) // the writer ends
			})
		})
	}
}

// TestCrowd closes what is beyond the limits without reading, and says so once a
// minute; those who leave make room.
func TestCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeListener{}
		var log strings.Builder
		s, stop := accepting(t, f, &log, "[limits]\nhandshakes = 3\nhandshakes_per_client = 2\n[timeouts]\nhandshake = \"1h\"\n")
		s.in.doors[0].role.Load().limit = time.Hour
		host := testnet.New()
		l, err := host.Host("192.0.2.1").Listen(":1080")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		dial := func(from string) net.Conn {
			t.Helper()
			app, err := host.Host(from).DialContext(t.Context(), "tcp", "192.0.2.1:1080")
			if err != nil {
				t.Fatal(err)
			}
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			f.conns <- &addressed{c, &net.TCPAddr{IP: net.ParseIP(from), Port: 1}}
			return app
		}
		gone := func(app net.Conn) bool {
			_ = app.SetReadDeadline(time.Now().Add(time.Second))
			_, err := app.Read(make([]byte, 1))
			var timeout net.Error
			return !errors.As(err, &timeout) || !timeout.Timeout()
		}
		kept := []net.Conn{dial("192.0.2.8"), dial("192.0.2.8"), dial("192.0.2.9")}
		for _, from := range []string{"192.0.2.8", "192.0.2.9", "192.0.2.10"} {
			if app := dial(from); !gone(app) {
				t.Errorf("one more from %s is kept", from)
			}
		}
		for i, app := range kept {
			if gone(app) {
				t.Errorf("number %d is gone", i)
			}
		}
		_ = kept[0].Close()
		synctest.Wait()
		if app := dial("192.0.2.8"); gone(app) {
			t.Error("there is no room though one has left")
		} else {
			_ = app.Close()
		}
		for _, app := range kept {
			_ = app.Close()
		}
		stop()
		if n := strings.Count(log.String(), "connections are closed"); n != 1 {
			t.Errorf("said %d times: %s", n, log.String())
		}
	})
}

type addressed struct {
	net.Conn
	from net.Addr
}

func (a *addressed) RemoteAddr() net.Addr { return a.from }

// TestTunnelsAreNoHandshakes has one tunnel after the other where there is room for
// two handshakes, and no more of them than the limit for tunnels. Who is refused is a
// handshake until it has gone.
func TestTunnelsAreNoHandshakes(t *testing.T) {
	hop := socksServer(t, echo(t))
	addr := serve(t, through(hop)+"[limits]\nhandshakes = 2\nhandshakes_per_client = 2\ntunnels = 3\ntunnels_per_client = 2\n", testnet.Only(t, &net.Dialer{}, hop))
	ask := func(says string) (net.Conn, string) {
		t.Helper()
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_, _ = io.WriteString(c, says)
		got := make([]byte, 12)
		_, _ = io.ReadFull(c, got)
		return c, string(got)
	}
	const connect = "CONNECT target.example:7 HTTP/1.1\r\nHost: target.example:7\r\n\r\n"
	if _, got := ask(socksRequest); got != "\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00" {
		t.Fatalf("the first got %q", got)
	}
	if _, got := ask(connect); got != "HTTP/1.1 200" {
		t.Fatalf("the second got %q", got)
	}
	if _, got := ask(connect); got != "HTTP/1.1 503" {
		t.Errorf("beyond the limit, HTTP got %q", got)
	}
	if _, got := ask(socksRequest); got != "\x05\x00\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00" {
		t.Errorf("beyond the limit, SOCKS5 got %q", got)
	}
	// The two that were refused are still there.
	if _, got := ask(socksRequest); got != strings.Repeat("\x00", 12) {
		t.Errorf("beyond the handshakes, SOCKS5 got %q", got)
	}
}

func TestLimitsOf(t *testing.T) {
	for files, want := range map[int]configs.Limits{
		1024:    {Tunnels: 384, TunnelsPerClient: 192, Handshakes: 128, HandshakesPerClient: 64},
		1 << 20: {Tunnels: 393216, TunnelsPerClient: 196608, Handshakes: 4096, HandshakesPerClient: 2048},
		4:       {Tunnels: 1, TunnelsPerClient: 1, Handshakes: 1, HandshakesPerClient: 1},
	} {
		if got := limitsOf(configs.Limits{}, files); got != want {
			t.Errorf("with %d files: %+v", files, got)
		}
	}
	mine := configs.Limits{Tunnels: 1, TunnelsPerClient: 2, Handshakes: 3, HandshakesPerClient: 4}
	if got := limitsOf(mine, 1024); got != mine {
		t.Errorf("what the file says becomes %+v", got)
	}
	if openFiles() < 256 {
		t.Errorf("%d files may be open", openFiles())
	}
}
