package configs

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestBadRoutes(t *testing.T) {
	testBad(t, "bad_routes.txt", "byway.toml", func(name string, data []byte) error {
		_, err := ParseClient(name, data)
		return err
	})
}

func TestRoutes(t *testing.T) {
	c, err := ParseClient("/etc/byway.toml", []byte(`
[[listen]]
address = "127.0.0.1:1080"
[[list]]
name = "ads"
file = "ads.txt"
[[list]]
name = "far"
url = "https://lists.example/far?format=hosts"
via = "direct"
max_shrink = "5 %"
subdomains = true
[geo]
database = "c.mmdb"
[[route]]
to = "block"
block = "page"
domain = ".ads.example"
list = ["ads", "far"]
cidr = "192.0.2.7"
country = ["de", "FR"]
port = 25
network = "udp"
listener = "127.0.0.1:1080"
user = "alice"
client = ["10.0.0.0/8"]
time = ["22:00-06:00", "12:00 - 24:00"]
weekday = ["fri-mon"]
timezone = "Europe/Paris"
not = { port = ["80", "100 - 200"], weekday = "mon" }
[[route]]
to = "block"
[[route.not]]
user = "bob"
[[route.not]]
user = "carol"
`))
	if err != nil {
		t.Fatal(err)
	}
	days := func(all ...time.Weekday) (d Days) {
		for _, one := range all {
			d[one] = true
		}
		return d
	}
	want := []Route{
		{
			To: "block", Answer: AnswerPage,
			Match: Match{
				Domains: []string{".ads.example"}, Lists: []string{"ads", "far"}, CIDRs: []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32")},
				Countries: []Country{"DE", "FR"}, Ports: []PortRange{{25, 25}}, Network: "udp",
				Listeners: []string{"127.0.0.1:1080"}, Users: []string{"alice"}, Clients: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
				Times: []DaySpan{{22 * 60, 6 * 60}, {12 * 60, 24 * 60}}, Weekdays: []Days{days(5, 6, 0, 1)}, Timezone: "Europe/Paris",
			},
			Not: []Match{{Ports: []PortRange{{80, 80}, {100, 200}}, Weekdays: []Days{days(1)}, Timezone: "Europe/Paris"}},
		},
		{To: "block", Answer: AnswerRefuse, Not: []Match{{Users: []string{"bob"}}, {Users: []string{"carol"}}}},
	}
	if diff := cmp.Diff(want, c.Routes, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
	lists := []List{
		{Name: "ads", File: "/etc/ads.txt", Interval: 24 * time.Hour, MaxShrink: 0.5},
		{Name: "far", URL: "https://lists.example/far?format=hosts", Via: "direct", Interval: 24 * time.Hour, MaxShrink: 0.05, Subdomains: true},
	}
	if diff := cmp.Diff(lists, c.Lists); diff != "" {
		t.Errorf("lists (-want +got):\n%s", diff)
	}
	if got := c.Errorf("route[0].not[0].port[1]", "x").Error(); got != "/etc/byway.toml:30:23: route[0].not[0].port[1]: x" {
		t.Errorf("a place in a single table is %s", got)
	}
	if zone := c.Routes[0].Location(); zone == nil || zone.String() != "Europe/Paris" || c.Routes[1].Location() != nil {
		t.Errorf("zones %v, %v", zone, c.Routes[1].Location())
	}
}
