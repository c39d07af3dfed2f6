package hop_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/net/proxy"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/hop"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/route"
	"github.com/byway-proxy/byway/socks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestParseDialsWhereTheURLSays looks at what each hop asks its lower path for.
func TestParseDialsWhereTheURLSays(t *testing.T) {
	for rawURL, want := range map[string]string{
		"socks5://10.0.0.2":           "10.0.0.2:1080",
		"socks5h://hop.example:9050":  "hop.example:9050",
		"socks4a://hop.example":       "hop.example:1080",
		"socks4://10.0.0.2:1081/":     "10.0.0.2:1081",
		"http://hop.example":          "hop.example:80",
		"http://u:p@hop.example:3128": "hop.example:3128",
		"https://u:p@hop.example":     "hop.example:443",
		"socks5://[2001:db8::1]":      "[2001:db8::1]:1080",
	} {
		h, err := hop.Parse(rawURL, hop.Options{})
		if err != nil {
			t.Errorf("%s: %v", rawURL, err)
			continue
		}
		scheme, _, _ := strings.Cut(rawURL, ":")
		if h.Name != scheme+"://"+want {
			t.Errorf("%s: name %q", rawURL, h.Name)
		}
		var asked []string
		c, err := chain.New(chain.DialerFunc(func(_ context.Context, network, addr string) (net.Conn, error) {
			asked = append(asked, network+" "+addr)
			return nil, errors.New("no")
		}), h)
		if err != nil {
			t.Errorf("%s: %v", rawURL, err)
			continue
		}
		if _, err := c.Dial("tcp", "192.0.2.1:80"); err == nil {
			t.Errorf("%s: no error", rawURL)
		}
		for _, a := range asked {
			if a != "tcp "+want {
				t.Errorf("%s: dialled %s", rawURL, a)
			}
		}
		if len(asked) == 0 {
			t.Errorf("%s: nothing was dialled", rawURL)
		}
		// An https hop has a way for flows over a way without UDP.
		if _, err := c.Dial("udp", "192.0.2.1:80"); err == nil || errors.Is(err, errors.ErrUnsupported) != (scheme != "https") {
			t.Errorf("%s: udp: %v", rawURL, err)
		}
		_ = c.Close()
	}
}

func TestParseRefuses(t *testing.T) {
	for rawURL, o := range map[string]hop.Options{
		"":                                   {},
		"socks5://":                          {},
		"10.0.0.2:1080":                      {},
		"direct://":                          {},
		"socks6://u:sesame@h:1":              {},
		"ftp://u:sesame@h":                   {},
		"socks5://u:sesame@h:1/path":         {},
		"socks5://u:sesame@h:1?x=y":          {},
		"socks5://u:sesame@h:1#x":            {},
		"socks5://u:sesame@h:port":           {},
		"socks5://u:se%zzame@h:1":            {},
		"https://u:sesame@h":                 {User: "v"},
		"http://u:sesame@h":                  {TLS: &tls.Config{}},
		"socks5://u:sesame@tls.example:1080": {Pins: [][32]byte{{}}},
	} {
		if _, err := hop.Parse(rawURL, o); err == nil {
			t.Errorf("%q was taken", rawURL)
		} else if strings.Contains(err.Error(), "sesame") {
			t.Errorf("%q: the error tells the password: %v", rawURL, err)
		}
	}
}

// TestRegistered uses a type that somebody registered with x/net/proxy as a hop.
func TestRegistered(t *testing.T) {
	proxy.RegisterDialerType("twice", func(u *url.URL, next proxy.Dialer) (proxy.Dialer, error) {
		return oldDialer{u.Host, next}, nil
	})
	h, err := hop.Parse("twice://hop.example:99", hop.Options{})
	if err != nil {
		t.Fatal(err)
	}
	n := testnet.New()
	l, err := n.Host("hop.example").Listen(":99")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := chain.New(testnet.Only(t, n.Host("here"), "hop.example:99"), h)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := c.Dial("tcp", "target.example:80")
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if _, err := c.Dial("udp", "target.example:80"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("udp: %v", err)
	}
	// One without DialContext gives up when ctx does.
	n.BlackHole("hop.example:99")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.DialContext(ctx, "tcp", "target.example:80"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// oldDialer has Dial alone.
type oldDialer struct {
	addr string
	next proxy.Dialer
}

func (d oldDialer) Dial(network, _ string) (net.Conn, error) { return d.next.Dial(network, d.addr) }

// TestRegister has x/net/proxy make byway's hops.
func TestRegister(t *testing.T) {
	hop.Register()
	for _, scheme := range []string{"socks4a", "socks4", "http", "https"} {
		u := &url.URL{Scheme: scheme, Host: "hop.example:1"}
		d, err := proxy.FromURL(u, forwarder{testnet.Only(t, refuser{}, "hop.example:1")})
		if err != nil {
			t.Errorf("%s: %v", scheme, err)
			continue
		}
		_, err = d.Dial("tcp", "192.0.2.1:80")
		if c, ok := d.(*chain.Chain); ok {
			_ = c.Close()
		}
		var e *chain.Error
		if !errors.As(err, &e) || e.Hop != 1 || e.Phase != chain.PhaseDial {
			t.Errorf("%s: %v", scheme, err)
		}
	}
}

type refuser struct{}

func (refuser) DialContext(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("refused")
}

type forwarder struct{ chain.Dialer }

func (f forwarder) Dial(network, addr string) (net.Conn, error) {
	return f.DialContext(context.Background(), network, addr)
}

// TestHTTPClient puts an http.Client on a chain of two hops, as the README does.
func TestHTTPClient(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hello")
	}))
	defer web.Close()
	server := func(d chain.Dialer) string {
		l := testnet.Listen(t)
		s := &socks.Server{Relay: &relay.Relay{Router: route.Table{{To: d, Via: "direct"}}}}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() { _ = s.ServeConn(context.Background(), c) }()
			}
		}()
		t.Cleanup(func() { _ = s.Relay.Close() })
		return l.Addr().String()
	}
	exit := server(testnet.Only(t, &net.Dialer{}, web.Listener.Addr().String()))
	entry := server(testnet.Only(t, &net.Dialer{}, exit))
	first, err := hop.Parse("socks5://"+entry, hop.Options{})
	if err != nil {
		t.Fatal(err)
	}
	second, err := hop.Parse("socks4a://"+exit, hop.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := chain.New(testnet.Only(t, &net.Dialer{}, entry), first, second)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{DialContext: c.DialContext}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr}).Get(web.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "hello" {
		t.Errorf("%q, %v", body, err)
	}
}
