package route_test

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/byway-proxy/byway/chain"
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

func names(t testing.TB, patterns ...string) *route.Names {
	t.Helper()
	n, err := route.NewNames(patterns...)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func list(t testing.TB, text string) *route.List {
	t.Helper()
	l := route.NewList("list")
	c, err := route.ParseList([]byte(text), route.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	l.Set(c)
	return l
}

// request reads "network addr user listener client"; a dash stands for nothing.
func request(text string) relay.Request {
	f := strings.Fields(text)
	for len(f) < 5 {
		f = append(f, "-")
	}
	for i := range f {
		f[i] = strings.TrimPrefix(f[i], "-")
	}
	q := relay.Request{Network: f[0], Addr: f[1], User: f[2], Listener: f[3]}
	if f[4] != "" {
		q.Client = net.TCPAddrFromAddrPort(netip.MustParseAddrPort(f[4]))
	}
	return q
}

var monday = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// TestConditions has a rule of each kind, and requests that it fits and that it
// doesn't.
func TestConditions(t *testing.T) {
	cidrs := func(all ...string) *route.CIDRs {
		var p []netip.Prefix
		for _, one := range all {
			p = append(p, netip.MustParsePrefix(one))
		}
		return route.NewCIDRs(p...)
	}
	for name, test := range map[string]struct {
		rule    route.Rule
		in, out []string
	}{
		"all":      {route.Rule{}, []string{"tcp a.example:1", "udp 192.0.2.1:1 u l 127.0.0.1:9"}, []string{"tcp a..b:1", "tcp 1.2.3.256:1"}},
		"names":    {route.Rule{If: route.Match{Names: names(t, "a.example", ".b.example")}}, []string{"tcp A.example.:1", "tcp w.b.example:2"}, []string{"tcp w.a.example:1", "tcp 192.0.2.1:1"}},
		"lists":    {route.Rule{If: route.Match{Lists: []*route.List{list(t, "a.example"), list(t, "192.0.2.0/24")}}}, []string{"tcp a.example:1", "tcp 192.0.2.9:1", "tcp 0xc0000209:1"}, []string{"tcp b.example:1", "tcp 192.0.3.1:1"}},
		"cidrs":    {route.Rule{If: route.Match{CIDRs: cidrs("192.0.2.0/24", "2001:db8::/32")}}, []string{"tcp 192.0.2.9:1", "tcp [::ffff:192.0.2.1]:1", "tcp [2001:DB8::1]:1", "tcp 3221225985:1"}, []string{"tcp a.example:1", "tcp 192.0.3.1:1"}},
		"ports":    {route.Rule{If: route.Match{Ports: []route.Ports{{25, 25}, {6000, 6010}}}}, []string{"tcp a.example:25", "udp a.example:6010"}, []string{"tcp a.example:26", "tcp a.example:6011"}},
		"network":  {route.Rule{If: route.Match{Network: "udp"}}, []string{"udp a.example:1"}, []string{"tcp a.example:1"}},
		"users":    {route.Rule{If: route.Match{Users: []string{"alice", "bob"}}}, []string{"tcp a.example:1 bob"}, []string{"tcp a.example:1", "tcp a.example:1 Bob"}},
		"listener": {route.Rule{If: route.Match{Listeners: []string{"localhost:1080", ":1081", "unix:/run/x.sock", "[::1]:1082"}}}, []string{"tcp a.example:1 - 127.0.0.1:1080", "tcp a.example:1 - [::]:1081", "tcp a.example:1 - /run/x.sock", "tcp a.example:1 - [::1]:1082"}, []string{"tcp a.example:1 - 127.0.0.1:1081", "tcp a.example:1 - 192.0.2.1:1080", "tcp a.example:1 - /run/y.sock"}},
		"clients":  {route.Rule{If: route.Match{Clients: cidrs("10.0.0.0/8")}}, []string{"tcp a.example:1 - - 10.1.1.1:5", "tcp a.example:1 - - [::ffff:10.1.1.1]:5"}, []string{"tcp a.example:1 - - 11.0.0.1:5", "tcp a.example:1"}},
		"hours":    {route.Rule{If: route.Match{Hours: &route.Hours{Spans: []route.Span{{600, 601}}, Zone: time.UTC}}}, []string{"tcp a.example:1"}, nil},
		"and":      {route.Rule{If: route.Match{Names: names(t, ".a.example"), Ports: []route.Ports{{25, 25}}}}, []string{"tcp w.a.example:25"}, []string{"tcp w.a.example:26", "tcp b.example:25"}},
		"not": {
			route.Rule{If: route.Match{Names: names(t, ".a.example")}, Not: []route.Match{{Names: names(t, "ok.a.example"), Ports: []route.Ports{{443, 443}}}, {Users: []string{"alice"}}}},
			[]string{"tcp a.example:443", "tcp ok.a.example:80"},
			[]string{"tcp ok.a.example:443", "tcp a.example:443 alice"},
		},
	} {
		test.rule.Via, test.rule.Place = "block", "here"
		table := route.Table{test.rule, {Via: "block", Place: "else"}}
		for _, text := range test.in {
			if d, i := table.Decide(request(text), monday); i != 0 || d.Rule != "here" {
				t.Errorf("%s: %s is not in: %+v", name, text, d)
			}
		}
		for _, text := range test.out {
			if d, i := table.Decide(request(text), monday); i == 0 {
				t.Errorf("%s: %s is in: %+v", name, text, d)
			}
		}
	}
}

func TestWhatIsDialled(t *testing.T) {
	table := route.Table{{To: testnet.NoDial(t), Via: "direct"}}
	for addr, want := range map[string]string{"a.example.:80": "", "A.Example:80": "", "0x7f.1:80": "127.0.0.1:80", "ü.example:80": "xn--tda.example:80"} {
		if d, _ := table.Decide(relay.Request{Network: "tcp", Addr: addr}, monday); d.Addr != want || d.Dialer == nil {
			t.Errorf("%s: %+v", addr, d)
		}
	}
}

func TestHours(t *testing.T) {
	paris, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		t.Skip(err)
	}
	night := &route.Hours{Spans: []route.Span{{22 * 60, 6 * 60}}, Days: []time.Weekday{time.Friday}, Zone: time.UTC}
	office := &route.Hours{Spans: []route.Span{{9 * 60, 12 * 60}, {13 * 60, 17 * 60}}, Days: []time.Weekday{1, 2, 3, 4, 5}, Zone: paris}
	allDay := &route.Hours{Spans: []route.Span{{0, 0}}, Zone: time.UTC}
	untilMidnight := &route.Hours{Spans: []route.Span{{12 * 60, 24 * 60}}, Days: []time.Weekday{time.Sunday}, Zone: time.UTC}
	for _, test := range []struct {
		hours *route.Hours
		at    string
		want  bool
	}{
		{night, "2026-11-27T21:59:59Z", false}, // a Friday
		{night, "2026-11-27T22:00:00Z", true},
		{night, "2026-11-28T05:59:59Z", true}, // still Friday's
		{night, "2026-11-28T06:00:00Z", false},
		{night, "2026-11-28T22:00:00Z", false},
		{night, "2026-11-27T03:00:00Z", false}, // Thursday's
		{office, "2026-11-27T08:00:00Z", true}, // nine in Paris
		{office, "2026-11-27T07:59:59Z", false},
		{office, "2026-07-03T07:00:00Z", true}, // nine in summer
		{office, "2026-11-27T11:30:00Z", false},
		{office, "2026-11-27T12:00:00Z", true},
		{office, "2026-11-28T12:00:00Z", false},
		{allDay, "2026-11-28T12:00:00Z", true},
		{untilMidnight, "2026-11-29T23:59:59Z", true},
		{untilMidnight, "2026-11-30T00:00:00Z", false},
	} {
		at, err := time.Parse(time.RFC3339, test.at)
		if err != nil {
			t.Fatal(err)
		}
		table := route.Table{{If: route.Match{Hours: test.hours}}}
		if _, i := table.Decide(request("tcp a.example:1"), at); (i == 0) != test.want {
			t.Errorf("%v at %s: %v", test.hours.Spans, test.at, i == 0)
		}
	}
}

// TestAbsentList has requests blocked that depend on a list that is not there yet.
func TestAbsentList(t *testing.T) {
	d := testnet.NoDial(t)
	absent := route.NewList("secret")
	table := route.Table{
		{If: route.Match{Lists: []*route.List{absent}, Ports: []route.Ports{{443, 443}}}, To: d, Via: "paris", Place: "f:1"},
		{If: route.Match{Ports: []route.Ports{{80, 80}}}, Not: []route.Match{{Lists: []*route.List{absent}}}, To: d, Via: "direct", Place: "f:2"},
		{To: d, Via: "direct", Place: "f:3"},
	}
	check := func(addr, via, rule string) {
		t.Helper()
		got := table.Route(t.Context(), relay.Request{Network: "tcp", Addr: addr})
		if got.Via != via || got.Rule != rule || (got.Dialer == nil) != (via == "block") {
			t.Errorf("%s: %+v", addr, got)
		}
	}
	check("a.example:443", "block", "f:1: list secret was not fetched yet")
	check("a.example:80", "block", "f:2: list secret was not fetched yet")
	check("a.example:22", "direct", "f:3")
	if got, _ := table.DecideName(relay.Request{Addr: "a.example"}, monday); got.Dialer != nil {
		t.Errorf("a bare name: %+v", got)
	}
	c, _ := route.ParseList([]byte("a.example\n"), route.ListOptions{})
	absent.Set(c)
	check("a.example:443", "paris", "f:1")
	check("a.example:80", "direct", "f:3")
	check("b.example:80", "direct", "f:2")
}

func TestDecideName(t *testing.T) {
	d := testnet.NoDial(t)
	table := route.Table{
		{If: route.Match{Names: names(t, "mail.example"), Ports: []route.Ports{{25, 25}}}, Via: "block", Place: "1"},
		{If: route.Match{Names: names(t, "only443.example"), Ports: []route.Ports{{443, 443}}}, To: d, Via: "paris", Place: "2"},
		{If: route.Match{Names: names(t, ".ads.example", "only443.example")}, Via: "block", Place: "3"},
		{If: route.Match{Network: "udp"}, Via: "block", Place: "4"},
		{If: route.Match{Names: names(t, "not.example")}, Not: []route.Match{{Ports: []route.Ports{{80, 80}}}}, Via: "block", Place: "5"},
		{To: d, Via: "direct", Place: "6"},
	}
	for name, want := range map[string]string{
		"mail.example": "6", "only443.example.": "2", "W.ads.example": "3", "not.example": "6", "other.example": "6", "192.0.2.1": "6",
	} {
		got, _ := table.DecideName(relay.Request{Addr: name}, monday)
		if got.Rule != want || (got.Dialer == nil) != (want == "3") {
			t.Errorf("%s: %+v, want rule %s", name, got, want)
		}
	}
	if got, i := table.DecideName(relay.Request{Addr: "a..b"}, monday); got.Dialer != nil || i != -1 {
		t.Errorf("no name: %+v", got)
	}
}

type udpCarrier struct{ chain.Dialer }

func (udpCarrier) Carries(string) bool { return true }

func TestMayCarry(t *testing.T) {
	no, yes := testnet.NoDial(t), udpCarrier{testnet.NoDial(t)}
	someNames := route.Match{Names: names(t, "a.example")}
	for name, test := range map[string]struct {
		table route.Table
		want  bool
	}{
		"empty":             {nil, false},
		"one that can":      {route.Table{{To: yes}}, true},
		"one that can't":    {route.Table{{To: no}}, false},
		"a later one":       {route.Table{{If: someNames}, {To: yes}}, true},
		"for some targets":  {route.Table{{If: someNames, To: yes}, {}}, true},
		"behind all":        {route.Table{{}, {To: yes}}, false},
		"behind all of UDP": {route.Table{{If: route.Match{Network: "udp"}}, {To: yes}}, false},
		"for others":        {route.Table{{If: route.Match{Users: []string{"bob"}}, To: yes}}, false},
		"for the user":      {route.Table{{If: route.Match{Users: []string{"alice"}}, To: yes}}, true},
		"of TCP":            {route.Table{{If: route.Match{Network: "tcp"}, To: yes}}, false},
	} {
		if got := test.table.MayCarry(t.Context(), relay.Request{Network: "udp", User: "alice"}); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestConcerns(t *testing.T) {
	udp, tcp := route.Match{Network: "udp"}, route.Match{Network: "tcp"}
	some := route.Match{Network: "udp", Names: names(t, "a.example")}
	for name, test := range map[string]struct {
		rule     route.Rule
		udp, tcp bool
	}{
		"all":               {route.Rule{}, true, true},
		"UDP":               {route.Rule{If: udp}, true, false},
		"TCP":               {route.Rule{If: tcp}, false, true},
		"not UDP":           {route.Rule{Not: []route.Match{udp}}, false, true},
		"not TCP":           {route.Rule{Not: []route.Match{tcp}}, true, false},
		"not some UDP":      {route.Rule{Not: []route.Match{some}}, true, true},
		"not some, not UDP": {route.Rule{Not: []route.Match{some, udp}}, false, true},
		"some UDP":          {route.Rule{If: some}, true, false},
		"UDP, and not UDP":  {route.Rule{If: udp, Not: []route.Match{udp}}, false, false},
	} {
		if u, c := test.rule.Concerns("udp"), test.rule.Concerns("tcp"); u != test.udp || c != test.tcp {
			t.Errorf("%s: of UDP %v, of TCP %v", name, u, c)
		}
	}
}

func TestBadPatterns(t *testing.T) {
	for pattern, want := range map[string]string{
		"192.0.2.1": "is an address", "0x7f.1": "is an address", "a..b": "is not a name", "": "is not a name", ".": "is not a name",
		"https://a.example": "is not a name", "a.example/": "is not a name", "regexp:(": "is not a regular expression", "keyword:": "is empty",
		"keyword:ü": "beyond ASCII", "*.ü*.example": "wildcards", "*/x": "wildcards", "a.1": "is not a name",
	} {
		_, err := route.NewNames("ok.example", pattern)
		wrong, ok := err.(*route.PatternError)
		if !ok || wrong.Index != 1 || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", pattern, err)
		}
	}
}

func FuzzNames(f *testing.F) {
	for _, s := range []string{"a.example", ".a.example", "*.a.example", "a*b.example", "keyword:a", "regexp:^a+$", "full:a.b", "domain:a.b", "ü.example", "192.0.2.1"} {
		f.Add(s, "w.a.example:443")
	}
	f.Fuzz(func(t *testing.T, pattern, addr string) {
		n, err := route.NewNames(pattern)
		if err != nil {
			return
		}
		table := route.Table{{If: route.Match{Names: n}}}
		d, i := table.Decide(relay.Request{Network: "tcp", Addr: addr}, monday)
		target, err := route.ParseTarget(addr)
		if i == 0 && (err != nil || target.Name == "") {
			t.Errorf("%q fits %q: %+v", pattern, addr, d)
		}
		// Whatever the spelling, the decision is that for the one form.
		if err == nil && target.Name != "" {
			if _, j := table.Decide(relay.Request{Network: "tcp", Addr: net.JoinHostPort(target.Name, "1")}, monday); i != j {
				t.Errorf("%q: %q is decided by %d, and %q by %d", pattern, addr, i, target.Name, j)
			}
		}
	})
}
