package relay_test

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

// from is a pending of a client at an address.
type from struct {
	pending
	addr net.Addr
}

func (f *from) Request() relay.Request {
	q := f.pending.Request()
	q.Client = f.addr
	return q
}

func at(ip string, port int) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: port} }

// TestLimits serves as many tunnels as the limits say, counts clients by address
// alone, and has room again when a tunnel has ended or was not opened.
func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &relay.Relay{Limit: 4, ClientLimit: 2}
		fail := false
		r.Router = to(chain.DialerFunc(func(context.Context, string, string) (net.Conn, error) {
			if fail {
				return nil, syscall.ECONNREFUSED
			}
			near, far := testnet.Pipe(0)
			context.AfterFunc(t.Context(), func() { _ = far.Close() })
			return near, nil
		}))
		serve := func(addr net.Addr) (end func(), err error) {
			client, app := testnet.Pipe(0)
			p := &from{pending{conn: client}, addr}
			done := make(chan error, 1)
			go func() { done <- r.Serve(t.Context(), p) }()
			synctest.Wait()
			if p.accepted {
				return func() {
					_ = chain.Abort(app)
					<-done
				}, nil
			}
			_ = app.Close()
			return nil, <-done
		}
		mustServe := func(addr net.Addr) func() {
			t.Helper()
			end, err := serve(addr)
			if err != nil {
				t.Fatal(err)
			}
			return end
		}
		full := func(addr net.Addr) {
			t.Helper()
			end, err := serve(addr)
			if !errors.Is(err, relay.ErrLimit) || !errors.Is(err, syscall.EMFILE) {
				t.Errorf("%v: %v", addr, err)
			}
			if end != nil {
				end()
			}
		}
		first := mustServe(at("192.0.2.1", 1))
		second := mustServe(at("::ffff:192.0.2.1", 2))
		full(at("192.0.2.1", 3))
		third := mustServe(at("192.0.2.2", 1))
		fourth := mustServe(nil) // of nobody, counted in all alone
		full(at("192.0.2.3", 1))
		full(nil)
		first()
		fail = true
		for range 3 {
			if _, err := serve(at("192.0.2.1", 1)); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("a dial that fails: %v", err)
			}
		}
		fail = false
		fifth := mustServe(at("192.0.2.1", 4))
		for _, end := range []func(){second, third, fourth, fifth} {
			end()
		}
		if n := r.Live(); n != 0 {
			t.Errorf("%d tunnels are left", n)
		}
	})
}

// TestHandshakeOver is told before the dial, of a request that is blocked too.
func TestHandshakeOver(t *testing.T) {
	over := false
	r := &relay.Relay{Router: relay.RouterFunc(func(context.Context, relay.Request) relay.Decision {
		if !over {
			t.Error("routed before the handshake was told to be over")
		}
		return relay.Decision{}
	})}
	client, app := testnet.Pipe(0)
	defer app.Close()
	_ = r.Serve(relay.WithHandshake(t.Context(), func() { over = true }), &pending{conn: client})
	if !over {
		t.Error("not told")
	}
}

func TestClientOf(t *testing.T) {
	if relay.ClientOf(at("192.0.2.1", 1)) != relay.ClientOf(&net.UDPAddr{IP: net.ParseIP("192.0.2.1"), Port: 2}) {
		t.Error("one address is two clients")
	}
	if relay.ClientOf(at("192.0.2.1", 1)) == relay.ClientOf(at("192.0.2.2", 1)) || relay.ClientOf(nil) != nil {
		t.Error("two addresses are one client, or nobody is one")
	}
	if got := relay.ClientOf(&net.UnixAddr{Name: "x", Net: "unix"}); got != "x" {
		t.Errorf("a socket is %v", got)
	}
}
