//go:build interop

package interop

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// member gives a peer of a chain.
type member func() (peer, error)

// speaking has the same server take another protocol.
func speaking(get member, name, scheme string) member {
	return func() (peer, error) {
		p, err := get()
		return p.as(name, scheme), err
	}
}

var (
	dante4a   = speaking(dante, "dante-4a", "socks4a")
	openssh4a = speaking(openssh, "openssh-4a", "socks4a")
	dante5h   = speaking(dante, "dante-5h", "socks5h")
)

// peers are all of them, each of which is a chain of one.
var peers = []member{dante, dante4a, dante5h, squid, tinyproxy, openssh, openssh4a, microsocks, armon, egress}

// mixed are chains of two and three.
var mixed = [][]member{
	{dante, armon},
	{armon, dante4a},
	{openssh, dante},
	{openssh4a, openssh},
	{dante, squid},
	{squid, dante},
	{tinyproxy, armon},
	{openssh, tinyproxy},
	{microsocks, dante},
	{armon, microsocks},
	{microsocks, microsocks},
	{egress, dante},
	{dante, egress},
	{squid, egress},
	{tinyproxy, egress},
	{microsocks, egress},
	{egress, squid},
	{egress, egress},
	{dante, openssh, armon},
	{armon, dante4a, openssh4a},
	{dante, squid, egress},
	{squid, tinyproxy, egress},
	{openssh, egress, dante},
	{egress, armon, openssh},
	{microsocks, tinyproxy, dante},
	{tinyproxy, microsocks, squid},
	{microsocks, egress, armon},
	{egress, microsocks, egress},
	{egress, egress, egress},
}

// TestChains sends payloads through each chain in every kind of exchange, and
// compares each byte.
func TestChains(t *testing.T) {
	var chains [][]member
	for _, p := range peers {
		chains = append(chains, []member{p})
	}
	for _, members := range append(chains, mixed...) {
		var chain []peer
		var names []string
		for _, get := range members {
			p, err := get()
			if errors.As(err, new(missing)) && os.Getenv("CI") == "" {
				t.Logf("left out a chain: %v", err)
				chain = nil
				break
			}
			p = need(t, p, err)
			chain, names = append(chain, p), append(names, p.name)
		}
		if chain == nil {
			continue
		}
		t.Run(strings.Join(names, ">"), func(t *testing.T) {
			t.Parallel()
			testChain(t, chain)
		})
	}
}

func testChain(t *testing.T, chain []peer) {
	want := through(t, chain)
	b := runChain(t, chain...)
	// The second way in finds byway's pools and what it learnt of the hops, and
	// leaves a name to the last hop.
	ways := []struct{ scheme, host string }{{"socks5", "127.0.0.1"}, {"http", "localhost"}}
	if !want.names {
		ways[1].host = "127.0.0.1"
		if _, err := exchanges[0].run(t.Context(), b.tunnel(), "localhost"); err == nil {
			t.Error("the last hop alone refuses a name, the chain takes it: who resolved it?")
		}
	}
	for _, in := range ways {
		for _, e := range exchanges {
			if e.name == bothEnd && !want.halves() {
				continue // the peer is in a race there
			}
			o, err := e.run(t.Context(), peer{scheme: in.scheme, addr: b.addr}.direct(), in.host)
			if err != nil {
				t.Fatalf("by %s, %s: %v", in.scheme, e.name, err)
			}
			if err := o.judge(e, want); err != nil {
				t.Errorf("by %s, %s: %v: %v", in.scheme, e.name, o, err)
			}
		}
	}
}

// judge compares an outcome with what the peers alone come to.
func (o outcome) judge(e exchange, want passes) error {
	first, second := o.up, o.down
	if e.name == targetEnds {
		first, second = second, first
	}
	switch {
	case first != nil:
		return errors.New("what was sent before any end must come")
	case e.oneWay:
	case want.of(e) && second != nil:
		return errors.New("the peers alone pass it on")
	case !want.of(e) && second == nil:
		return errors.New("a peer alone does not pass it on: is it in the chain?")
	case errors.Is(second, os.ErrDeadlineExceeded):
		return errors.New("where the peer cuts, byway left an end waiting")
	}
	return nil
}
