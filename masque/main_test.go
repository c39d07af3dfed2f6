package masque

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/httpproxy"
	"github.com/byway-proxy/byway/relay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// testCert is a self-made certificate for hop1 and 127.0.0.1, valid in real time
// and in the time of synctest's bubbles.
var testCert = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "hop1"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0),
		DNSNames: []string{"hop1"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
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
})

func trust() *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(testCert().Leaf)
	return &tls.Config{RootCAs: roots}
}

// listenUDP returns a socket on loopback.
func listenUDP(t testing.TB) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	return c
}

// serve serves conn until the test ends.
func serve(t testing.TB, conn net.PacketConn, h http.Handler) *Server {
	t.Helper()
	return serveTo(t, conn, h, ToFriends)
}

func serveTo(t testing.TB, conn net.PacketConn, h http.Handler, to Offer) *Server {
	t.Helper()
	s := &Server{Handler: h, TLS: &tls.Config{Certificates: []tls.Certificate{testCert()}}, Datagrams: to}
	served := make(chan error, 1)
	go func() { served <- s.Serve(conn) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = s.Shutdown(ctx)
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	return s
}

// wrap returns the dialer of a hop over next, closed with the test.
func wrap(t testing.TB, h chain.Hop, next chain.Dialer) chain.Dialer {
	t.Helper()
	d, err := h.Wrap(next)
	must(t, err)
	if c, ok := d.(io.Closer); ok {
		t.Cleanup(func() { _ = c.Close() })
	}
	return d
}

// tunnelled is a handler that carries CONNECTs by r.
func tunnelled(r *relay.Relay) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		ctx, p, err := either(w, req)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_ = r.Serve(ctx, p)
	}
}

// either returns the Pending of a CONNECT or CONNECT-UDP, whose credential is taken for good.
func either(w http.ResponseWriter, r *http.Request) (context.Context, relay.Pending, error) {
	Prove(r)
	o := httpproxy.ConnectOptions{ProxyStatus: "test"}
	if _, ok := httpproxy.UDPTarget(r); ok {
		return ConnectUDP(w, r, relay.Request{}, o)
	}
	return Connect(w, r, relay.Request{}, o)
}

// direct is a router that sends everything to d.
func direct(d chain.Dialer) relay.Router {
	return relay.RouterFunc(func(context.Context, relay.Request) relay.Decision {
		return relay.Decision{Dialer: d, Via: "direct"}
	})
}

// handed is a handler that hands over the ends of accepted tunnels and lives as
// long as they do.
func handed(ends chan<- net.Conn) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, p, err := either(w, r)
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
