//go:build interop

package interop

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/byway-proxy/byway/chain"
	companion "github.com/byway-proxy/byway/egress"
	"github.com/byway-proxy/byway/egress/users"
	"github.com/byway-proxy/byway/httpproxy"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/route"
)

// authority is a running pebble, which finds every name on loopback.
type authority struct {
	directory string
	ca        string         // file of who vouches for its own server
	ours      *x509.CertPool // the same
	given     *x509.CertPool // who vouches for what it gives
}

// startPebble starts an authority that asks its questions at the two ports, and whose certificates hold for
// validity.
func startPebble(t *testing.T, tlsPort, httpPort string, validity time.Duration) authority {
	t.Helper()
	path, err := find("pebble")
	path = need(t, path, err)
	dir := t.TempDir()
	cert, err := companion.MadeCertificate(dir, []string{"127.0.0.1"})
	must(t, err)
	addr, _, err := reserved()
	must(t, err)
	management, _, err := reserved()
	must(t, err)
	file := filepath.Join(dir, "pebble.json")
	must(t, os.WriteFile(file, fmt.Appendf(nil, `{"pebble": {
	"listenAddress": %q, "managementListenAddress": %q, "certificate": %q, "privateKey": %q,
	"httpPort": %s, "tlsPort": %s, "retryAfter": {"authz": 1, "order": 1}, "keyAlgorithm": "ecdsa",
	"profiles": {"default": {"description": "short", "validityPeriod": %d}}
}}`, addr, management, filepath.Join(dir, "certificate.pem"), filepath.Join(dir, "key.pem"), httpPort, tlsPort, int(validity.Seconds())), 0o600))
	p, err := launch("/usr/bin/env", "PEBBLE_VA_NOSLEEP=1", "PEBBLE_AUTHZREUSE=0", path, "-config", file, "-dnsserver", loopbackDNS(t))
	must(t, err)
	t.Cleanup(func() {
		_ = p.stop()
		if t.Failed() {
			t.Logf("pebble wrote: %s", p.out.String())
		}
	})
	must(t, errors.Join(p.listening(addr), p.listening(management)))
	a := authority{directory: "https://" + addr + "/dir", ca: filepath.Join(dir, "certificate.pem"), ours: x509.NewCertPool(), given: x509.NewCertPool()}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	must(t, err)
	a.ours.AddCert(leaf)
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.ours}, DisableKeepAlives: true}}
	res, err := c.Get("https://" + management + "/roots/0")
	must(t, err)
	pem, err := io.ReadAll(res.Body)
	must(t, errors.Join(err, res.Body.Close()))
	if !a.given.AppendCertsFromPEM(pem) {
		t.Fatalf("the authority's root is %q", pem)
	}
	return a
}

// loopbackDNS answers every question for an IPv4 address with 127.0.0.1.
func loopbackDNS(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") // pebble asks by TCP
	must(t, err)
	s := &dns.Server{Listener: l, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if q.Question[0].Qtype == dns.TypeA {
			m.Answer = append(m.Answer, &dns.A{
				Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(127, 0, 0, 1),
			})
		}
		_ = w.WriteMsg(m)
	})}
	go func() { _ = s.ActivateAndServe() }()
	t.Cleanup(func() { _ = s.Shutdown() })
	return l.Addr().String()
}

// leafOf returns the certificate that the server at addr gives for name.
func (a authority) leafOf(addr, name string) (*x509.Certificate, error) {
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", addr, &tls.Config{RootCAs: a.given, ServerName: name})
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	return c.ConnectionState().PeerCertificates[0], nil
}

// TestACME has the command get certificates by each of the two challenges, and keep them
// when it comes back.
func TestACME(t *testing.T) {
	for _, kind := range []string{"tls-alpn-01", "http-01"} {
		t.Run(kind, func(t *testing.T) {
			addr, port, err := reserved()
			must(t, err)
			_, closed, err := reserved()
			must(t, err)
			clear, clearPort, err := reserved()
			must(t, err)
			more, tlsPort := "", port
			if kind == "http-01" {
				more, tlsPort = "http_port = "+clearPort+"\n", closed
			}
			a := startPebble(t, tlsPort, clearPort, time.Hour)
			dir := t.TempDir()
			must(t, os.Mkdir(filepath.Join(dir, "site"), 0o755))
			must(t, os.WriteFile(filepath.Join(dir, "alice.token"), []byte("t0k-t0k-t0k-t0k-t0k-\n"), 0o600))
			file := filepath.Join(dir, "egress.toml")
			must(t, os.WriteFile(file, fmt.Appendf(nil, `
[[listen]]
address = %q
%s
[tls]
names = ["www.example.org", "also.example.org"]
[tls.acme]
directory = %q
ca = %q
[[site]]
root = "site"
[[user]]
name = "alice"
secret = { file = "alice.token" }
`, addr, more, a.directory, a.ca), 0o644))
			b, err := startByway("egress", "-v", "-c", file)
			must(t, err)
			b.awaitLine(t, `certificate obtained.* name=www.example.org`)
			b.awaitLine(t, `certificate obtained.* name=also.example.org`)
			first, err := a.leafOf(addr, "www.example.org")
			must(t, err)
			if _, err := a.leafOf(addr, "other.example.org"); err == nil {
				t.Error("there is a certificate for a name that nobody asked one for")
			}
			if kind == "http-01" {
				wantRedirect(t, clear, port)
			}
			must(t, b.end())
			b, err = startByway("egress", "-v", "-c", file)
			must(t, err)
			b.endWith(t)
			again, err := a.leafOf(addr, "www.example.org")
			must(t, err)
			if again.SerialNumber.Cmp(first.SerialNumber) != 0 {
				t.Error("a certificate that is good was not kept")
			}
		})
	}
}

// wantRedirect looks at the port for HTTP in the clear.
func wantRedirect(t *testing.T, addr, port string) {
	t.Helper()
	c := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := c.Get("http://" + addr + "/.well-known/acme-challenge/none")
	must(t, err)
	must(t, res.Body.Close())
	if want := "https://127.0.0.1:" + port + "/.well-known/acme-challenge/none"; res.StatusCode != 308 || res.Header.Get("Location") != want {
		t.Errorf("got %s to %q, want %s", res.Status, res.Header.Get("Location"), want)
	}
}

// TestACMERenewal keeps a tunnel open while the certificate is renewed.
func TestACMERenewal(t *testing.T) {
	addr, port, err := reserved()
	must(t, err)
	a := startPebble(t, port, "1", 15*time.Second)
	number, err := strconv.ParseUint(port, 10, 16)
	must(t, err)
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	source := companion.NewACME(companion.ACMEOptions{
		Directory: a.directory, Roots: a.ours, Folder: t.TempDir(), Names: []string{"www.example.org"},
		Host: "127.0.0.1", Port: uint16(number), Check: time.Second, Log: log,
	})
	defer source.Close()
	token := users.NewToken()
	set, err := users.New(map[string]string{"alice": token})
	must(t, err)
	policy := &companion.Policy{Resolver: net.DefaultResolver, Base: &net.Dialer{}, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}
	s := &companion.Server{
		Users: set, Site: http.NotFoundHandler(), GetCertificate: source.GetCertificate,
		Relay: &relay.Relay{Router: route.Table{{To: policy, Via: "direct"}}},
	}
	l, err := net.Listen("tcp", addr)
	must(t, err)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	defer func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = s.Shutdown(ctx)
		<-served
	}()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	must(t, source.Start(ctx))

	// serial waits for a certificate other than the one before.
	serial := func(before string) string {
		for limit := time.Now().Add(40 * time.Second); time.Now().Before(limit); time.Sleep(100 * time.Millisecond) {
			if leaf, err := a.leafOf(addr, "www.example.org"); err == nil && leaf.SerialNumber.String() != before {
				return leaf.SerialNumber.String()
			}
		}
		t.Fatal("no certificate came")
		return ""
	}
	first := serial("")
	echo := testnet.Listen(t)
	go testnet.Echo(echo)
	c, err := chain.New(&net.Dialer{}, httpproxy.HopTLS(addr, httpproxy.HopOptions{
		User: "alice", Password: token, TLS: &tls.Config{RootCAs: a.given, ServerName: "www.example.org"},
	}))
	must(t, err)
	defer func() { _ = c.Close() }()
	conn, err := c.DialContext(t.Context(), "tcp", echo.Addr().String())
	must(t, err)
	defer func() { _ = conn.Close() }()
	for range 2 {
		got, err := ask(conn, []byte("hello"), 5)
		if err != nil || string(got) != "hello" {
			t.Fatalf("through the tunnel came %q, %v", got, err)
		}
		first = serial(first)
	}
}
