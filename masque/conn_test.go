package masque

import (
	"context"
	"net"
	"testing"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/httpproxy"
	"github.com/byway-proxy/byway/internal/testnet"
)

// opaque hides that a conn is a socket.
func opaque(d chain.Dialer) chain.Dialer {
	return carrier{chain.DialerFunc(func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := d.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return struct{ net.Conn }{c}, nil
	})}
}

// carrier says that it carries UDP.
type carrier struct{ chain.Dialer }

func (carrier) Carries(string) bool { return true }

// TestConns runs the conformance suite, over a socket of the system and over a flow of
// another make.
func TestConns(t *testing.T) {
	for name, base := range map[string]chain.Dialer{"socket": &net.Dialer{}, "flow": opaque(&net.Dialer{})} {
		t.Run(name, func(t *testing.T) {
			ends := make(chan net.Conn)
			l := listenUDP(t)
			serve(t, l, handed(ends))
			d := wrap(t, Hop(l.LocalAddr().String(), httpproxy.HopOptions{TLS: trust()}), base)
			testnet.TestConn(t, func(t *testing.T) (a, b net.Conn) {
				got := make(chan net.Conn, 1)
				go func() { got <- <-ends }()
				a, err := d.DialContext(t.Context(), "tcp", "target.example:443")
				must(t, err)
				return a, <-got
			})
		})
	}
}
