package local

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/net/proxy"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/route"
	"github.com/byway-proxy/byway/socks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// parse reads a configuration, with a file of a secret beside it.
func parse(t testing.TB, text string) *configs.Client {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("open sesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := configs.ParseClient(filepath.Join(dir, "byway.toml"), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// serve runs the server of a configuration until the test ends, and returns its address.
func serve(t testing.TB, text string, base chain.Dialer) string {
	t.Helper()
	s, err := New(parse(t, text), base, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return started(t, s)
}

// started has s serve until the test ends, and returns its first address.
func started(t testing.TB, s *Server) string {
	t.Helper()
	addrs, forwards, err := s.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return append(addrs, forwards...)[0].String()
}

// socksServer is a SOCKS server that dials with d, at an address of its own.
func socksServer(t testing.TB, d chain.Dialer) string {
	t.Helper()
	l := testnet.Listen(t)
	r := &relay.Relay{Router: route.Table{{To: d, Via: "direct"}}}
	s := &socks.Server{Relay: r}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { _ = s.ServeConn(context.Background(), c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		_ = r.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

func through(hop string) string {
	return fmt.Sprintf(`
[[listen]]
address = "127.0.0.1:0"
[[hop]]
name = "hop"
url = "socks5://%s"
[[chain]]
name = "c"
hops = ["hop"]
[[route]]
to = "c"
[timeouts]
drain = "5s"
`, hop)
}

// echo is a target known to the far end alone, by the name target.example. Besides,
// a hop may be asked to connect to itself (socks.Auto), which this far end refuses.
func echo(t testing.TB) chain.Dialer {
	t.Helper()
	l := testnet.Listen(t)
	go testnet.Echo(l)
	return chain.DialerFunc(func(ctx context.Context, network, addr string) (net.Conn, error) {
		if strings.HasPrefix(addr, "127.0.0.1:") {
			return nil, syscall.EACCES
		}
		if addr != "target.example:7" {
			t.Errorf("the far end was asked for %s", addr)
		}
		return (&net.Dialer{}).DialContext(ctx, network, l.Addr().String())
	})
}

// TestOnePort speaks every protocol to one port, and has the base touched for hop 1 alone.
func TestOnePort(t *testing.T) {
	hop := socksServer(t, echo(t))
	addr := serve(t, through(hop), testnet.Only(t, &net.Dialer{}, hop))
	for name, greeting := range map[string][2]string{
		"SOCKS4a": {"\x04\x01\x00\x07\x00\x00\x00\x01me\x00target.example\x00", "\x00\x5a\x00\x00\x00\x00\x00\x00"},
		"SOCKS5":  {"\x05\x01\x00\x05\x01\x00\x03\x0etarget.example\x00\x07", "\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"},
		"CONNECT": {"CONNECT target.example:7 HTTP/1.1\r\nHost: target.example:7\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := io.WriteString(c, greeting[0]); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(greeting[1]))
			if _, err := io.ReadFull(c, got); err != nil || string(got) != greeting[1] {
				t.Fatalf("answer %q, %v", got, err)
			}
			checkEcho(t, c)
		})
	}
	t.Run("absolute-form", func(t *testing.T) {
		// The echo server makes no HTTP of it, which the proxy must say.
		u := &url.URL{Scheme: "http", Host: addr}
		client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(u), DisableKeepAlives: true}}
		resp, err := client.Get("http://target.example:7/")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusBadGateway {
			t.Errorf("status %s", resp.Status)
		}
	})
}

func checkEcho(t testing.TB, c net.Conn) {
	t.Helper()
	if _, err := io.WriteString(c, "hello"); err != nil {
		t.Error(err)
	}
	if err := chain.CloseWrite(c); err != nil {
		t.Error(err)
	}
	if got, err := io.ReadAll(c); err != nil || string(got) != "hello" {
		t.Errorf("echo %q, %v", got, err)
	}
}

// TestNothingGoesAround breaks what can be broken, and watches the base.
func TestNothingGoesAround(t *testing.T) {
	dead := func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return l.Addr().String()
	}()
	for name, test := range map[string]struct {
		config string
		may    []string
	}{
		"dead hop": {through(dead), []string{dead}},
		"no route": {"[[listen]]\naddress = \"127.0.0.1:0\"\n", nil},
		"block":    {"[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nto = \"block\"\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			addr := serve(t, test.config, testnet.Only(t, &net.Dialer{}, test.may...))
			d, err := proxy.SOCKS5("tcp", addr, nil, proxy.Direct)
			if err != nil {
				t.Fatal(err)
			}
			for _, target := range []string{"target.example:7", "localhost:7", "192.0.2.1:7", "[2001:db8::1]:7"} {
				if c, err := d.Dial("tcp", target); err == nil {
					_ = c.Close()
					t.Errorf("%s was reached", target)
				}
			}
			resp, err := (&http.Client{Transport: &http.Transport{
				Proxy:             http.ProxyURL(&url.URL{Scheme: "http", Host: addr}),
				DisableKeepAlives: true,
			}}).Get("http://target.example/")
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode < 400 {
				t.Errorf("status %s", resp.Status)
			}
		})
	}
}

// TestBuildRefuses has configurations that package configs would not have let
// through: building them is an error too, not a way around.
func TestBuildRefuses(t *testing.T) {
	good := through("127.0.0.1:1")
	for name, spoil := range map[string]func(c *configs.Client){
		"misspelt hop":   func(c *configs.Client) { c.Chains[0].Hops[0] = "hopp" },
		"empty chain":    func(c *configs.Client) { c.Chains[0].Hops = nil },
		"misspelt chain": func(c *configs.Client) { c.Routes[0].To = "cc" },
		"unknown scheme": func(c *configs.Client) { c.Hops[0].URL.Scheme = "socks6" },
		"missing CA":     func(c *configs.Client) { c.Hops[0].URL.Scheme = "https"; c.Hops[0].TLS.CA = "none.pem" },
	} {
		c := parse(t, good)
		spoil(c)
		_, err := New(c, testnet.NoDial(t), slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), "byway.toml:") {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if _, err := New(parse(t, good), nil, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("no base, no error")
	}
}

func TestListenerUsers(t *testing.T) {
	hop := socksServer(t, echo(t))
	config := strings.Replace(through(hop), `address = "127.0.0.1:0"`,
		"address = \"127.0.0.1:0\"\nuser = [{ name = \"alice\", secret = { file = \"secret\" } }]", 1)
	addr := serve(t, config, testnet.Only(t, &net.Dialer{}, hop))
	for password, want := range map[string]bool{"open sesame": true, "shut sesame": false, "": false} {
		for _, scheme := range []string{"socks5", "http"} {
			var ok bool
			var c net.Conn
			var err error
			if scheme == "socks5" {
				d, _ := proxy.SOCKS5("tcp", addr, &proxy.Auth{User: "alice", Password: password}, proxy.Direct)
				c, err = d.Dial("tcp", "target.example:7")
				ok = err == nil
			} else {
				c, ok = connect(t, addr, "alice", password)
			}
			if ok != want {
				t.Errorf("%s with password %q: let in: %v", scheme, password, ok)
			}
			if ok {
				checkEcho(t, c)
			}
			if c != nil {
				_ = c.Close()
			}
		}
	}
}

func connect(t *testing.T, addr, user, password string) (net.Conn, bool) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	r := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: "target.example:7"}, Host: "target.example:7", Header: http.Header{}}
	auth := &http.Request{Header: http.Header{}}
	auth.SetBasicAuth(user, password)
	r.Header.Set("Proxy-Authorization", auth.Header.Get("Authorization"))
	if err := r.Write(c); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len("HTTP/1.1 200"))
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatal(err)
	}
	if string(got) != "HTTP/1.1 200" {
		if string(got) != "HTTP/1.1 407" {
			t.Errorf("answer %q", got)
		}
		return c, false
	}
	_, err = io.ReadFull(c, make([]byte, len(" OK\r\n\r\n")))
	return c, err == nil
}

// TestTenThousandTunnels opens, half-closes and closes, and looks at what is left.
func TestTenThousandTunnels(t *testing.T) {
	const tunnels, workers = 10000, 32
	hop := socksServer(t, echo(t))
	// Spares would end in their own time.
	config := strings.Replace(through(hop), "hops =", "spares = 0\nhops =", 1)
	addr := serve(t, config, testnet.Only(t, &net.Dialer{}, hop))
	client, err := chain.New(&net.Dialer{}, socks.Hop5(addr, socks.HopOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	dial := func() {
		c, err := client.Dial("tcp", "target.example:7")
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		checkEcho(t, c)
	}
	dial() // what is made once, is made
	before := testnet.TakeCensus(t, testnet.Census{})
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range tunnels / workers {
				dial()
			}
		})
	}
	wg.Wait()
	testnet.CheckCensus(t, before)
}

// TestIdleTargetsDoNotHoldUpTheEnd leaves a conn to a target in the pool of
// plain HTTP: it is nobody's tunnel, so the drain is over at once.
func TestIdleTargetsDoNotHoldUpTheEnd(t *testing.T) {
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hello")
	})}
	l := testnet.Listen(t)
	go func() { _ = web.Serve(l) }()
	defer web.Close()
	config := "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nto = \"direct\"\n[timeouts]\ndrain = \"1h\"\n"
	addr := serve(t, config, &net.Dialer{})
	tr := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: addr})}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr}).Get("http://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "hello" {
		t.Errorf("%q, %v", body, err)
	}
	_ = resp.Body.Close()
}
