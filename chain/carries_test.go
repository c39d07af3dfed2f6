package chain_test

import (
	"context"
	"net"
	"testing"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
)

// carries is a dialer that says what it carries, and must not be dialled.
type carries struct {
	chain.Dialer
	udp bool
}

func (c carries) Carries(network string) bool { return network == "tcp" || c.udp }

// TestCarries asks every kind of dialer, and dials nothing.
func TestCarries(t *testing.T) {
	never := testnet.NoDial(t)
	passes := func(name string) chain.Hop { // as a SOCKS5 hop does
		return chain.Hop{Name: name, Wrap: func(next chain.Dialer) (chain.Dialer, error) {
			return carries{never, chain.Carries(next, "udp")}, nil
		}}
	}
	silent := func(name string) chain.Hop {
		return chain.Hop{Name: name, Wrap: func(chain.Dialer) (chain.Dialer, error) { return never, nil }}
	}
	yes, no := carries{never, true}, carries{never, false}
	chained := func(base chain.Dialer, hops ...chain.Hop) chain.Dialer {
		c, err := chain.New(base, hops...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	group := func(members ...chain.Hop) chain.Hop {
		var all []chain.Member
		for _, h := range members {
			all = append(all, chain.Member{Hop: h})
		}
		return chain.Group("g", chain.GroupOptions{}, all...)
	}
	for name, test := range map[string]struct {
		d    chain.Dialer
		want bool
	}{
		"the system's":             {new(net.Dialer), true},
		"a testnet's host":         {testnet.New().Host("h"), true},
		"one that is silent":       {never, false},
		"one that says no":         {no, false},
		"a chain":                  {chained(yes, passes("a"), passes("b")), true},
		"a base that is silent":    {chained(never, passes("a")), false},
		"first hop silent":         {chained(yes, silent("a"), passes("b")), false},
		"last hop silent":          {chained(yes, passes("a"), silent("b")), false},
		"spares":                   {chained(yes, chain.Spare(passes("a"), chain.SpareOptions{})), true},
		"a sequence":               {chained(yes, chain.Sequence("s", passes("a"), passes("b"))), true},
		"a sequence with a silent": {chained(yes, chain.Sequence("s", silent("a"), passes("b"))), false},
		"a group with one":         {chained(yes, group(silent("a"), passes("b"))), true},
		"a group without":          {chained(yes, group(silent("a"), silent("b"))), false},
		"a group over no":          {chained(no, group(passes("a"))), false},
		"dynamic":                  {chained(yes, chain.Dynamic("d", chain.DynamicOptions{}, silent("a"), passes("b"))), true},
		"dynamic, last silent":     {chained(yes, chain.Dynamic("d", chain.DynamicOptions{}, passes("a"), silent("b"))), false},
		"dynamic, too few":         {chained(yes, chain.Dynamic("d", chain.DynamicOptions{Least: 2}, silent("a"), passes("b"))), false},
		"random":                   {chained(yes, chain.Random("r", chain.RandomOptions{Hops: 2}, passes("a"), silent("b"), passes("c"))), true},
		"random, too few":          {chained(yes, chain.Random("r", chain.RandomOptions{Hops: 2}, passes("a"), silent("b"))), false},
		"per identity":             {chain.PerIdentity(1, func() (chain.Dialer, error) { return yes, nil }), true},
		"per identity, no":         {chain.PerIdentity(1, func() (chain.Dialer, error) { return never, nil }), false},
		"per identity, none":       {chain.PerIdentity(1, func() (chain.Dialer, error) { return nil, net.ErrClosed }), false},
		"nothing":                  {nil, false},
		"a nil chain":              {(*chain.Chain)(nil), false},
	} {
		if got := chain.Carries(test.d, "udp"); got != test.want {
			t.Errorf("%s: udp %t", name, got)
		}
	}
	if !chain.Carries(never, "tcp") || chain.Carries(new(net.Dialer), "ip") {
		t.Error("tcp is carried by all, ip by none")
	}
}

// preparer is a dialer that spares can be made of.
type preparer struct{ carries }

func (preparer) Prepare(context.Context) (net.Conn, error) { return nil, net.ErrClosed }

func (preparer) DialOver(context.Context, net.Conn, string, string) (net.Conn, error) {
	return nil, net.ErrClosed
}

func TestSparesCarry(t *testing.T) {
	for _, udp := range []bool{true, false} {
		h := chain.Spare(chain.Hop{Name: "a", Wrap: func(chain.Dialer) (chain.Dialer, error) {
			return preparer{carries{testnet.NoDial(t), udp}}, nil
		}}, chain.SpareOptions{})
		c, err := chain.New(testnet.NoDial(t), h)
		if err != nil {
			t.Fatal(err)
		}
		if c.Carries("udp") != udp {
			t.Errorf("not %t", udp)
		}
		_ = c.Close()
	}
}
