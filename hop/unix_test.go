package hop_test

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/hop"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/route"
	"github.com/byway-proxy/byway/socks"
)

// socksAt serves SOCKS on l for the test.
func socksAt(t *testing.T, l net.Listener, d chain.Dialer) {
	t.Helper()
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
	t.Cleanup(func() {
		_ = l.Close()
		_ = s.Relay.Close()
	})
}

// TestUnixSocket goes through a SOCKS server at a socket of this machine, and from
// there through another hop.
func TestUnixSocket(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("paths of sockets have no drive letters in a URL")
	}
	path := filepath.Join(t.TempDir(), "x.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	echoes := testnet.Listen(t)
	go testnet.Echo(echoes)
	second := testnet.Listen(t)
	socksAt(t, second, testnet.Only(t, &net.Dialer{}, echoes.Addr().String()))
	socksAt(t, l, testnet.Only(t, &net.Dialer{}, echoes.Addr().String(), second.Addr().String()))
	for _, urls := range [][]string{
		{"socks5+unix://" + path},
		{"socks5h+unix://" + path},
		{"socks4a+unix://" + path},
		{"socks4+unix://" + path},
		{"socks5+unix://" + path, "socks5://" + second.Addr().String()},
	} {
		c := chainOf(t, testnet.Only(t, &net.Dialer{}, path), urls...)
		conn, err := c.Dial("tcp", echoes.Addr().String())
		if err != nil {
			t.Fatalf("%s: %v", urls, err)
		}
		_, _ = io.WriteString(conn, "hello")
		_ = chain.CloseWrite(conn)
		if got, err := io.ReadAll(conn); err != nil || string(got) != "hello" {
			t.Errorf("%s: read %q, %v", urls, got, err)
		}
		_ = conn.Close()
	}
}

func chainOf(t *testing.T, base chain.Dialer, urls ...string) *chain.Chain {
	t.Helper()
	var hops []chain.Hop
	for _, u := range urls {
		h, err := hop.Parse(u, hop.Options{})
		if err != nil {
			t.Fatal(err)
		}
		hops = append(hops, h)
	}
	c, err := chain.New(base, hops...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestUnixSocketStandsFirst puts one behind each kind of hop: nothing is dialled.
func TestUnixSocketStandsFirst(t *testing.T) {
	for _, first := range []string{
		"socks5://h:1", "socks4://h:1", "socks4a://h:1", "http://h:1", "https://h:1", "socks5+unix:///other.sock",
	} {
		c := chainOf(t, testnet.NoDial(t), first, "socks5+unix:///x.sock")
		if _, err := c.Dial("tcp", "192.0.2.1:80"); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("behind %s: %v", first, err)
		}
	}
}

func TestParseUnix(t *testing.T) {
	for _, bad := range []string{
		"socks5+unix://", "socks5+unix:///", "socks5+unix:///run/", "socks5+unix://host/x.sock", "socks5+unix:x.sock",
		"socks5+unix:///x.sock?y", "socks5+unix:///x.sock#y", "https+unix:///x.sock", "ssh+unix:///x.sock", "unix:///x.sock", "+unix:///x",
	} {
		if _, err := hop.Parse(bad, hop.Options{}); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
	h, err := hop.Parse("http+unix://u:sesame@/run/x.sock", hop.Options{})
	if err != nil || h.Name != "http+unix:///run/x.sock" {
		t.Fatalf("%q, %v", h.Name, err)
	}
	asked := ""
	c, err := chain.New(chain.DialerFunc(func(_ context.Context, network, addr string) (net.Conn, error) {
		asked = network + " " + addr
		return nil, errors.New("no")
	}), h)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Dial("tcp", "a:1"); err == nil || asked != "unix /run/x.sock" {
		t.Errorf("dialled %q: %v", asked, err)
	}
}

// TestSSHNeedsAKnownServer makes sure that no URL alone is an ssh hop.
func TestSSHNeedsAKnownServer(t *testing.T) {
	for _, u := range []string{"ssh://h", "ssh://alice@h", "ssh://alice:sesame@h:22"} {
		if _, err := hop.Parse(u, hop.Options{}); err == nil || strings.Contains(err.Error(), "sesame") {
			t.Errorf("%s: %v", u, err)
		}
	}
	var o hop.Options
	o.SSH.Pins = []string{"SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"}
	h, err := hop.Parse("ssh://alice:sesame@h", o)
	if err != nil || h.Name != "ssh://h:22" {
		t.Errorf("%q, %v", h.Name, err)
	}
	if _, err := hop.Parse("socks5://h", o); err == nil {
		t.Error("SSH settings were taken for socks5")
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"socks5://u:p@h:1", "socks5+unix:///x", "https://h", "ssh://u@h", "http+unix://h/x", ":"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, rawURL string) {
		h, err := hop.Parse(rawURL, hop.Options{})
		if err != nil {
			return
		}
		if h.Wrap == nil || h.Name == "" || strings.Contains(h.Name, "@") && !strings.Contains(h.Name, "+unix:") {
			t.Errorf("%q became %q", rawURL, h.Name)
		}
		if d, err := h.Wrap(testnet.NoDial(t)); err == nil {
			if c, ok := d.(io.Closer); ok {
				_ = c.Close()
			}
		}
	})
}
