package socks

import (
	"net"
	"testing"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
)

var hops = map[string]func(addr string, o HopOptions) chain.Hop{"socks5": Hop5, "socks4a": Hop4a, "socks4": Hop4}

// TestConformance runs the suite from a client through hop, server and relay to a target.
func TestConformance(t *testing.T) {
	for name, hop := range hops {
		t.Run("tcp/"+name, func(t *testing.T) {
			testnet.TestConn(t, func(t *testing.T) (a, b net.Conn) {
				server, target := testnet.Listen(t), testnet.Listen(t)
				acceptAll(t, server, serving(t, &Server{Relay: via(new(net.Dialer))}))
				return through(t, new(net.Dialer), hop(server.Addr().String(), HopOptions{}), target, target.Addr().String())
			})
		})
		if name == "socks4" {
			continue // the hosts of testnet have names only
		}
		t.Run("testnet/"+name, func(t *testing.T) {
			testnet.TestConn(t, func(t *testing.T) (a, b net.Conn) {
				n := testnet.New()
				listen(t, n, "hop", ":1080", serving(t, &Server{Relay: via(n.Host("hop"))}))
				target, err := n.Host("target").Listen(":80")
				must(t, err)
				t.Cleanup(func() { _ = target.Close() })
				return through(t, n.Host("client"), hop("hop:1080", HopOptions{}), target, "target:80")
			})
		})
	}
}

// through returns both ends of a conn through hop to l, which listens at addr.
func through(t *testing.T, base chain.Dialer, hop chain.Hop, l net.Listener, addr string) (a, b net.Conn) {
	t.Helper()
	a, err := newChain(t, base, hop).Dial("tcp", addr)
	must(t, err)
	b, err = l.Accept()
	must(t, err)
	return a, b
}

// TestRawConns makes sure that both sides of a server and the conn of a hop are
// the system's own, so that they can be spliced, early data or not.
func TestRawConns(t *testing.T) {
	for name, hop := range hops {
		for _, early := range []string{"", "early data"} {
			l := testnet.Listen(t)
			accepted := make(chan net.Conn, 1)
			acceptAll(t, l, func(c net.Conn) {
				p, err := new(Server).Handshake(t.Context(), chain.Unread(c, nil))
				if err != nil {
					t.Error(err)
					return
				}
				if early != "" { // a server-first target
					if ahead, raw := chain.Raw(p.(*pending).conn); len(ahead) != 0 || raw != c {
						t.Errorf("%s: raw conn %T after %q", name, raw, ahead)
					}
					p.(*pending).conn = glued{c.(*net.TCPConn), early}
				}
				conn, err := p.Accept()
				if err != nil {
					t.Error(err)
				}
				accepted <- conn
			})
			conn, err := newChain(t, new(net.Dialer), hop(l.Addr().String(), HopOptions{})).Dial("tcp", "192.0.2.1:80")
			must(t, err)
			ahead, raw := chain.Raw(conn)
			if _, ok := raw.(*net.TCPConn); !ok || string(ahead) != early {
				t.Errorf("%s: dialled a %T, with %q", name, raw, ahead)
			}
			_, raw = chain.Raw(<-accepted)
			if g, ok := raw.(glued); ok {
				raw = g.TCPConn
			}
			if _, ok := raw.(*net.TCPConn); !ok {
				t.Errorf("%s: accepted a %T", name, raw)
			}
			must(t, conn.Close())
		}
	}
}

// glued writes the reply and what follows it as one segment.
type glued struct {
	*net.TCPConn
	more string
}

func (g glued) Write(p []byte) (int, error) {
	n, err := g.TCPConn.Write(append(append([]byte(nil), p...), g.more...))
	return min(n, len(p)), err
}
