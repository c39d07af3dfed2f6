package route_test

import (
	"net/netip"
	"testing"

	"github.com/byway-proxy/byway/route"
)

func TestShadowed(t *testing.T) {
	m := func(patterns ...string) route.Match { return route.Match{Names: names(t, patterns...)} }
	p := func(from, to uint16) route.Match { return route.Match{Ports: []route.Ports{{from, to}}} }
	c := func(cidr string) route.Match { return route.Match{CIDRs: route.NewCIDRs(netip.MustParsePrefix(cidr))} }
	l := list(t, "a.example")
	for name, test := range map[string]struct {
		first, second route.Rule
		want          bool
	}{
		"all":             {route.Rule{}, route.Rule{If: m("a.example")}, true},
		"all twice":       {route.Rule{}, route.Rule{}, true},
		"less first":      {route.Rule{If: m("a.example")}, route.Rule{}, false},
		"suffix":          {route.Rule{If: m(".a.example")}, route.Rule{If: m("a.example", "w.a.example", ".x.a.example", "*.a.example")}, true},
		"below":           {route.Rule{If: m("*.a.example")}, route.Rule{If: m(".a.example")}, false},
		"exact":           {route.Rule{If: m("a.example")}, route.Rule{If: m(".a.example")}, false},
		"keyword":         {route.Rule{If: m("keyword:ads")}, route.Rule{If: m(".ads.example", "keyword:ads")}, true},
		"another keyword": {route.Rule{If: m("keyword:ads")}, route.Rule{If: m("keyword:ad")}, false},
		"regexp":          {route.Rule{If: m("regexp:a")}, route.Rule{If: m("regexp:a", "ba.example")}, true},
		"spelling":        {route.Rule{If: m("ü.example")}, route.Rule{If: m("XN--TDA.example.")}, true},
		"ports":           {route.Rule{If: p(1, 100)}, route.Rule{If: p(5, 6)}, true},
		"more ports":      {route.Rule{If: p(1, 100)}, route.Rule{If: p(5, 101)}, false},
		"cidr":            {route.Rule{If: c("10.0.0.0/8")}, route.Rule{If: c("10.1.0.0/16")}, true},
		"another cidr":    {route.Rule{If: c("10.0.0.0/8")}, route.Rule{If: c("0.0.0.0/0")}, false},
		"list":            {route.Rule{If: route.Match{Lists: []*route.List{l}}}, route.Rule{If: route.Match{Lists: []*route.List{l}, Users: []string{"u"}}}, true},
		"another list":    {route.Rule{If: route.Match{Lists: []*route.List{l}}}, route.Rule{If: route.Match{Lists: []*route.List{list(t, "a.example")}}}, false},
		"not":             {route.Rule{Not: []route.Match{m("a.example")}}, route.Rule{If: m("b.example")}, false},
		"the same not":    {route.Rule{Not: []route.Match{m("a.example")}}, route.Rule{Not: []route.Match{m(".a.example")}}, true},
		"network":         {route.Rule{If: route.Match{Network: "udp"}}, route.Rule{If: route.Match{Network: "udp", Users: []string{"u"}}}, true},
		"another network": {route.Rule{If: route.Match{Network: "udp"}}, route.Rule{}, false},
	} {
		got := route.Table{test.first, test.second}.Shadowed()
		if (len(got) == 1) != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
