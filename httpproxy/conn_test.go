package httpproxy

import (
	"context"
	"net"
	"net/http"
	"testing"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

// TestConns runs the conformance suite on every kind of conn that we make, both
// ends being ours.
func TestConns(t *testing.T) {
	conforms := func(t *testing.T, d chain.Dialer, ends <-chan net.Conn) {
		testnet.TestConn(t, func(t *testing.T) (a, b net.Conn) {
			got := make(chan net.Conn, 1)
			go func() { got <- <-ends }()
			a, err := d.DialContext(t.Context(), "tcp", "target.example:443")
			if err != nil {
				t.Fatal(err)
			}
			return a, <-got
		})
	}
	t.Run("h2", func(t *testing.T) {
		ends := make(chan net.Conn)
		srv := serveTLS(t, testnet.Listen(t), false, handed(ends))
		conforms(t, wrap(t, HopTLS(srv.l.Addr().String(), HopOptions{TLS: trust(testCert())}), &net.Dialer{}), ends)
	})
	t.Run("h2, padded", func(t *testing.T) {
		ends := make(chan net.Conn)
		srv := serveTLS(t, testnet.Listen(t), false, handed(ends))
		conforms(t, wrap(t, HopTLS(srv.l.Addr().String(), HopOptions{TLS: trust(testCert()), Padding: true}), &net.Dialer{}), ends)
	})
	t.Run("padded TCP", func(t *testing.T) {
		testnet.TestConn(t, func(t *testing.T) (a, b net.Conn) {
			here, there := testnet.TCPPair(t)
			return newPadded(here), newPadded(there)
		})
	})
	t.Run("h2 by a listener", func(t *testing.T) {
		ends := make(chan net.Conn)
		p := newProxiedBy(t, &Server{Relay: &relay.Relay{Router: direct(chain.DialerFunc(func(context.Context, string, string) (net.Conn, error) {
			here, there := testnet.TCPPair(t)
			ends <- there
			return here, nil
		}))}}, true)
		conforms(t, wrap(t, HopTLS(p.addr, HopOptions{TLS: trust(testCert())}), &net.Dialer{}), ends)
	})
	t.Run("h1 over TLS", func(t *testing.T) {
		ends := make(chan net.Conn)
		srv := serveTLS(t, testnet.Listen(t), true, handed(ends))
		conforms(t, wrap(t, HopTLS(srv.l.Addr().String(), HopOptions{TLS: trust(testCert())}), &net.Dialer{}), ends)
	})
	t.Run("h1 over TCP", func(t *testing.T) {
		ends := make(chan net.Conn)
		l := testnet.Listen(t)
		srv := &http.Server{Handler: handed(ends)}
		go func() { _ = srv.Serve(l) }()
		t.Cleanup(func() { _ = srv.Close() })
		conforms(t, wrap(t, Hop(l.Addr().String(), HopOptions{}), &net.Dialer{}), ends)
	})
}
