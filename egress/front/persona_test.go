package front_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/egress/front"
)

// persona serves a site for hosts.
func persona(t *testing.T, site http.Handler, hosts ...string) *front.Persona {
	t.Helper()
	h, err := front.Sites([]front.Site{{Hosts: hosts, Handler: site}})
	if err != nil {
		t.Fatal(err)
	}
	return &front.Persona{Site: h}
}

func TestPersona(t *testing.T) {
	p := persona(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Header.Get("X_y")+"site")
	}), "www.example.org", "*.Wild.example", "192.0.2.1", "2001:db8::1")
	for _, test := range []struct {
		method, host string
		code         int
		body         string
	}{
		{"GET", "www.example.org", 200, "site"},
		{"GET", "WWW.example.ORG:8443", 200, "site"},
		{"GET", "a.wild.example", 200, "site"},
		{"GET", "wild.example", 200, ""},
		{"GET", "a.b.wild.example", 200, ""},
		{"GET", "192.0.2.1:443", 200, "site"},
		{"GET", "[2001:db8::1]", 200, "site"},
		{"GET", "[2001:db8::1]:443", 200, "site"},
		{"GET", "www.example.org.", 200, ""},
		{"CONNECT", "example.com:443", 200, ""},
		{"GET", "", 400, ""},
		{"GET", "...", 400, ""},
		{"GET", "a b", 400, ""},
		{strings.Repeat("X", 32), "www.example.org", 200, "site"},
		{strings.Repeat("X", 33), "www.example.org", 405, ""},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Method, r.Host = test.method, test.host
		r.Header["X_y"] = []string{"an alias of X-Y"}
		code, body, header := get(t, p, r)
		if code != test.code || body != test.body || header.Get("Server") != "Caddy" {
			t.Errorf("%s to %q: %d %q %v", test.method, test.host, code, body, header)
		}
	}
}

// pipes is a listener of one conn.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  *sync.Once
}

func (l pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l pipes) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l pipes) Addr() net.Addr { return &net.TCPAddr{} }

// serve runs h on one conn, without TLS, and returns the client's end.
func serve(t *testing.T, h http.Handler) net.Conn {
	t.Helper()
	s, err := front.NewServer(h, front.TLSConfig())
	if err != nil {
		t.Fatal(err)
	}
	l := pipes{make(chan net.Conn, 1), make(chan struct{}), &sync.Once{}}
	client, server := net.Pipe()
	l.conns <- server
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		_ = client.Close()
		_ = s.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return client
}

// TestLimits holds the server to Caddy's limits, in virtual time.
func TestLimits(t *testing.T) {
	reads := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			w.WriteHeader(http.StatusRequestTimeout)
		}
	})
	writes := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(make([]byte, 1<<20))
	})
	for _, test := range []struct {
		name    string
		site    http.Handler
		send    string
		answer  string // that comes when time is over
		limit   time.Duration
		nothing bool // is read by the client
	}{
		{"head", reads, "GET / HTTP/1.1\r\n", "", time.Minute, false},
		{"silence", reads, "", "", time.Minute, false},
		{"next request", reads, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", "200", 5 * time.Minute, false},
		{"body", reads, "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nab", "408", time.Minute, false},
		{"answer that is not read", writes, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", "", time.Minute, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ended := make(chan time.Duration, 1)
				begun := time.Now()
				site := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					test.site.ServeHTTP(w, r)
					ended <- time.Since(begun)
				})
				c := serve(t, persona(t, site, "a.example"))
				if _, err := io.WriteString(c, test.send); err != nil {
					t.Fatal(err)
				}
				if test.nothing {
					if took := <-ended; took != test.limit {
						t.Errorf("given up after %v, want %v", took, test.limit)
					}
					return
				}
				answer, _ := io.ReadAll(bufio.NewReader(c))
				if took := time.Since(begun); took < test.limit || took > test.limit+time.Second {
					t.Errorf("closed after %v, want %v", took, test.limit)
				}
				if !strings.Contains(string(answer), test.answer) || test.answer == "" && len(answer) > 0 {
					t.Errorf("answer %q", answer)
				}
			})
		})
	}
}

// TestSlowButMoving has a client that reads and one that writes for longer than any limit, but
// never pause for as long.
func TestSlowButMoving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		site := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n, err := io.Copy(io.Discard, r.Body)
			if n != 8 || err != nil {
				t.Errorf("the body has %d bytes, %v", n, err)
			}
			_, _ = w.Write(make([]byte, 1<<20))
		})
		c := serve(t, persona(t, site, "a.example"))
		if _, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 8\r\nConnection: close\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		for range 8 {
			time.Sleep(50 * time.Second)
			if _, err := c.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		total := 0
		for p := make([]byte, 128<<10); ; time.Sleep(20 * time.Second) {
			n, err := io.ReadFull(c, p)
			total += n
			if err != nil {
				break
			}
		}
		if total < 1<<20 {
			t.Errorf("only %d bytes came", total)
		}
	})
}
