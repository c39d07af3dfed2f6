package local

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/socks"
)

// lines is a log that may be read while it is written.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// TestPanicEndsOneTunnel has what dials panic: the client is told of a failure, the log has the
// stack, once, and no target; other tunnels go on, those of the same session on HTTP/2 too.
func TestPanicEndsOneTunnel(t *testing.T) {
	far := testnet.Listen(t)
	go testnet.Echo(far)
	base := chain.DialerFunc(func(ctx context.Context, network, addr string) (net.Conn, error) {
		if host, _, _ := net.SplitHostPort(addr); host == "faulty.example" {
			panic(addr)
		}
		return (&net.Dialer{}).DialContext(ctx, network, far.Addr().String())
	})
	var log lines
	s, err := New(parse(t, "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nto = \"direct\"\n"), base, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	addr := started(t, s)

	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	defer tr.CloseIdleConnections()
	connect := func(host string) (*http.Response, io.WriteCloser) {
		t.Helper()
		says, body := io.Pipe()
		t.Cleanup(func() { _ = body.Close() })
		resp, err := tr.RoundTrip((&http.Request{
			Method: http.MethodConnect, URL: &url.URL{Scheme: "http", Host: addr}, Host: host, Header: make(http.Header), Body: says,
		}).WithContext(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = resp.Body.Close() })
		return resp, body
	}
	alive := func(resp *http.Response, body io.Writer) {
		t.Helper()
		got := make([]byte, 5)
		_, _ = io.WriteString(body, "hello")
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != "hello" {
			t.Errorf("the other tunnel: %q, %v", got, err)
		}
	}
	before, body := connect("sound.example:7")
	alive(before, body)
	if resp, _ := connect("faulty.example:7"); resp.StatusCode != http.StatusBadGateway {
		t.Errorf("on HTTP/2: %s", resp.Status)
	}
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "\x05\x01\x00\x05\x01\x00\x03\x0efaulty.example\x00\x07")
	if got, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(got), "\x05\x00\x05\x01") {
		t.Errorf("by SOCKS: %q, %v", got, err)
	}
	alive(before, body)
	if n := s.relay.Live(); n != 1 {
		t.Errorf("%d tunnels, not the one that goes on", n)
	}
	if text := log.String(); strings.Count(text, "panic_test.go") != 2 || strings.Count(text, "please report") != 2 || strings.Contains(text, "faulty.example") {
		t.Errorf("the log:\n%s", text)
	}
}

// faultyUsers panics when it is asked for a user.
type faultyUsers struct{}

func (faultyUsers) Valid(string, string) bool { panic("alice") }

// TestPanicOfHandshake: a fault on a conn that has no tunnel yet ends that conn.
func TestPanicOfHandshake(t *testing.T) {
	var log lines
	s, err := New(parse(t, "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nto = \"direct\"\n"), testnet.NoDial(t), slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Run("conns", func(t *testing.T) { // to their end
		addr := started(t, s)
		d := s.in.doors[0]
		changed := *d.role.Load()
		changed.socks = &socks.Server{Relay: s.relay, Users: faultyUsers{}}
		d.role.Store(&changed)
		for range 2 {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(c, "\x05\x01\x02\x01\x05alice\x06secret")
			if _, err = io.ReadAll(c); err == nil {
				t.Error("the conn ended in good order")
			}
			_ = c.Close()
		}
	})
	text := log.String()
	if strings.Count(text, "please report") != 2 || strings.Contains(text, "alice") {
		t.Errorf("the log:\n%s", text)
	}
	if s.gate.in != 0 {
		t.Errorf("%d places are taken", s.gate.in)
	}
}
