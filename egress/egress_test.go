package egress

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/egress/users"
	"github.com/byway-proxy/byway/httpproxy"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/route"
)

// forbidden is a Resolver that fails the test when it is asked.
type forbidden struct{ t testing.TB }

func (f forbidden) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	f.t.Errorf("%s was looked up", host)
	return nil, errors.New("must not be asked")
}

var site = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Proxy-Authorization") != "" {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	if r.Method != http.MethodGet {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	_, _ = io.WriteString(w, "the website")
})

// start serves an egress with the policy until the test ends.
func start(t testing.TB, p *Policy) (s *Server, addr, token string) {
	t.Helper()
	return startWith(t, p, func(*Server) {})
}

func startWide(t testing.TB, w Windows, p *Policy, with ...func(*Server)) (s *Server, addr, token string) {
	t.Helper()
	return startWith(t, p, func(s *Server) {
		s.Windows = w
		for _, f := range with {
			f(s)
		}
	})
}

// startWith serves an egress, changed before as change has it.
func startWith(t testing.TB, p *Policy, change func(*Server)) (s *Server, addr, token string) {
	t.Helper()
	token = users.NewToken()
	set, err := users.New(map[string]string{"alice": token})
	if err != nil {
		t.Fatal(err)
	}
	s, addr = serveUsers(t, set, p, change)
	return s, addr, token
}

// startUsers serves an egress for the users of a set.
func startUsers(t testing.TB, set *users.Set, w Windows, p *Policy) (s *Server, addr string) {
	t.Helper()
	return serveUsers(t, set, p, func(s *Server) { s.Windows = w })
}

func serveUsers(t testing.TB, set *users.Set, p *Policy, change func(*Server)) (s *Server, addr string) {
	t.Helper()
	cert, err := NewCertificate("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	s = &Server{
		Users: set, Site: site, Certificate: cert,
		Relay: &relay.Relay{Router: route.Table{{To: p, Via: "direct"}}},
	}
	change(s)
	l := testnet.Listen(t)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = s.Shutdown(ctx)
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	return s, l.Addr().String()
}

func through(t testing.TB, s *Server, addr, token string) *chain.Chain {
	t.Helper()
	return throughAs(t, s, addr, "alice", token)
}

func throughAs(t testing.TB, s *Server, addr, user, token string) *chain.Chain {
	t.Helper()
	sum, err := PinSum(s.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	cfg := &tls.Config{}
	httpproxy.PinSPKI(cfg, sum)
	c, err := chain.New(testnet.Only(t, &net.Dialer{}, addr),
		httpproxy.HopTLS(addr, httpproxy.HopOptions{User: user, Password: token, TLS: cfg}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestTunnel carries bytes to a name that the egress resolves, half-close included.
func TestTunnel(t *testing.T) {
	l := testnet.Listen(t)
	go testnet.Echo(l)
	port := netip.MustParseAddrPort(l.Addr().String()).Port()
	s, addr, token := start(t, &Policy{
		Resolver: names{"target.example": addrs("127.0.0.1")},
		Base:     &net.Dialer{},
		Allow:    prefixes("127.0.0.1/32"),
	})
	c := through(t, s, addr, token)
	target := net.JoinHostPort("target.example", itoa(port))
	for range 3 {
		conn, err := c.Dial("tcp", target)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "hello"); err != nil {
			t.Error(err)
		}
		if err := chain.CloseWrite(conn); err != nil {
			t.Error(err)
		}
		if got, err := io.ReadAll(conn); err != nil || string(got) != "hello" {
			t.Errorf("echo %q, %v", got, err)
		}
		_ = conn.Close()
	}
}

func itoa(n uint16) string {
	_, port, _ := net.SplitHostPort(netip.AddrPortFrom(netip.IPv4Unspecified(), n).String())
	return port
}

// TestErrnoTravels tells causes at the egress from each other at the client.
func TestErrnoTravels(t *testing.T) {
	s, addr, token := start(t, &Policy{
		Resolver: names{"refused.example": addrs("127.0.0.1"), "private.example": addrs("10.0.0.1")},
		Base:     &net.Dialer{},
		Allow:    prefixes("127.0.0.1/32"),
	})
	c := through(t, s, addr, token)
	for target, want := range map[string]syscall.Errno{
		"refused.example:1": syscall.ECONNREFUSED,
		"private.example:1": syscall.EACCES,
		"unknown.example:1": syscall.EHOSTUNREACH,
		"192.168.0.1:80":    syscall.EACCES,
		"[::1]:80":          syscall.EACCES,
	} {
		_, err := c.Dial("tcp", target)
		if got := chain.Errno(err); got != want {
			t.Errorf("%s: %v (errno %v), want %v", target, err, got, want)
		}
	}
}

// TestStrangersSeeTheWebsite sends CONNECTs without a good credential, on both
// versions of HTTP: nothing is looked up, nothing dialled, and there is no 407.
func TestStrangersSeeTheWebsite(t *testing.T) {
	_, addr, token := start(t, &Policy{Resolver: forbidden{t}, Base: testnet.NoDial(t)})
	basic := func(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }
	for name, fields := range map[string][]string{
		"none": nil, "wrong": {basic("alice:wrong")}, "unknown": {basic("bob:" + token)},
		"malformed": {"Basic !"}, "doubled": {basic("alice:" + token), basic("alice:" + token)},
		"oversized": {"Bearer " + strings.Repeat("x", 5000)},
	} {
		for _, proto := range []string{"http/1.1", "h2"} {
			resp := ask(t, addr, proto, http.MethodConnect, "target.example:443", fields)
			if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Proxy-Authenticate") != "" || resp.Header.Get("Proxy-Status") != "" {
				t.Errorf("%s on %s: %s %v", name, proto, resp.Status, resp.Header)
			}
		}
	}
	// A good credential on another method is the website's too, which must not see it.
	resp := ask(t, addr, "h2", http.MethodGet, addr, []string{"Bearer " + token})
	if resp.StatusCode != http.StatusOK {
		t.Errorf("GET with a credential: %s", resp.Status)
	}
}

// ask sends one request over TLS and returns the head of the answer.
func ask(t *testing.T, addr, proto, method, authority string, fields []string) *http.Response {
	t.Helper()
	cfg := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{proto}}
	if proto == "http/1.1" {
		c, err := tls.Dial("tcp", addr, cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		head := method + " " + authority + " HTTP/1.1\r\nHost: " + authority + "\r\n"
		for _, f := range fields {
			head += "Proxy-Authorization: " + f + "\r\n"
		}
		if _, err := io.WriteString(c, head+"\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp
	}
	tr := &http.Transport{TLSClientConfig: cfg, ForceAttemptHTTP2: true, DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&tls.Dialer{Config: cfg}).DialContext(ctx, "tcp", addr)
	}}
	defer tr.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), method, "https://"+authority+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if method == http.MethodConnect {
		r.URL.Path = ""
	}
	if fields != nil {
		r.Header["Proxy-Authorization"] = fields
	}
	resp, err := tr.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.ProtoMajor != 2 {
		t.Errorf("the answer came on %s", resp.Proto)
	}
	return resp
}

func TestServeRefusesToBeOpen(t *testing.T) {
	cert, err := NewCertificate("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	set, err := users.New(map[string]string{"alice": users.NewToken()})
	if err != nil {
		t.Fatal(err)
	}
	r := &relay.Relay{Router: route.Table{}}
	for name, s := range map[string]*Server{
		"zero":           {},
		"no users":       {Site: site, Certificate: cert, Relay: r},
		"no site":        {Users: set, Certificate: cert, Relay: r},
		"no relay":       {Users: set, Site: site, Certificate: cert},
		"no router":      {Users: set, Site: site, Certificate: cert, Relay: &relay.Relay{}},
		"no certificate": {Users: set, Site: site, Relay: r},
	} {
		l := testnet.Listen(t)
		if err := s.Serve(l); err == nil || errors.Is(err, http.ErrServerClosed) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
			t.Errorf("%s: the listener is open still", name)
		}
	}
}

// TestShutdownCutsWhatDoesNotEnd has one tunnel on HTTP/2 that nobody closes.
func TestShutdownCutsWhatDoesNotEnd(t *testing.T) {
	l := testnet.Listen(t)
	go testnet.Echo(l)
	s, addr, token := start(t, &Policy{Resolver: forbidden{t}, Base: &net.Dialer{}, Allow: prefixes("127.0.0.1/32")})
	conn, err := through(t, s, addr, token).Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v", err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("the tunnel that was cut read %v", err)
	}
}

// TestTenThousandTunnels opens, half-closes and closes over HTTP/2, and looks at what is left.
func TestTenThousandTunnels(t *testing.T) {
	const tunnels, workers = 10000, 32
	l := testnet.Listen(t)
	go testnet.Echo(l)
	s, addr, token := start(t, &Policy{Resolver: forbidden{t}, Base: &net.Dialer{}, Allow: prefixes("127.0.0.1/32")})
	c := through(t, s, addr, token)
	tunnel := func() {
		conn, err := c.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "hello"); err != nil {
			t.Error(err)
		}
		if err := chain.CloseWrite(conn); err != nil {
			t.Error(err)
		}
		if got, err := io.ReadAll(conn); err != nil || string(got) != "hello" {
			t.Errorf("echo %q, %v", got, err)
		}
	}
	work := func(n int) {
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				for range n / workers {
					tunnel()
				}
			})
		}
		wg.Wait()
	}
	work(workers) // opens the sessions that stay
	before := testnet.TakeCensus(t, testnet.Census{})
	work(tunnels)
	testnet.CheckCensus(t, before)
	if n := s.Relay.Live(); n != 0 {
		t.Errorf("%d tunnels are live", n)
	}
}
