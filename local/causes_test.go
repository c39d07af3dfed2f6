package local

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/httpproxy"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/route"
	"github.com/byway-proxy/byway/socks"
)

var errOwn = errors.New("the exit's own fault")

// An exit fails at each target by the cause that is its first label.
var causes = map[string]error{
	"refused": syscall.ECONNREFUSED, "host": syscall.EHOSTUNREACH, "net": syscall.ENETUNREACH,
	"silent": syscall.ETIMEDOUT, "forbidden": syscall.EACCES, "own": errOwn,
}

func failing() *relay.Relay {
	return &relay.Relay{Router: route.Table{{Via: "direct", To: chain.DialerFunc(func(_ context.Context, _, addr string) (net.Conn, error) {
		cause, _, _ := strings.Cut(addr, ".")
		return nil, causes[cause]
	})}}}
}

// failingTLS is an egress, failing.
func failingTLS(t *testing.T) (addr, more string) {
	a := newAuthority(t)
	leaf, key := a.sign(t, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, "leaf")
	r := failing()
	s := &http.Server{
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}}},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if p, err := httpproxy.Connect(w, q, relay.Request{}, httpproxy.ConnectOptions{ProxyStatus: "egress"}); err == nil {
				_ = r.Serve(q.Context(), p)
			}
		}),
		ErrorLog: log.New(io.Discard, "", 0),
	}
	l := testnet.Listen(t)
	go func() { _ = s.ServeTLS(l, "", "") }()
	t.Cleanup(func() { _ = s.Close() })
	return l.Addr().String(), fmt.Sprintf("[hop.tls]\nca = %q\n", a.path("ca.pem"))
}

// failingSSH says what OpenSSH does.
func failingSSH(t *testing.T) (addr, more string) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	host, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cfg := &ssh.ServerConfig{NoClientAuth: true}
	cfg.AddHostKey(host)
	addr = accept(t, func(c net.Conn) {
		defer c.Close()
		_, chans, reqs, err := ssh.NewServerConn(c, cfg)
		if err != nil {
			return
		}
		go ssh.DiscardRequests(reqs)
		for ch := range chans {
			name := string(ch.ExtraData()[4:])
			cause, _, _ := strings.Cut(name, ".")
			switch err := causes[cause]; err {
			case errOwn:
				_ = ch.Reject(ssh.ResourceShortage, "")
			case syscall.EACCES:
				_ = ch.Reject(ssh.Prohibited, "open failed")
			default:
				_ = ch.Reject(ssh.ConnectionFailed, err.Error())
			}
		}
	})
	return addr, fmt.Sprintf("[hop.ssh]\npin = %q\n", ssh.FingerprintSHA256(host.PublicKey()))
}

// TestCauses has the last hop, of every kind, fail at the target in every way that there
// are words for, and hops fail by themselves: the client gets what fits, in SOCKS5 and in
// HTTP, as well as the hop's protocol can tell, and the log says which hop it was.
func TestCauses(t *testing.T) {
	type codes struct{ socks, http int }
	exact := map[string]codes{
		"refused": {5, 502}, "host": {4, 502}, "net": {3, 502}, "silent": {6, 504}, "forbidden": {2, 403}, "own": {1, 502},
	}
	mute := map[string]codes{ // SOCKS4 has one code for all
		"refused": {1, 502}, "host": {1, 502}, "net": {1, 502}, "silent": {1, 502}, "forbidden": {1, 502}, "own": {1, 502},
	}
	vague := map[string]codes{ // an HTTP proxy that has the status alone
		"refused": {4, 502}, "host": {4, 502}, "net": {4, 502}, "silent": {6, 504}, "forbidden": {2, 403}, "own": {4, 502},
	}
	dead := map[string]codes{"refused": {1, 502}}
	plain := func(serve func(net.Conn)) func(*testing.T) (string, string) {
		return func(t *testing.T) (string, string) { return accept(t, serve), "" }
	}
	socksExit := plain(func(c net.Conn) { _ = (&socks.Server{Relay: failing()}).ServeConn(context.Background(), c) })
	nobody := plain(func(c net.Conn) { _ = c.Close() })
	for name, test := range map[string]struct {
		serve func(*testing.T) (addr, more string)
		want  map[string]codes
		says  string
	}{
		"socks5 ":      {socksExit, exact, "connect: "},
		"socks4a ":     {socksExit, mute, "connect: "},
		"http ":        {plain(func(c net.Conn) { _ = (&httpproxy.Server{Relay: failing()}).ServeConn(context.Background(), c) }), vague, "connect: "},
		"https ":       {failingTLS, exact, "connect: "},
		"ssh ":         {failingSSH, exact, "connect: "},
		"socks5 dead":  {func(*testing.T) (string, string) { return "127.0.0.1:1", "" }, dead, "dial: connection refused"},
		"http dead":    {func(*testing.T) (string, string) { return "127.0.0.1:1", "" }, dead, "dial: connection refused"},
		"socks5 hangs": {nobody, dead, "auth: connection"},
		"http hangs":   {nobody, dead, "connect: connection"},
		"https hangs":  {nobody, dead, "tls: connection"},
	} {
		t.Run(name, func(t *testing.T) {
			addr, more := test.serve(t)
			scheme, _, _ := strings.Cut(name, " ")
			user := map[bool]string{true: "alice:x@"}[scheme == "ssh"]
			var lines logged
			s, err := New(parse(t, oneHop(scheme+"://"+user+addr, more)), &net.Dialer{}, slog.New(slog.NewTextHandler(&lines, nil)))
			if err != nil {
				t.Fatal(err)
			}
			at := serveAt(t, s)
			for cause, want := range test.want {
				got := codes{askSOCKS(t, at, cause+".example"), askConnect(t, at, cause+".example", "").StatusCode}
				if got != want {
					t.Errorf("%s: told %v, want %v", cause, got, want)
				}
			}
			for _, line := range lines.all() {
				if !strings.Contains(line, `error="hop 1/1 h: `+test.says) || strings.Contains(line, "example") {
					t.Errorf("logged %s", line)
				}
			}
		})
	}
}

// logged collects the lines of a log.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Split(strings.TrimSpace(l.buf.String()), "\n")
}

// serveAt serves until the test ends, and returns where.
func serveAt(t *testing.T, s *Server) string {
	t.Helper()
	addrs, _, err := s.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return addrs[0].String()
}

// askSOCKS asks for host:7 and returns the reply code.
func askSOCKS(t *testing.T, at, host string) int {
	t.Helper()
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "\x05\x01\x00\x05\x01\x00\x03"+string(byte(len(host)))+host+"\x00\x07")
	got := make([]byte, 4)
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatal(err)
	}
	return int(got[3])
}

// askConnect asks for host:7 by HTTP and returns the answer, with its body in place of it.
func askConnect(t *testing.T, at, host, fields string) *http.Response {
	t.Helper()
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = fmt.Fprintf(c, "CONNECT %s:7 HTTP/1.1\r\nHost: %s:7\r\n%s\r\n", host, host, fields)
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: http.MethodGet})
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp
}

// TestProxyStatus: a client that has proved who it is learns which hop failed, by CONNECT; no
// other does, nor whoever can read the answer to a plain request: the target's pages.
func TestProxyStatus(t *testing.T) {
	config := func(users string) string {
		text := oneHop("socks5://127.0.0.1:1", "user = \"alice\"\nsecret = { file = \"secret\" }\n")
		return strings.Replace(text, "address = \"127.0.0.1:0\"\n", "address = \"127.0.0.1:0\"\n"+users, 1)
	}
	start := func(users string) string {
		s, err := New(parse(t, config(users)), &net.Dialer{}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return serveAt(t, s)
	}
	auth := "Proxy-Authorization: Basic YWxpY2U6b3BlbiBzZXNhbWU=\r\n" // alice:open sesame
	known := start("user = [{ name = \"alice\", secret = { file = \"secret\" } }]\n")
	const want = `byway;error=proxy_internal_error;details="hop 1/1 h: dial: connection refused"`
	if got := askConnect(t, known, "target.example", auth).Header["Proxy-Status"]; len(got) != 1 || got[0] != want {
		t.Errorf("an authenticated client is told %q, want %q", got, want)
	}
	if got := askConnect(t, start(""), "target.example", auth).Header["Proxy-Status"]; got != nil {
		t.Errorf("a client that nobody asked is told %q", got)
	}
	resp := askConnect(t, known, "target.example", "")
	if got := resp.Header["Proxy-Status"]; got != nil || resp.StatusCode != http.StatusProxyAuthRequired {
		t.Errorf("a stranger is told %d, %q", resp.StatusCode, got)
	}
	c, err := net.Dial("tcp", known)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "GET http://target.example/ HTTP/1.1\r\nHost: target.example\r\nConnection: close\r\n"+auth+"\r\n")
	got, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 502 ") || strings.Contains(string(got), "hop") || strings.Contains(string(got), "Proxy-Status") {
		t.Errorf("a page of the target can read %q, %v", got, err)
	}
}
