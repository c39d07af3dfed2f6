package relay_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

// TestIdentity counts identities: what an Isolation names tells them apart, and nothing else.
func TestIdentity(t *testing.T) {
	const listener, user, client, target = relay.ByListener, relay.ByUser, relay.ByClient, relay.ByTarget
	for isolate, want := range map[relay.Isolation]int{
		0:                                 2 * 4 * 2,
		listener | user | client:          2 * 4 * 2,
		listener:                          2,
		user:                              4,
		client:                            2,
		target:                            2,
		user | target:                     4 * 2,
		listener | user | client | target: 2 * 4 * 2 * 2,
	} {
		keys := make(map[string]bool)
		r := &relay.Relay{Router: to(chain.DialerFunc(func(ctx context.Context, _, _ string) (net.Conn, error) {
			keys[chain.IdentityOf(ctx).Key] = true
			return nil, errors.New("no")
		}))}
		every := func(do func(relay.Request)) {
			for i := range 2 * 2 * 2 * 2 * 2 * 2 {
				do(relay.Request{
					Network: "tcp", Isolate: isolate,
					Listener: fmt.Sprint("l", i&1),
					Client:   &net.TCPAddr{IP: net.IPv4(192, 0, 2, byte(i>>1&1)), Port: i >> 5},
					User:     strings.Repeat("u", i>>2&1),
					Label:    strings.Repeat("u", i>>3&1),
					Addr:     fmt.Sprintf("t%d:1", i>>4&1),
				})
			}
		}
		dial := func(q relay.Request) {
			d, err := r.Route(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = r.Dial(t.Context(), q, d)
		}
		every(dial)
		if len(keys) != want {
			t.Errorf("%04b: %d keys, want %d: %v", isolate, len(keys), want, keys)
		}
		for again := range 2 { // after a new identity, no key is one from before
			r.NewIdentity()
			every(dial)
			if n := (again + 2) * want; len(keys) != n {
				t.Errorf("%04b: %d keys after %d new identities, want %d", isolate, len(keys), again+1, n)
			}
		}
	}
}

// TestIdentitiesDoNotCollide moves bytes, those that part them included, from one part to
// the next.
func TestIdentitiesDoNotCollide(t *testing.T) {
	r := &relay.Relay{}
	all := relay.ByListener | relay.ByUser | relay.ByClient | relay.ByTarget
	keys := make(map[string]relay.Request)
	for _, q := range []relay.Request{
		{},
		{Listener: "a", User: "b"},
		{Listener: "a", Addr: "b"},
		{Listener: "ab"},
		{User: "a", Label: "b"},
		{User: "ab"},
		{Label: "ab"},
		{User: "a1:b"},
		{User: "a\x00b"},
		{User: "a", Label: "\x00b"},
		{Addr: "0:0:1:a"},
	} {
		q.Isolate = all
		key := r.Identity(&q).Key
		if other, ok := keys[key]; ok {
			t.Errorf("%+v and %+v are the same", q, other)
		}
		keys[key] = q
	}
	if relay.Label("a", "b") == relay.Label("ab", "") || relay.Label("a") == relay.Label("b") {
		t.Error("labels are the same")
	}
}

// TestTunnelsAreCounted has a least-used group see tunnels as long as they live, by
// Serve and by Dial.
func TestTunnelsAreCounted(t *testing.T) {
	var far []net.Conn
	leaf := func(name string) chain.Member {
		return chain.Member{Hop: chain.Hop{Name: name, Wrap: func(next chain.Dialer) (chain.Dialer, error) { return next, nil }}}
	}
	base := chain.DialerFunc(func(context.Context, string, string) (net.Conn, error) {
		a, b := testnet.Pipe(0)
		far = append(far, b)
		return a, nil
	})
	c, err := chain.New(base, chain.Group("g", chain.GroupOptions{Strategy: chain.LeastUsed}, leaf("a"), leaf("b")))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	live := func() (n int) {
		for _, m := range c.Groups()[0].Members {
			n += m.Live
		}
		return n
	}
	r := &relay.Relay{Router: to(c)}
	client, near := testnet.Pipe(0)
	done := make(chan error, 1)
	opened := make(chan struct{})
	r.Trace = &relay.Trace{Closed: func(relay.Request, relay.Decision, relay.Stats) {
		if live() != 0 {
			t.Errorf("%d live when the tunnel has ended", live())
		}
	}}
	go func() { done <- r.Serve(t.Context(), &announced{pending{conn: near}, opened}) }()
	<-opened
	if live() != 1 {
		t.Errorf("%d live, want the one that Serve carries", live())
	}
	_ = client.Close()
	_ = far[0].Close()
	<-done
	conn, err := r.Dial(t.Context(), relay.Request{Network: "tcp", Addr: "t:1"}, relay.Decision{Dialer: c})
	if err != nil {
		t.Fatal(err)
	}
	if live() != 1 {
		t.Errorf("%d live, want the one of Dial", live())
	}
	_ = conn.Close()
	_ = far[1].Close()
	if live() != 0 {
		t.Errorf("%d live in the end", live())
	}
}

// announced tells when it is accepted.
type announced struct {
	pending
	accepted chan struct{}
}

func (a *announced) Accept() (net.Conn, error) {
	close(a.accepted)
	return a.pending.Accept()
}
