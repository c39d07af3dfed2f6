package egress

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/egress/users"
	"github.com/byway-proxy/byway/httpproxy"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/route"
)

// seen is all that an egress gets to know.
type seen struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (s *seen) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(&s.all, format+"\n", args...)
}

func (s *seen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.String()
}

// request notes a request with all its fields, and who it is from.
func (s *seen) request(r *http.Request) {
	s.note("%s %s %s from %s: %v", r.Method, r.Host, r.URL, r.RemoteAddr, r.Header)
}

// tap notes what an egress carries.
type tap struct {
	net.Conn
	s *seen
}

func (t tap) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	t.s.note("%s", b[:n])
	return n, err
}

func (t tap) Write(b []byte) (int, error) {
	t.s.note("%s", b)
	return t.Conn.Write(b)
}

func (t tap) CloseWrite() error { return t.Conn.(*net.TCPConn).CloseWrite() }

// from dials from one address, and notes where to and what.
type from struct {
	net.Dialer
	s *seen
}

func (f from) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	f.s.note("dialled %s", addr)
	c, err := f.Dialer.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return tap{c, f.s}, nil
}

func dialer(source string) net.Dialer {
	return net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
}

// startSeen serves an egress that knows the given names, dials from source, and notes what it sees.
func startSeen(t *testing.T, source string, known names) (hop func(addr string) chain.Hop, addr string, s *seen) {
	t.Helper()
	cert, err := NewCertificate("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	sum, err := PinSum(cert)
	if err != nil {
		t.Fatal(err)
	}
	token := users.NewToken()
	set, err := users.New(map[string]string{"alice": token})
	if err != nil {
		t.Fatal(err)
	}
	s = &seen{}
	policy := &Policy{Resolver: known, Base: from{dialer(source), s}, Allow: prefixes("127.0.0.0/8")}
	server := &Server{Users: set, Site: site, Certificate: cert, Relay: &relay.Relay{Router: route.Table{{To: policy, Via: "direct"}}}}
	h, err := server.server()
	if err != nil {
		t.Fatal(err)
	}
	inner := h.Handler
	h.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.request(r)
		inner.ServeHTTP(w, r)
	})
	l := testnet.Listen(t)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = server.Shutdown(ctx)
		<-served
	})
	cfg := &tls.Config{}
	httpproxy.PinSPKI(cfg, sum)
	return func(addr string) chain.Hop {
		return httpproxy.HopTLS(addr, httpproxy.HopOptions{User: "alice", Password: token, TLS: cfg})
	}, l.Addr().String(), s
}

// TestCascade goes by two egresses: the entry knows who, the exit knows where, and neither
// knows both.
func TestCascade(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs more than one address on loopback")
	}
	const (
		who, entryAt = "127.71.0.1", "127.71.0.2"
		where, what  = "target.example", "what the client says"
	)
	l := testnet.Listen(t)
	go testnet.Echo(l)
	port := netip.MustParseAddrPort(l.Addr().String()).Port()

	entryHop, entryAddr, entry := startSeen(t, entryAt, names{})
	exitHop, exitAddr, exit := startSeen(t, "127.71.0.3", names{where: addrs("127.0.0.1")})
	base := dialer(who)
	c, err := chain.New(testnet.Only(t, &base, entryAddr), entryHop(entryAddr), exitHop(exitAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	conn, err := c.DialContext(t.Context(), "tcp", net.JoinHostPort(where, itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, what); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(what))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != what {
		t.Fatalf("got %q, %v", got, err)
	}
	for _, test := range []struct {
		at, text, what string
		sees           bool
	}{
		{"entry", entry.String(), who, true},
		{"entry", entry.String(), exitAddr, true},
		{"entry", entry.String(), where, false},
		{"entry", entry.String(), what, false},
		{"exit", exit.String(), where, true},
		{"exit", exit.String(), what, true},
		{"exit", exit.String(), entryAt, true},
		{"exit", exit.String(), who, false},
	} {
		if strings.Contains(test.text, test.what) != test.sees {
			t.Errorf("the %s sees %s: %v, want %v", test.at, test.what, !test.sees, test.sees)
		}
	}
}
