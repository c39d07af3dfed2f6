package local

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/httpproxy"
	"github.com/byway-proxy/byway/internal/testnet"
)

// certificate makes a self-made certificate for proxy.example and 127.0.0.1 in files
// proxy.pem and proxy.key of dir, and returns who trusts it.
func certificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "proxy"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0),
		DNSNames: []string{"proxy.example"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	roots.AppendCertsFromPEM(certPEM)
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	err = errors.Join(os.WriteFile(filepath.Join(dir, "proxy.pem"), certPEM, 0o600), os.WriteFile(filepath.Join(dir, "proxy.key"), keyPEM, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	return roots
}

// withTLS is a configuration whose listener has a certificate, and who trusts it.
func withTLS(t *testing.T, config, more string) (string, *x509.CertPool) {
	t.Helper()
	dir := t.TempDir()
	roots := certificate(t, dir)
	lines := fmt.Sprintf("address = \"127.0.0.1:0\"\ntls = { certificate = %q, key = %q }\n%s", filepath.Join(dir, "proxy.pem"), filepath.Join(dir, "proxy.key"), more)
	return strings.Replace(config, `address = "127.0.0.1:0"`, lines, 1), roots
}

func dialTLS(t *testing.T, addr string, roots *x509.CertPool, protocols ...string) *tls.Conn {
	t.Helper()
	c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: roots, NextProtos: protocols})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// TestTLSListener speaks every protocol within TLS, with one hop behind.
func TestTLSListener(t *testing.T) {
	exit := socksServer(t, echo(t))
	config, roots := withTLS(t, through(exit), "user = [{ name = \"alice\", secret = { file = \"secret\" } }]\n")
	addr := serve(t, config, testnet.Only(t, &net.Dialer{}, exit))
	for name, talk := range map[string][]string{
		"SOCKS5":  {"\x05\x01\x02\x01\x05alice\x0bopen sesame\x05\x01\x00\x03\x0etarget.example\x00\x07", "\x05\x02\x01\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"},
		"CONNECT": {"CONNECT target.example:7 HTTP/1.1\r\nHost: target.example:7\r\nProxy-Authorization: Bearer open sesame\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"},
		"nobody":  {"CONNECT target.example:7 HTTP/1.1\r\nHost: target.example:7\r\n\r\n", "HTTP/1.1 407 "},
		"UDP":     {"\x05\x01\x02\x01\x05alice\x0bopen sesame\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00", "\x05\x02\x01\x00\x05\x07\x00\x01\x00\x00\x00\x00\x00\x00"},
	} {
		t.Run(name, func(t *testing.T) {
			c := dialTLS(t, addr, roots, "http/1.1")
			_, _ = io.WriteString(c, talk[0])
			got := make([]byte, len(talk[1]))
			if _, err := io.ReadFull(c, got); err != nil || string(got) != talk[1] {
				t.Fatalf("answer %q, %v", got, err)
			}
			if name == "SOCKS5" || name == "CONNECT" {
				checkEcho(t, c)
			}
		})
	}
	t.Run("HTTP/2", func(t *testing.T) {
		d, err := chain.New(&net.Dialer{}, httpproxy.HopTLS(addr, httpproxy.HopOptions{
			TLS: &tls.Config{RootCAs: roots}, User: "alice", Password: "open sesame",
		}))
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		c, err := d.Dial("tcp", "target.example:7")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		checkEcho(t, c)
	})
	t.Run("ALPN", func(t *testing.T) {
		c := dialTLS(t, addr, roots, "h2", "http/1.1")
		if got := c.ConnectionState().NegotiatedProtocol; got != "h2" {
			t.Errorf("agreed on %q", got)
		}
	})
	t.Run("page", func(t *testing.T) {
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
		defer tr.CloseIdleConnections()
		resp, err := (&http.Client{Transport: tr}).Get("https://" + addr + "/proxy.pac")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if b, _ := io.ReadAll(resp.Body); resp.ProtoMajor != 2 || !strings.Contains(string(b), `"HTTPS `+addr+`"`) {
			t.Errorf("%s: %s", resp.Proto, b)
		}
	})
}

// TestTLSListenerInTheClear: no client gets anywhere without TLS, and one that speaks
// HTTP is told why.
func TestTLSListenerInTheClear(t *testing.T) {
	config, _ := withTLS(t, through("192.0.2.1:1"), "")
	addr := serve(t, config, testnet.NoDial(t))
	for _, raw := range []string{
		"\x05\x01\x00\x05\x01\x00\x03\x0etarget.example\x00\x07", "\x04\x01\x00\x07\x00\x00\x00\x01me\x00target.example\x00",
		"CONNECT target.example:7 HTTP/1.1\r\nHost: target.example:7\r\nX: " + strings.Repeat("y", 30<<10) + "\r\n\r\n",
		"GET http://target.example/ HTTP/1.1\r\nHost: a\r\n\r\n", "GET /proxy.pac HTTP/1.1\r\nHost: " + addr + "\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		_, _ = io.WriteString(c, raw)
		_ = chain.CloseWrite(c)
		got, err := io.ReadAll(c)
		_ = c.Close()
		if raw[0] < ' ' {
			if strings.Contains(string(got), "HTTP") || strings.HasPrefix(string(got), "\x05") || strings.HasPrefix(string(got), "\x00") {
				t.Errorf("%.10q: got %q", raw, got)
			}
			continue
		}
		resp, rerr := http.ReadResponse(bufio.NewReader(strings.NewReader(string(got))), nil)
		if err != nil || rerr != nil || resp.StatusCode != 400 || !strings.HasSuffix(string(got), plainText) {
			t.Errorf("%.10q: got %q, %v, %v", raw, got, err, rerr)
		}
	}
}

// TestTLSHandshakeLimit: a client that is silent, or stops amid its hello, is gone in
// time.
func TestTLSHandshakeLimit(t *testing.T) {
	for _, hello := range []string{"", "\x16\x03\x01\x01\x00\x01"} {
		synctest.Test(t, func(t *testing.T) {
			a, b := testnet.Pipe(0)
			_, _ = io.WriteString(a, hello)
			began := time.Now()
			_, err := (&role{tls: &tls.Config{}, limit: 10 * time.Second}).secure(t.Context(), b)
			if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != 10*time.Second {
				t.Errorf("%v after %v", err, time.Since(began))
			}
			_ = a.Close()
			_ = b.Close()
		})
	}
}

// TestShutdownCutsHandshakes: silent clients, in the clear, before TLS and within it,
// hold up the end for no time of theirs.
func TestShutdownCutsHandshakes(t *testing.T) {
	plain := strings.Replace(through("192.0.2.1:1"), "drain =", "handshake = \"1h\"\ndrain =", 1)
	config, roots := withTLS(t, plain, "")
	silent := func(t *testing.T, addr, hello string) {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_, _ = io.WriteString(c, hello)
	}
	// The servers end with their subtests, and the clients only after that.
	t.Run("clear", func(sub *testing.T) { silent(t, serve(sub, plain, testnet.NoDial(t)), "") })
	t.Run("before TLS", func(sub *testing.T) { silent(t, serve(sub, config, testnet.NoDial(t)), "") })
	t.Run("amid TLS", func(sub *testing.T) { silent(t, serve(sub, config, testnet.NoDial(t)), "\x16\x03\x01\x01\x00\x01") })
	t.Run("within TLS", func(sub *testing.T) { dialTLS(t, serve(sub, config, testnet.NoDial(t)), roots) })
}

func TestBadListenerCertificate(t *testing.T) {
	dir := t.TempDir()
	certificate(t, dir)
	for pair, want := range map[[2]string]string{
		{"none.pem", "proxy.key"}:  `byway.toml:3:23: listen[0].tls.certificate: the certificate and its key cannot be used: `,
		{"proxy.pem", "proxy.pem"}: `byway.toml:3:23: listen[0].tls.certificate: the certificate and its key cannot be used: `,
	} {
		text := fmt.Sprintf("[[listen]]\naddress = \"127.0.0.1:0\"\ntls = { certificate = %q, key = %q }\n", pair[0], pair[1])
		c, err := configs.ParseClient(filepath.Join(dir, "byway.toml"), []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if _, err = New(c, testnet.NoDial(t), slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

// TestHopGetsItsOwnCredentials listens in at an HTTP hop: a client's credentials are
// not the hop's to know, however they came.
func TestHopGetsItsOwnCredentials(t *testing.T) {
	heads := make(chan string, 1)
	l := testnet.Listen(t)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r, err := http.ReadRequest(bufio.NewReader(c))
			if err == nil {
				heads <- fmt.Sprint(r.Method, r.Host, r.Header)
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")
			}
			_ = c.Close()
		}
	}()
	hop := l.Addr().String()
	plain := strings.Replace(strings.Replace(through(hop), "socks5://", "http://", 1), "hops =", "spares = 0\nhops =", 1)
	config, roots := withTLS(t, plain, "user = [{ name = \"alice\", secret = { file = \"secret\" } }]\n")
	addr := serve(t, config, testnet.Only(t, &net.Dialer{}, hop))
	u := &url.URL{Scheme: "https", Host: addr, User: url.UserPassword("alice", "open sesame")}
	tr := &http.Transport{Proxy: http.ProxyURL(u), TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}
	for _, target := range []string{"http://target.example/", "https://target.example/"} {
		resp, err := (&http.Client{Transport: tr}).Get(target)
		if err == nil {
			_ = resp.Body.Close()
		}
		if head := <-heads; !strings.HasPrefix(head, "CONNECT") || strings.Contains(head, "Proxy") || strings.Contains(head, "YWxpY2U6") {
			t.Errorf("%s: the hop got %s", target, head)
		}
	}
}
