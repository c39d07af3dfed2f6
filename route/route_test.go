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
