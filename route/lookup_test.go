package route_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/route"
)

// resolver resolves what it knows, and counts. It dials nothing.
type resolver struct {
	chain.Dialer
	known map[string]string
	asked []string
}

func (r *resolver) Resolve(_ context.Context, host string) (string, error) {
	r.asked = append(r.asked, host)
	if a, ok := r.known[host]; ok {
		return a, nil
	}
	return "", errors.New("no such name")
}

// TestLookup asks the far end for what a rule needs to know, and nothing else.
func TestLookup(t *testing.T) {
	far := &resolver{Dialer: testnet.NoDial(t), known: map[string]string{
		"in.example": "::ffff:192.0.2.9", "out.example": "198.51.100.1", "six.example": "2001:db8::1", "listed.example": "203.0.113.1", "odd.example": "x",
	}}
	d := testnet.NoDial(t)
	table := route.Table{
		{If: route.Match{Ports: []route.Ports{{25, 25}}}, Via: "block", Place: "1"},
		{If: route.Match{CIDRs: route.NewCIDRs(netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32"))}, Lookup: &route.Lookup{Via: "far", Dialer: far}, To: d, Via: "direct", Place: "2"},
		{If: route.Match{Lists: []*route.List{list(t, "203.0.113.0/24\nnamed.example\n")}}, Lookup: &route.Lookup{Via: "far", Dialer: far}, Via: "block", Place: "3"},
		{If: route.Match{CIDRs: route.NewCIDRs(netip.MustParsePrefix("198.51.100.0/24"))}, Via: "block", Place: "4"}, // of addresses alone
		{To: d, Via: "paris", Place: "5"},
	}
	r := &relay.Relay{Router: table}
	for _, test := range []struct {
		addr, rule, dial, asked string
	}{
		{"in.example:80", "2", "192.0.2.9:80", "in.example"},
		{"IN.example.:80", "2", "192.0.2.9:80", "in.example"},
		{"six.example:80", "2", "[2001:db8::1]:80", "six.example"},
		{"out.example:80", "5", "", "out.example"}, // the name travels on
		{"listed.example:80", "3", "", "listed.example"},
		{"in.example:25", "1", "", ""},
		{"192.0.2.1:80", "2", "", ""},
		{"0xc0000201:80", "2", "192.0.2.1:80", ""},
		{"198.51.100.1:80", "4", "", ""},
		{"unknown.example:80", "2: the look-up through far failed", "", "unknown.example"},
		{"odd.example:80", "2: the look-up through far failed", "", "odd.example"},
	} {
		far.asked = nil
		got, err := r.Route(t.Context(), relay.Request{Network: "tcp", Addr: test.addr})
		if got.Rule != test.rule || got.Dialer != nil && got.Addr != test.dial || strings.Join(far.asked, " ") != test.asked || (got.Dialer == nil) != (err != nil) {
			t.Errorf("%s: %+v, %v, asked %q", test.addr, got, err, far.asked)
		}
	}
	far.asked = nil
	got := table.Route(t.Context(), relay.Request{Network: "tcp", Addr: "in.example:80"})
	if got.Dialer != nil || got.Ask == nil || got.Via != "block" || len(far.asked) > 0 {
		t.Errorf("the router alone decides %+v, asked %q", got, far.asked)
	}
	if got, _ := table.DecideName(relay.Request{Addr: "in.example"}, monday); got.Rule != "2" || len(far.asked) > 0 {
		t.Errorf("a bare name: %+v, asked %q", got, far.asked)
	}
}

// TestNoResolver blocks where the far end can't be asked.
func TestNoResolver(t *testing.T) {
	cidr := route.Match{CIDRs: route.NewCIDRs(netip.MustParsePrefix("0.0.0.0/0"))}
	r := &relay.Relay{Router: route.Table{{If: cidr, Lookup: &route.Lookup{Via: "far", Dialer: testnet.NoDial(t)}, To: testnet.NoDial(t)}}}
	if d, err := r.Route(t.Context(), relay.Request{Network: "tcp", Addr: "a.example:80"}); !errors.Is(err, relay.ErrBlocked) || d.Dialer != nil {
		t.Errorf("%+v, %v", d, err)
	}
}
