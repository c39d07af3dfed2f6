package local

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/httpproxy"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/route"
)

// echKey makes a key (RFC 9849 §4), and the list that clients are given.
func echKey(t *testing.T) (key tls.EncryptedClientHelloKey, list string) {
	t.Helper()
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	vector := func(b []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) }
	contents := []byte{7, 0x00, 0x20} // config_id, DHKEM(X25519, HKDF-SHA256)
	contents = append(contents, vector(private.PublicKey().Bytes())...)
	contents = append(contents, vector([]byte{0, 1, 0, 1})...) // HKDF-SHA256, AES-128-GCM
	contents = append(contents, 0, byte(len("public.example")))
	contents = append(contents, "public.example"...)
	contents = append(contents, 0, 0)
	config := append([]byte{0xfe, 0x0d}, vector(contents)...)
	return tls.EncryptedClientHelloKey{Config: config, PrivateKey: private.Bytes(), SendAsRetry: true},
		base64.StdEncoding.EncodeToString(vector(config))
}

// echProxy is a proxy with certificates for both its names. It tells the names that
// clients asked for.
func echProxy(t *testing.T, a *authority, keys []tls.EncryptedClientHelloKey, d chain.Dialer) (addr string, names func() []string) {
	t.Helper()
	leaf, key := a.sign(t, &x509.Certificate{
		DNSNames: []string{"proxy.example", "public.example"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, "server")
	var mu sync.Mutex
	var asked []string
	r := &relay.Relay{Router: route.Table{{To: d, Via: "direct"}}}
	s := &http.Server{
		TLSConfig: &tls.Config{
			GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
				mu.Lock()
				defer mu.Unlock()
				asked = append(asked, hello.ServerName)
				return &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}, nil
			},
			EncryptedClientHelloKeys: keys,
			NextProtos:               []string{"h2", "http/1.1"},
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
	return l.Addr().String(), func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string(nil), asked...)
	}
}

// TestECH goes through a server that takes the key, and not through those that don't:
// the hidden name is never sent in the clear.
func TestECH(t *testing.T) {
	a := newAuthority(t)
	right, list := echKey(t)
	other, _ := echKey(t)
	echoes := testnet.Listen(t)
	go testnet.Echo(echoes)
	for name, test := range map[string]struct {
		keys []tls.EncryptedClientHelloKey
		sees string
	}{
		"taken":       {[]tls.EncryptedClientHelloKey{right}, "proxy.example"},
		"another key": {[]tls.EncryptedClientHelloKey{other}, "public.example"},
		"no ECH":      {nil, "public.example"},
	} {
		t.Run(name, func(t *testing.T) {
			addr, names := echProxy(t, a, test.keys, testnet.Only(t, &net.Dialer{}, echoes.Addr().String()))
			c := parse(t, oneHop("https://"+addr, fmt.Sprintf("tls = { ca = %q, server_name = \"proxy.example\", ech = %q }", a.path("ca.pem"), list)))
			s, err := New(c, testnet.Only(t, &net.Dialer{}, addr), slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			conn, err := s.now().table[0].To.DialContext(t.Context(), "tcp", echoes.Addr().String())
			if test.sees == "proxy.example" {
				if err != nil {
					t.Fatal(err)
				}
				checkEcho(t, conn)
				_ = conn.Close()
			} else if err == nil || !strings.Contains(err.Error(), "hop 1/1 h: tls: server rejected ECH") {
				t.Errorf("error %v", err)
			}
			for _, n := range names() {
				if n != test.sees {
					t.Errorf("the server was asked for %q", n)
				}
			}
			if len(names()) == 0 {
				t.Error("the server was not reached")
			}
		})
	}
}
