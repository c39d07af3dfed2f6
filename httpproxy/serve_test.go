package httpproxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

func TestConnectByServer(t *testing.T) {
	p := newProxied(t, &Server{})
	p.rawTarget(t, func(c net.Conn, br *bufio.Reader) {
		_, _ = io.WriteString(c, "hello ")
		_, _ = io.Copy(c, br)
		_ = chain.CloseWrite(c)
	})
	for _, target := range []string{"a.example:443", "192.0.2.1:22", "[2001:db8::1]:443"} {
		got, err := p.exchangeRaw(t, "CONNECT "+target+" HTTP/1.1\r\nHost: other\r\n\r\nearly")
		if err != nil || got != "HTTP/1.1 200 OK\r\n\r\nhello early" {
			t.Errorf("%s: got %q, %v", target, got, err)
		}
	}
	if got := fmt.Sprint(p.dialled()); got != "[a.example:443 192.0.2.1:22 [2001:db8::1]:443]" {
		t.Errorf("dialled %s", got)
	}
}

// TestTunnelIsRaw makes sure that the relay gets the bare conn, which can be spliced.
func TestTunnelIsRaw(t *testing.T) {
	a, b := testnet.TCPPair(t)
	defer a.Close()
	defer b.Close()
	c := &client{s: &Server{}, conn: b, br: bufio.NewReader(b)}
	conn, err := (&tunnel{c: c}).Accept()
	if conn != net.Conn(b) || err != nil {
		t.Errorf("accepted a %T, %v", conn, err)
	}
}

func TestRejections(t *testing.T) {
	for _, test := range []struct {
		err    error
		status int
	}{
		{relay.ErrBlocked, 403},
		{syscall.EACCES, 403},
		{syscall.ECONNREFUSED, 502},
		{syscall.ENETUNREACH, 502},
		{syscall.EHOSTUNREACH, 502},
		{syscall.ECONNRESET, 502},
		{syscall.ETIMEDOUT, 504},
		{syscall.EOPNOTSUPP, 501},
		{syscall.EMFILE, 503},
		{relay.ErrClosed, 503},
		{io.ErrNoProgress, 502},
		{&net.DNSError{Name: "secret.example", IsNotFound: true}, 502},
	} {
		p := newProxied(t, &Server{Relay: &relay.Relay{}})
		p.s.Relay.Router = direct(p.dialer(&net.OpError{Op: "dial", Net: "tcp", Addr: addr("secret.example"), Err: test.err}))
		for _, request := range []string{"CONNECT secret.example:443", "GET http://secret.example/"} {
			got, err := p.exchangeRaw(t, request+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
			want := fmt.Sprintf("HTTP/1.1 %d ", test.status)
			if err != nil || !strings.HasPrefix(got, want) || !strings.Contains(got, "Connection: close\r\n") ||
				strings.Contains(got, "secret") {
				t.Errorf("%s, %v: got %q, %v", request, test.err, got, err)
			}
		}
	}
}

// TestBearer: a token is the secret of one user, whose request it makes.
func TestBearer(t *testing.T) {
	names := make(chan string, 1)
	p := newProxied(t, &Server{Users: withTokens{users{"u": "p", "v": "q"}}})
	p.s.Relay.Router = relay.RouterFunc(func(_ context.Context, r relay.Request) relay.Decision {
		names <- r.User
		return relay.Decision{Dialer: p.dialer(nil)}
	})
	p.onTarget(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, len(r.Header["Proxy-Authorization"])) })
	for credentials, want := range map[string]string{
		"Bearer q": "v", "bearer  p": "u", "Bearer x": "", "Bearer ": "", "Bearer": "", "Bearer v": "", "Token q": "", "Basic q": "",
	} {
		got, err := p.exchangeRaw(t, "GET http://a.example/ HTTP/1.1\r\nHost: a\r\nProxy-Authorization: "+credentials+"\r\n\r\n")
		if want == "" {
			if err != nil || !strings.HasPrefix(got, "HTTP/1.1 407 ") || !strings.Contains(got, "Proxy-Authenticate: Bearer realm=\"byway\"\r\n") {
				t.Errorf("%q: got %q, %v", credentials, got, err)
			}
			continue
		}
		if err != nil || !strings.HasSuffix(got, "\r\n\r\n0") {
			t.Errorf("%q: got %q, %v", credentials, got, err)
		} else if user := <-names; user != want {
			t.Errorf("%q is %q, want %q", credentials, user, want)
		}
	}
}

// withTokens has users log in by their password alone, too.
type withTokens struct{ users }

func (w withTokens) UserOf(token string) (string, bool) {
	for user, password := range w.users {
		if password == token {
			return user, true
		}
	}
	return "", false
}

func TestAuthentication(t *testing.T) {
	const get = "GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n"
	p := newProxied(t, &Server{Users: users{"u": "p:q"}})
	p.onTarget(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, len(r.Header["Proxy-Authorization"])) })
	for name, fields := range map[string]string{
		"none": "", "wrong": basic("u", "x"), "unknown": basic("v", "p:q"), "not base64": "Proxy-Authorization: Basic %\r\n",
		"not Basic": "Proxy-Authorization: Bearer dTpw\r\n", "twice": basic("u", "p:q") + basic("u", "p:q"),
		"no colon": "Proxy-Authorization: Basic dQ==\r\n", "meant for the target": "Authorization: Basic dTpwOnE=\r\n",
	} {
		got, err := p.exchangeRaw(t, get+fields+"\r\n")
		if err != nil || !strings.HasPrefix(got, "HTTP/1.1 407 ") || !strings.Contains(got, "Proxy-Authenticate: Basic realm=\"byway\"\r\n") {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	if got, _ := p.exchangeRaw(t, get+"\r\n"); strings.Contains(got, "Bearer") {
		t.Errorf("a scheme is offered that these users don't have: %q", got)
	}
	// After a refused CONNECT nothing more is read; after another request, it is.
	got, _ := p.exchangeRaw(t, "CONNECT a.example:1 HTTP/1.1\r\nHost: a\r\n\r\n"+get+basic("u", "p:q")+"\r\n")
	if strings.Count(got, "HTTP/1.1 ") != 1 || !strings.Contains(got, "Connection: close") {
		t.Errorf("behind a refused CONNECT: %q", got)
	}
	if n := len(p.dialled()); n != 0 {
		t.Errorf("%d dials without credentials", n)
	}
	got, _ = p.exchangeRaw(t, get+"\r\n"+get+basic("u", "p:q")+"\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 407 ") || !strings.HasSuffix(got, "\r\n\r\n0") {
		t.Errorf("a second try on one conn: %q", got)
	}
}

func TestServerLimits(t *testing.T) {
	for _, test := range []struct {
		name  string
		talk  func(c net.Conn)
		after time.Duration // from the last byte of talk
	}{
		{"silence", func(net.Conn) {}, 10 * time.Second},
		{"slow head", func(c net.Conn) {
			for range 9 {
				_, _ = io.WriteString(c, "G")
				time.Sleep(time.Second)
			}
		}, time.Second},
		{"idle", func(c net.Conn) {
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		}, 2 * time.Minute},
		{"slow second head", func(c net.Conn) {
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			time.Sleep(time.Minute)
			_, _ = io.WriteString(c, "GET")
		}, 10 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := testnet.Pipe(0)
				done := make(chan struct{})
				go func() {
					defer close(done)
					_ = (&Server{Relay: &relay.Relay{}}).ServeConn(t.Context(), b)
				}()
				test.talk(a)
				began := time.Now()
				_, _ = io.Copy(io.Discard, a)
				if d := time.Since(began); d != test.after {
					t.Errorf("closed after %v, want %v", d, test.after)
				}
				_ = a.Close()
				<-done
			})
		})
	}
}

func TestServerStopsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := testnet.Pipe(0)
		defer a.Close()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		began := time.Now()
		err := (&Server{Relay: &relay.Relay{}}).ServeConn(ctx, b)
		if err != context.Canceled || time.Since(began) != time.Second {
			t.Errorf("error %v after %v", err, time.Since(began))
		}
	})
}
