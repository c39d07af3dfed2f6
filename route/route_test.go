package route_test

import (
	"testing"

	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/route"
)

func TestTable(t *testing.T) {
	d := testnet.NoDial(t)
	q := relay.Request{Network: "tcp", Addr: "example.com:443"}
	for name, test := range map[string]struct {
		table route.Table
		via   string
		dials bool
	}{
		"nil":        {nil, "block", false},
		"empty":      {route.Table{}, "block", false},
		"block":      {route.Table{{Via: "block"}, {Via: "direct", To: d}}, "block", false},
		"first wins": {route.Table{{Via: "paris", To: d}, {Via: "block"}}, "paris", true},
	} {
		got := test.table.Route(t.Context(), q)
		if got.Via != test.via || (got.Dialer != nil) != test.dials {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestMayCarry(t *testing.T) {
	for name, test := range map[string]struct {
		table route.Table
		want  bool
	}{
		"empty":  {nil, false},
		"block":  {route.Table{{Via: "block"}}, false},
		"silent": {route.Table{{Via: "paris", To: testnet.NoDial(t)}}, false},
		"direct": {route.Table{{Via: "direct", To: testnet.New().Host("here")}}, true},
	} {
		if got := test.table.MayCarry(t.Context(), relay.Request{Network: "udp"}); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
