package relay_test

import (
	"context"
	"errors"
	"net"
	"strings"
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

// TestHandshakeOver is told before the dial, and not of a request that has no place among
// the tunnels: whatever holds a conn, one of the two limits counts it.
func TestHandshakeOver(t *testing.T) {
	for name, c := range map[string]struct {
		blocked, early bool
		limit          int
		want           bool
	}{
		"dialled":        {want: true},
		"accepted first": {early: true, want: true},
		"blocked":        {blocked: true},
		"too many":       {limit: 1},
	} {
		over := false
		dialer := chain.DialerFunc(func(context.Context, string, string) (net.Conn, error) {
			if !over {
				t.Errorf("%s: dialled as a handshake", name)
			}
			return nil, errors.New("no")
		})
		r := &relay.Relay{Limit: c.limit, Router: relay.RouterFunc(func(_ context.Context, q relay.Request) relay.Decision {
			if over {
				t.Errorf("%s: over before it was routed", name)
			}
			if c.blocked {
				return relay.Decision{}
			}
			// As a look-up may be asked for, which takes its time.
			return relay.Decision{Ask: func(context.Context) relay.Decision {
				if over {
					t.Errorf("%s: over before the look-up", name)
				}
				return relay.Decision{Dialer: dialer}
			}}
		})}
		if c.limit > 0 {
			busy, busyTarget := testnet.Pipe(0)
			defer busyTarget.Close()
			d := relay.Decision{Dialer: chain.DialerFunc(func(context.Context, string, string) (net.Conn, error) { return busy, nil })}
			conn, err := r.Dial(t.Context(), relay.Request{Network: "tcp", Addr: "x.test:1"}, d)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
		}
		client, app := testnet.Pipe(0)
		defer app.Close()
		q := relay.Request{Network: "tcp", Addr: "x.test:1", EarlyReply: c.early}
		_ = r.Serve(relay.WithHandshake(t.Context(), func() { over = true }), &asked{pending{conn: client}, q})
		if over != c.want {
			t.Errorf("%s: over is %v", name, over)
		}
	}
}

// asked is a pending of any request.
type asked struct {
	pending
	request relay.Request
}

func (a *asked) Request() relay.Request { return a.request }

// TestResolveAsJudged asks for the target that the rules saw, in whatever form it was written.
func TestResolveAsJudged(t *testing.T) {
	for _, c := range []struct{ host, dial, ask, want string }{
		{"name.test", "", "name.test", "192.0.2.7"},
		{"bücher.test", "xn--bcher-kva.test:0", "xn--bcher-kva.test", "192.0.2.7"},
		{"0x7f.1", "127.0.0.1:0", "", "127.0.0.1"},
		{"::ffff:192.0.2.1", "192.0.2.1:0", "192.0.2.1", "192.0.2.7"},
	} {
		var asked []string
		d := relay.Decision{Dialer: &asker{asked: &asked}, Addr: c.dial}
		r := &relay.Relay{Router: relay.RouterFunc(func(context.Context, relay.Request) relay.Decision { return d })}
		got, err := r.Resolve(t.Context(), relay.Request{Network: "tcp", Addr: net.JoinHostPort(c.host, "0")}, c.host)
		if err != nil || got != c.want || strings.Join(asked, " ") != c.ask || r.Live() != 0 {
			t.Errorf("%s: %q, %v; asked for %q, %d live", c.host, got, err, asked, r.Live())
		}
	}
}

// asker is a chain.Resolver that notes what it is asked.
type asker struct {
	chain.Dialer
	asked *[]string
}

func (a *asker) Resolve(_ context.Context, host string) (string, error) {
	*a.asked = append(*a.asked, host)
	return "192.0.2.7", nil
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
