package httpproxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

// firstDial dials by way of d for a client that has said hello, as the relay does,
// and returns how much of it went along, and the first five bytes of the target.
func firstDial(t *testing.T, d chain.Dialer, f *chain.FirstData) (sent int, got string, err error) {
	t.Helper()
	c, err := d.DialContext(chain.WithFirstData(t.Context(), f), "tcp", "target:80")
	if err != nil {
		return 0, "", err
	}
	defer c.Close()
	sent, rest, err := f.Settle(c)
	if err != nil {
		return 0, "", err
	}
	if _, err := c.Write(rest); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 5)
	_, err = io.ReadFull(c, buf)
	return sent, string(buf), err
}

// TestFirstDataOnHTTP2: it is there before the answer; a refusal leaves it free to go
// again; after a cut nobody knows.
func TestFirstDataOnHTTP2(t *testing.T) {
	for name, test := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request)
		spent  bool
		errno  syscall.Errno
	}{
		"accepted": {func(w http.ResponseWriter, r *http.Request) {
			p, err := Connect(w, r, relay.Request{}, ConnectOptions{})
			if err != nil {
				panic(err)
			}
			conn, err := p.Accept()
			if err == nil {
				_, _ = conn.Write([]byte("hello"))
				_, _ = io.Copy(io.Discard, conn)
				_ = conn.Close()
			}
		}, false, 0},
		"refused": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, false, syscall.EHOSTUNREACH},
		// A 2xx that is no tunnel's: a website's page, most likely. What it did with the data is not known.
		"a page": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "welcome")
		}, true, 0},
		"a page of known length": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "7")
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, "welcome")
		}, true, 0},
		"cut": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, true, syscall.ECONNRESET},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, l, _ := world(t)
				var asked atomic.Int32
				serveTLS(t, l, false, func(w http.ResponseWriter, r *http.Request) {
					asked.Add(1)
					buf := make([]byte, 5)
					if _, err := io.ReadFull(r.Body, buf); err != nil || string(buf) != "hello" {
						t.Errorf("before the answer came %q, %v", buf, err)
					}
					test.answer(w, r)
				})
				c, err := chain.New(client, HopTLS("hop1:443", HopOptions{TLS: trust(testCert())}))
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				f := chain.NewFirstData(nil, []byte("hello"))
				sent, got, err := firstDial(t, c, f)
				if chain.Errno(err) != test.errno || test.spent && err == nil || err == nil && (sent != 5 || got != "hello") {
					t.Errorf("%d went along, got %q, error %v", sent, got, err)
				}
				if f.Spent() != test.spent || asked.Load() != 1 {
					t.Errorf("spent: %v, asked %d times", f.Spent(), asked.Load())
				}
			})
		})
	}
}

// TestSessionDiesUnderFirstData: on a session that is cut while it waits, data that
// went is not sent again, and where none did the dial is repeated.
func TestSessionDiesUnderFirstData(t *testing.T) {
	for name, data := range map[string]string{"sent": "hello", "none to send": ""} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, l, r := world(t)
				var asked atomic.Int32
				var under net.Conn // of the first session
				serveTLS(t, l, false, func(w http.ResponseWriter, req *http.Request) {
					if asked.Add(1) == 1 {
						_, _ = io.ReadFull(req.Body, make([]byte, len(data)))
						_ = chain.Abort(under)
						return
					}
					tunnelled(r, ConnectOptions{})(w, req)
				})
				next := chain.DialerFunc(func(ctx context.Context, network, addr string) (net.Conn, error) {
					conn, err := client.DialContext(ctx, network, addr)
					if under == nil {
						under = conn
					}
					return conn, err
				})
				d := wrap(t, HopTLS("hop1:443", HopOptions{TLS: trust(testCert())}), next)
				f := chain.NewFirstData(nil, []byte(data))
				conn, err := d.DialContext(chain.WithFirstData(t.Context(), f), "tcp", "target:80")
				switch {
				case data == "" && err == nil:
					echoed(t, conn)
				case data == "" || !errors.Is(err, syscall.ECONNRESET) || !f.Spent() || asked.Load() != 1:
					t.Errorf("error %v, spent %v, asked %d times", err, f.Spent(), asked.Load())
				}
			})
		})
	}
}

// TestNoFirstDataOnHTTP1: nothing leaves before the answer (RFC 9931).
func TestNoFirstDataOnHTTP1(t *testing.T) {
	for name, https := range map[string]bool{"http": false, "https": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, l, r := world(t)
				h := Hop("hop1:443", HopOptions{})
				if https {
					h = HopTLS("hop1:443", HopOptions{TLS: trust(testCert())})
					serveTLS(t, l, true, tunnelled(r, ConnectOptions{}))
				} else {
					s := &Server{Relay: r}
					defer l.Close()
					go func() {
						for {
							c, err := l.Accept()
							if err != nil {
								return
							}
							go func() { _ = s.ServeConn(t.Context(), c) }()
						}
					}()
				}
				c, err := chain.New(client, h)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if sent, got, err := firstDial(t, c, chain.NewFirstData(nil, []byte("hello"))); err != nil || sent != 0 || got != "hello" {
					t.Errorf("%d went along, got %q, error %v", sent, got, err)
				}
			})
		})
	}
}

// TestAheadOfCONNECT: what a client of the listener sends behind its CONNECT goes
// along, once.
func TestAheadOfCONNECT(t *testing.T) {
	near, far := testnet.Pipe(0)
	along := make(chan string, 1)
	d := chain.DialerFunc(func(ctx context.Context, _, _ string) (net.Conn, error) {
		err := chain.FirstDataOf(ctx).Along(near, func() (bool, error) {
			buf := make([]byte, 5)
			_, err := io.ReadFull(far, buf)
			along <- string(buf)
			return true, err
		})
		return near, err
	})
	client, ours := testnet.Pipe(0)
	s := &Server{Relay: &relay.Relay{Router: direct(d)}}
	done := make(chan error, 1)
	go func() { done <- s.ServeConn(t.Context(), ours) }()
	_, _ = io.WriteString(client, "CONNECT target:80 HTTP/1.1\r\nHost: target:80\r\n\r\nhello")
	if got := <-along; got != "hello" {
		t.Errorf("%q went along", got)
	}
	buf := make([]byte, len(established))
	if _, err := io.ReadFull(client, buf); err != nil || string(buf) != established {
		t.Errorf("%q, %v", buf, err)
	}
	_, _ = io.WriteString(client, " world")
	_ = chain.CloseWrite(client)
	if got, err := io.ReadAll(far); err != nil || string(got) != " world" {
		t.Errorf("then %q, %v", got, err)
	}
	_ = far.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	_ = client.Close()
}
