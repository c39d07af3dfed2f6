package httpproxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

// serve serves the conns of l by s until the test ends.
func serve(t testing.TB, l net.Listener, s *Server) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { _ = s.ServeConn(ctx, conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		cancel()
		wg.Wait()
		_ = s.Close()
	})
}

// proxied is a Server on loopback, all of whose requests go to one target.
type proxied struct {
	s      *Server
	addr   string
	tls    bool // it takes TLS, by testCert
	target net.Listener
	mu     sync.Mutex
	dials  []string
}

// newProxied serves by s with targets answered by handle, raw.
func newProxied(t testing.TB, s *Server) *proxied { return newProxiedBy(t, s, false) }

// newProxiedBy is newProxied, behind TLS as a listener with a certificate is.
func newProxiedBy(t testing.TB, s *Server, overTLS bool) *proxied {
	t.Helper()
	p := &proxied{s: s, target: testnet.Listen(t), tls: overTLS}
	if s.Relay == nil {
		s.Relay = &relay.Relay{}
	}
	if s.Relay.Router == nil {
		s.Relay.Router = direct(p.dialer(nil))
	}
	l := testnet.Listen(t)
	p.addr = l.Addr().String()
	if overTLS {
		s.Certificate = testCert().Leaf
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{testCert()}, NextProtos: []string{"h2", "http/1.1"}})
	}
	serve(t, l, s)
	return p
}

// dialer goes to the target, or fails with err, whatever it is asked for.
func (p *proxied) dialer(err error) chain.Dialer {
	return chain.DialerFunc(func(ctx context.Context, network, addr string) (net.Conn, error) {
		p.mu.Lock()
		p.dials = append(p.dials, addr)
		p.mu.Unlock()
		if err != nil {
			return nil, err
		}
		var d net.Dialer
		return d.DialContext(ctx, "tcp", p.target.Addr().String())
	})
}

func (p *proxied) dialled() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.dials...)
}

func (p *proxied) dial(t testing.TB) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn
}

// exchangeRaw sends raw and returns all that comes back until the end.
func (p *proxied) exchangeRaw(t testing.TB, raw string) (string, error) {
	t.Helper()
	conn := p.dial(t)
	if _, err := io.WriteString(conn, raw); err != nil {
		t.Fatal(err)
	}
	_ = chain.CloseWrite(conn)
	got, err := io.ReadAll(conn)
	return string(got), err
}

// onTarget serves the target by net/http.
func (p *proxied) onTarget(t testing.TB, handle http.HandlerFunc) {
	srv := &http.Server{Handler: handle}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(p.target)
	}()
	t.Cleanup(func() {
		_ = srv.Close()
		<-done
	})
}

// rawTarget answers each conn with talk.
func (p *proxied) rawTarget(t testing.TB, talk func(c net.Conn, br *bufio.Reader)) {
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := p.target.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(20 * time.Second))
				talk(c, bufio.NewReader(c))
			})
		}
	})
	t.Cleanup(func() {
		_ = p.target.Close()
		wg.Wait()
	})
}

// readHead reads to the empty line.
func readHead(br *bufio.Reader) string {
	var b strings.Builder
	for {
		line, err := br.ReadString('\n')
		b.WriteString(line)
		if err != nil || line == "\r\n" {
			return b.String()
		}
	}
}

type users map[string]string

func (u users) Valid(user, password string) bool {
	want, ok := u[user]
	return ok && want == password
}

func basic(user, password string) string {
	return "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password)) + "\r\n"
}
