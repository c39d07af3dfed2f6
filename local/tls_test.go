package local

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/httpproxy"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/route"
)

// authority issues certificates, and writes them to files.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.cert, a.key = a.sign(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, "ca")
	return a
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

func (a *authority) sign(t *testing.T, template *x509.Certificate, name string) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.Subject = pkix.Name{CommonName: name}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		name + ".pem": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(a.path(file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// tlsProxy is a proxy that wants a client certificate, for the name proxy.example.
func tlsProxy(t *testing.T, a *authority, d chain.Dialer) (addr, pin string) {
	t.Helper()
	leaf, key := a.sign(t, &x509.Certificate{
		DNSNames: []string{"proxy.example"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, "server")
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	r := &relay.Relay{Router: route.Table{{To: d, Via: "direct"}}}
	s := &http.Server{
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}},
			ClientAuth:   tls.RequireAndVerifyClientCert,
			ClientCAs:    roots,
			NextProtos:   []string{"h2", "http/1.1"},
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if p, err := httpproxy.Connect(w, q, relay.Request{}, httpproxy.ConnectOptions{}); err == nil {
				_ = r.Serve(q.Context(), p)
			}
		}),
		ErrorLog: log.New(io.Discard, "", 0),
	}
	l := testnet.Listen(t)
	go func() { _ = s.ServeTLS(l, "", "") }()
	t.Cleanup(func() {
		_ = r.Close()
		_ = s.Close()
	})
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	return l.Addr().String(), "sha256/" + base64.StdEncoding.EncodeToString(sum[:])
}

// TestHopTLS opens a chain with each combination of TLS settings.
func TestHopTLS(t *testing.T) {
	a := newAuthority(t)
	a.sign(t, &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, "client")
	other := newAuthority(t)
	echoes := testnet.Listen(t)
	go testnet.Echo(echoes)
	addr, pin := tlsProxy(t, a, testnet.Only(t, &net.Dialer{}, echoes.Addr().String()))
	client := fmt.Sprintf("certificate = %q\nkey = %q\n", a.path("client.pem"), a.path("client.key"))
	ca, name := fmt.Sprintf("ca = %q\n", a.path("ca.pem")), "server_name = \"proxy.example\"\n"
	wrongPin := "sha256/" + base64.StdEncoding.EncodeToString(make([]byte, 32))
	for test, want := range map[string]string{
		client + ca + name:                                                  "",
		client + fmt.Sprintf("pin = %q\n", pin):                             "",
		client + ca + name + fmt.Sprintf("pin = %q\n", pin):                 "",
		client + ca + name + fmt.Sprintf("pin = [%q, %q]\n", wrongPin, pin): "",
		client + ca:   "the certificate is for another name",
		client + name: "unknown authority",
		client + fmt.Sprintf("ca = %q\n", other.path("ca.pem")) + name: "unknown authority",
		client + fmt.Sprintf("pin = %q\n", wrongPin):                   "pin",
		client + ca + name + fmt.Sprintf("pin = %q\n", wrongPin):       "pin",
		client + ca + fmt.Sprintf("pin = %q\n", pin):                   "the certificate is for another name",
		ca + name: "certificate required",
	} {
		c := parse(t, fmt.Sprintf("[[listen]]\naddress = \"127.0.0.1:0\"\n[[hop]]\nname = \"proxy\"\nurl = \"https://%s\"\n[hop.tls]\n%s[[chain]]\nname = \"c\"\nhops = [\"proxy\"]\n[[route]]\nto = \"c\"\n", addr, test))
		dialHopTLS(t, c, echoes.Addr().String(), addr, test, want)
	}
}

func dialHopTLS(t *testing.T, c *configs.Client, target, addr, test, want string) {
	t.Helper()
	s, err := New(c, testnet.Only(t, &net.Dialer{}, addr), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("%s: %v", test, err)
	}
	defer s.Close()
	conn, err := s.now().table[0].To.DialContext(context.Background(), "tcp", target)
	if err != nil {
		if want == "" || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "hop 1/1 proxy: tls: ") {
			t.Errorf("%s: error %q, want %q", test, err, want)
		}
		return
	}
	defer conn.Close()
	if want != "" {
		t.Errorf("%s: no error, want %q", test, want)
	}
	checkEcho(t, conn)
}
