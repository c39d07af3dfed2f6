package chain_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
)

// knows is a dialer that resolves, and must not be dialled.
type knows struct {
	chain.Dialer
	answer string
	err    error
	asked  *[]string
}

func (k knows) Resolve(_ context.Context, host string) (string, error) {
	if k.asked != nil {
		*k.asked = append(*k.asked, host)
	}
	return k.answer, k.err
}

// TestResolve asks every kind of dialer, and dials nothing.
func TestResolve(t *testing.T) {
	never := testnet.NoDial(t)
	hop := func(name, answer string, err error) chain.Hop {
		return chain.Hop{Name: name, Wrap: func(chain.Dialer) (chain.Dialer, error) { return knows{never, answer, err, nil}, nil }}
	}
	silent := chain.Hop{Name: "silent", Wrap: func(chain.Dialer) (chain.Dialer, error) { return never, nil }}
	says := func(err error) chain.Hop { return hop("no", "", chain.Fail(chain.PhaseConnect, err)) }
	good := hop("good", "192.0.2.1", nil)
	group := func(hops ...chain.Hop) chain.Hop {
		var all []chain.Member
		for _, h := range hops {
			all = append(all, chain.Member{Hop: h})
		}
		return chain.Group("g", chain.GroupOptions{}, all...)
	}
	for name, test := range map[string]struct {
		hops  []chain.Hop
		errno syscall.Errno // 0: answered
	}{
		"a chain's last":        {[]chain.Hop{silent, good}, 0},
		"not a chain's first":   {[]chain.Hop{good, silent}, syscall.EOPNOTSUPP},
		"a hop that can't":      {[]chain.Hop{says(errors.ErrUnsupported)}, syscall.EOPNOTSUPP},
		"not known":             {[]chain.Hop{says(syscall.EHOSTUNREACH)}, syscall.EHOSTUNREACH},
		"spares":                {[]chain.Hop{chain.Spare(hop("p", "192.0.2.1", nil), chain.SpareOptions{})}, 0},
		"a sequence":            {[]chain.Hop{chain.Sequence("s", silent, good)}, 0},
		"a group's second":      {[]chain.Hop{group(silent, good)}, 0},
		"a group's third":       {[]chain.Hop{group(silent, says(syscall.EHOSTUNREACH), good)}, 0},
		"a group's refusal":     {[]chain.Hop{group(says(syscall.EACCES), good)}, syscall.EACCES},
		"a group where none is": {[]chain.Hop{group(silent, says(syscall.EHOSTUNREACH))}, syscall.EHOSTUNREACH},
		"dynamic":               {[]chain.Hop{chain.Dynamic("d", chain.DynamicOptions{}, silent, good)}, 0},
		"random":                {[]chain.Hop{chain.Random("r", chain.RandomOptions{Hops: 1}, good)}, 0},
	} {
		c, err := chain.New(never, test.hops...)
		if err != nil {
			t.Fatal(err)
		}
		got, err := chain.Resolve(t.Context(), c, "name.example")
		var e *chain.Error
		switch {
		case test.errno == 0 && (err != nil || got != "192.0.2.1"):
			t.Errorf("%s: %q, %v", name, got, err)
		case test.errno != 0 && (chain.Errno(err) != test.errno || !errors.As(err, &e) || e.Hop == 0):
			t.Errorf("%s: %q, %v", name, got, err)
		}
		_ = c.Close()
	}
	p := chain.PerIdentity(1, func() (chain.Dialer, error) { return knows{never, "192.0.2.1", nil, nil}, nil })
	if got, err := chain.Resolve(t.Context(), p, "name.example"); got != "192.0.2.1" || err != nil {
		t.Errorf("per identity: %q, %v", got, err)
	}
	if _, err := chain.Resolve(t.Context(), never, "name.example"); chain.Errno(err) != syscall.EOPNOTSUPP {
		t.Errorf("a base that can't: %v", err)
	}
	if _, err := chain.Resolve(t.Context(), (*chain.Chain)(nil), "name.example"); err == nil {
		t.Error("a nil chain resolves")
	}
}

// TestResolveNeverHere: that the way to a hop could resolve does not matter.
func TestResolveNeverHere(t *testing.T) {
	var asked []string
	base := knows{testnet.NoDial(t), "192.0.2.66", nil, &asked}
	for name, h := range map[string]chain.Hop{
		"a hop that can't":             {Name: "a", Wrap: func(chain.Dialer) (chain.Dialer, error) { return testnet.NoDial(t), nil }},
		"a hop that is the way itself": {Name: "b", Wrap: func(next chain.Dialer) (chain.Dialer, error) { return next, nil }},
		"a hop that is the system's":   {Name: "c", Wrap: func(chain.Dialer) (chain.Dialer, error) { return &net.Dialer{}, nil }},
	} {
		c, err := chain.New(base, h)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := chain.Resolve(t.Context(), c, "localhost"); err == nil || len(asked) > 0 {
			t.Errorf("%s: %q, base asked for %v", name, got, asked)
		}
	}
}

// TestResolveGivenUp: an ended ctx asks nobody.
func TestResolveGivenUp(t *testing.T) {
	var asked []string
	c, err := chain.New(testnet.NoDial(t), chain.Group("g", chain.GroupOptions{}, chain.Member{Hop: chain.Hop{
		Name: "a", Wrap: func(chain.Dialer) (chain.Dialer, error) { return knows{testnet.NoDial(t), "", nil, &asked}, nil },
	}}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Resolve(ctx, "name.example"); !errors.Is(err, context.Canceled) || len(asked) > 0 {
		t.Errorf("%v, asked %v", err, asked)
	}
}

// book is what net.Resolver is for Lookup.
type book map[string]string

func (b book) LookupNetIP(_ context.Context, _, host string) (all []netip.Addr, err error) {
	for _, a := range strings.Fields(b[host]) {
		all = append(all, netip.MustParseAddr(a))
	}
	return all, nil
}

func (b book) LookupAddr(_ context.Context, addr string) ([]string, error) {
	return strings.Fields(b[addr]), nil
}

func TestLookup(t *testing.T) {
	b := book{
		"both.example": "2001:db8::1 ::ffff:192.0.2.1", "six.example": "2001:db8::1",
		"192.0.2.1": "name.example. other.example.",
	}
	for host, want := range map[string]string{
		"both.example": "192.0.2.1", "six.example": "2001:db8::1", "192.0.2.1": "name.example", "none.example": "", "192.0.2.9": "",
	} {
		got, err := chain.Lookup(t.Context(), b, host)
		if got != want || (err != nil) != (want == "") || err != nil && chain.Errno(err) != syscall.EHOSTUNREACH {
			t.Errorf("%s: %q, %v", host, got, err)
		}
	}
}
