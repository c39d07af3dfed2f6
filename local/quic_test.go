package local

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/egress"
	"github.com/byway-proxy/byway/egress/users"
	"github.com/byway-proxy/byway/httpproxy"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/route"
	"github.com/byway-proxy/byway/socks"
)

// anEgress serves HTTP/1.1, HTTP/2 and HTTP/3 at one port, and returns its address and the lines of
// a hop by it.
func anEgress(t *testing.T, base chain.Dialer) (addr, credentials string) {
	t.Helper()
	cert, err := egress.NewCertificate("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	token := users.NewToken()
	set, err := users.New(map[string]string{"alice": token})
	if err != nil {
		t.Fatal(err)
	}
	s := &egress.Server{
		Users: set, Certificate: cert, Site: http.NotFoundHandler(),
		Relay: &relay.Relay{Router: route.Table{{Via: "direct", To: &egress.Policy{
			Base: base, Resolver: net.DefaultResolver, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		}}}},
	}
	l := testnet.Listen(t)
	conn, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 2)
	go func() { served <- s.Serve(l) }()
	go func() { served <- s.ServePacket(conn) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = s.Shutdown(ctx)
		for range 2 {
			if err := <-served; !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
		}
	})
	pin, err := egress.Pin(cert)
	if err != nil {
		t.Fatal(err)
	}
	return l.Addr().String(), fmt.Sprintf("user = \"alice\"\nsecret = { file = %q }\n[hop.tls]\npin = %q\n", file(t, "token", token), pin)
}

// TestQUICByAssociation has an app speak HTTP/3 with a website, by SOCKS5's UDP ASSOCIATE, a
// chain and an egress at its end, which is reached by UDP or, where the way has none, by TCP.
func TestQUICByAssociation(t *testing.T) {
	site, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	cert, err := egress.NewCertificate("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	web := &http3.Server{
		TLSConfig: http3.ConfigureTLSConfig(&tls.Config{Certificates: []tls.Certificate{cert}}),
		Handler:   http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 300_000)) }),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = web.Serve(site)
	}()
	t.Cleanup(func() {
		_ = web.Close()
		_ = site.Close()
		<-done
	})
	target := site.LocalAddr().String()
	addr, credentials := anEgress(t, &net.Dialer{})
	udp, tcp := socksServer(t, notTo{t, target}), httpProxy(t, notTo{t, target})
	for name, hops := range map[string]string{
		"h3":                  "",
		"https":               "",
		"https, and HTTP/3":   "",
		"h3 behind socks5":    "[[hop]]\nname = \"near\"\nurl = \"socks5://" + udp + "\"\n",
		"https behind socks5": "[[hop]]\nname = \"near\"\nurl = \"socks5://" + udp + "\"\n",
		"https behind http":   "[[hop]]\nname = \"near\"\nurl = \"http://" + tcp + "\"\n",
	} {
		t.Run(name, func(t *testing.T) {
			var scheme string
			_, _ = fmt.Sscan(strings.ReplaceAll(name, ",", " "), &scheme)
			three := ""
			if strings.HasSuffix(name, "HTTP/3") {
				three = "http3 = true\n"
			}
			list := `["far"]`
			if hops != "" {
				list = `["near", "far"]`
			}
			local := serve(t, "[[listen]]\naddress = \"127.0.0.1:0\"\n"+hops+"[[hop]]\nname = \"far\"\nurl = \""+scheme+"://"+addr+"\"\n"+three+credentials+
				"[[chain]]\nname = \"all\"\nhops = "+list+"\n[[route]]\nto = \"all\"\n", notTo{t, target})
			app, err := chain.New(&net.Dialer{}, socks.Hop5(local, socks.HopOptions{}))
			if err != nil {
				t.Fatal(err)
			}
			var flow net.Conn
			rt := &http3.Transport{
				TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // the site's certificate is made on the spot
				Dial: func(ctx context.Context, addr string, cfg *tls.Config, qc *quic.Config) (*quic.Conn, error) {
					c, err := app.DialContext(ctx, "udp", addr)
					if err != nil {
						return nil, err
					}
					flow = c
					return quic.Dial(ctx, oneTo{c}, c.RemoteAddr(), cfg, qc)
				},
			}
			defer func() {
				_ = rt.Close()
				if flow != nil {
					_ = flow.Close()
				}
			}()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+target+"/", nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := rt.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if n, err := io.Copy(io.Discard, resp.Body); n != 300_000 || err != nil {
				t.Errorf("read %d bytes, %v", n, err)
			}
		})
	}
}

// oneTo is a conn of datagrams as a PacketConn.
type oneTo struct{ net.Conn }

func (o oneTo) ReadFrom(p []byte) (int, net.Addr, error) {
	n, err := o.Read(p)
	return n, o.RemoteAddr(), err
}

func (o oneTo) WriteTo(p []byte, _ net.Addr) (int, error) { return o.Write(p) }
func (oneTo) SetReadBuffer(int) error                     { return nil }
func (oneTo) SetWriteBuffer(int) error                    { return nil }

// file writes text into a file of the test's, and returns its path.
func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// httpProxy serves an HTTP proxy in the clear that dials by d.
func httpProxy(t *testing.T, d chain.Dialer) string {
	t.Helper()
	l := testnet.Listen(t)
	s := &httpproxy.Server{Relay: &relay.Relay{Router: route.Table{{To: d, Via: "direct"}}}}
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
		_ = s.Relay.Close()
		_ = s.Close()
		wg.Wait()
	})
	return l.Addr().String()
}
