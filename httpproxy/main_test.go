package httpproxy

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testCert is a self-made certificate for hop1 and 127.0.0.1, valid in real time
// and in the time of synctest's bubbles.
var testCert = sync.OnceValue(func() tls.Certificate { return newCert("hop1") })

func newCert(name string) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0),
		DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func trust(certs ...tls.Certificate) *tls.Config {
	roots := x509.NewCertPool()
	for _, c := range certs {
		roots.AddCert(c.Leaf)
	}
	return &tls.Config{RootCAs: roots}
}

// egress is a net/http server whose CONNECTs handle serves.
type egress struct {
	*http.Server
	l net.Listener
}

// Windows of the servers in tests, in bytes.
const (
	streamWindow  = 16 << 20
	sessionWindow = 64 << 20
)

// serveTLS runs handle on l with HTTP/2 and HTTP/1.1, or HTTP/1.1 alone.
func serveTLS(t testing.TB, l net.Listener, h1only bool, handle http.HandlerFunc) *egress {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(!h1only)
	srv := &http.Server{
		Handler: handle, Protocols: protocols,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{testCert()}},
		ErrorLog:  log.New(io.Discard, "", 0),
		HTTP2:     &http.HTTP2Config{MaxReceiveBufferPerStream: streamWindow, MaxReceiveBufferPerConnection: sessionWindow},
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.ServeTLS(l, "", "")
	}()
	t.Cleanup(func() {
		_ = srv.Close()
		<-done
	})
	return &egress{srv, l}
}

// tunnelled is a handler that carries CONNECTs by r.
func tunnelled(r *relay.Relay, o ConnectOptions) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		p, err := Connect(w, req, relay.Request{}, o)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_ = r.Serve(req.Context(), p)
	}
}

// direct is a router that sends everything to d.
func direct(d chain.Dialer) relay.Router {
	return relay.RouterFunc(func(context.Context, relay.Request) relay.Decision {
		return relay.Decision{Dialer: d, Via: "direct"}
	})
}

// wrap returns the dialer of a hop over next, closed with the test.
func wrap(t testing.TB, h chain.Hop, next chain.Dialer) chain.Dialer {
	t.Helper()
	d, err := h.Wrap(next)
	if err != nil {
		t.Fatal(err)
	}
	if c, ok := d.(io.Closer); ok {
		t.Cleanup(func() { _ = c.Close() })
	}
	return d
}

// handed is a handler that hands over the ends of accepted tunnels and lives as
// long as they do.
func handed(ends chan<- net.Conn) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p, err := Connect(w, r, relay.Request{}, ConnectOptions{Padding: true})
		if err != nil {
			panic(err)
		}
		conn, err := p.Accept()
		if err != nil {
			return
		}
		c := &noted{Conn: conn, closed: make(chan struct{})}
		ends <- c
		<-c.closed
	}
}

// noted tells when it is closed.
type noted struct {
	net.Conn
	once   sync.Once
	closed chan struct{}
}

func (n *noted) CloseWrite() error { return chain.CloseWrite(n.Conn) }

// ReadSteady is Read where Conn has nothing better.
func (n *noted) ReadSteady(p []byte) (int, error) {
	if s, ok := n.Conn.(relay.Steady); ok {
		return s.ReadSteady(p)
	}
	return n.Conn.Read(p)
}

func (n *noted) Abort() error {
	err := chain.Abort(n.Conn)
	n.once.Do(func() { close(n.closed) })
	return err
}

func (n *noted) Close() error {
	err := n.Conn.Close()
	n.once.Do(func() { close(n.closed) })
	return err
}

func echoTargets(t testing.TB) string {
	l := testnet.Listen(t)
	go testnet.Echo(l)
	return l.Addr().String()
}
