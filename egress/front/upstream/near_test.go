package upstream_test

import (
	"net/netip"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/egress/front/place"
	"github.com/byway-proxy/byway/egress/front/upstream"
)

// clients are addresses of twenty countries, with the regions that are nearest and next.
var clients = []struct{ addr, country, first, second string }{
	{"8.8.8.8", "US", "us", "eu"},
	{"24.48.0.1", "CA", "us", "eu"},
	{"201.140.0.1", "MX", "us", "sa"},
	{"200.160.0.8", "BR", "sa", "za"},
	{"200.45.191.1", "AR", "sa", "za"},
	{"200.27.0.1", "CL", "sa", "us"},
	{"193.0.0.1", "NL", "eu", "us"},
	{"194.25.0.1", "DE", "eu", "in"},
	{"81.2.69.1", "GB", "eu", "us"},
	{"62.36.0.1", "ES", "eu", "us"},
	{"95.213.0.1", "RU", "eu", "in"},
	{"196.25.1.1", "ZA", "za", "sa"},
	{"41.206.0.1", "KE", "za", "in"},
	{"197.210.0.1", "NG", "za", "eu"},
	{"49.205.0.1", "IN", "in", "jp"},
	{"103.4.0.1", "BD", "in", "jp"},
	{"133.11.0.1", "JP", "jp", "in"},
	{"168.126.63.1", "KR", "jp", "in"},
	{"139.130.4.4", "AU", "au", "jp"},
	{"202.27.0.1", "NZ", "au", "jp"},
}

func countryOf(a netip.Addr) string {
	for _, c := range clients {
		if netip.MustParseAddr(c.addr) == a {
			return c.country
		}
	}
	return ""
}

// world returns a server or two in each region.
func world() []*upstream.Server {
	servers := serversOf("us1", "us2", "eu1", "eu2", "sa1", "za1", "in1", "jp1", "au1")
	for _, s := range servers {
		s.Region = s.Name[:2]
		at, _ := place.Of(map[string]string{"us": "US", "eu": "DE", "sa": "BR", "za": "ZA", "in": "IN", "jp": "JP", "au": "AU"}[s.Region])
		s.At = &at
	}
	return servers
}

// TestNearest asks from twenty countries, and takes the regions down one by one.
func TestNearest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		servers := world()
		p := pool(t, servers, upstream.Settings{
			Pick: upstream.Nearest, Near: upstream.Near{Country: countryOf},
			Health: upstream.Health{URL: &url.URL{Path: "/"}, Interval: time.Second},
		})
		synctest.Wait()
		down := make(map[string]bool)
		region := func(addr string) string {
			l := pick(t, p, wish(addr))
			defer l.Release()
			return l.Server.Region
		}
		for _, c := range clients {
			for range 5 {
				if got := region(c.addr); got != c.first {
					t.Errorf("%s goes to %s, not to %s", c.country, got, c.first)
				}
			}
		}
		for _, gone := range []string{"eu", "us", "jp", "sa", "in", "za"} {
			before := make(map[string]string)
			for _, c := range clients {
				before[c.country] = region(c.addr)
			}
			down[gone] = true
			for _, s := range servers {
				if s.Region == gone {
					s.Client.(*fake).set(dead)
				}
			}
			time.Sleep(2 * time.Second)
			for _, c := range clients {
				got := region(c.addr)
				switch {
				case down[got]:
					t.Errorf("%s goes to %s, which is down", c.country, got)
				case before[c.country] != gone && got != before[c.country]:
					t.Errorf("%s moved from %s to %s as %s went down", c.country, before[c.country], got, gone)
				case len(down) == 1 && c.first == gone && got != c.second:
					t.Errorf("%s goes to %s without %s, not to %s", c.country, got, gone, c.second)
				}
				from, _ := place.Of(c.country)
				for _, s := range servers {
					if at := *regionAt(servers, got); !down[s.Region] && place.Distance(from, *s.At) < place.Distance(from, at) {
						t.Errorf("%s goes to %s, and %s is nearer", c.country, got, s.Region)
					}
				}
			}
		}
		// When they come back, their clients do.
		for _, s := range servers {
			s.Client.(*fake).set(nil)
		}
		time.Sleep(2 * time.Second)
		for _, c := range clients {
			if got := region(c.addr); got != c.first {
				t.Errorf("all are back, and %s goes to %s, not to %s", c.country, got, c.first)
			}
		}
	})
}

func regionAt(servers []*upstream.Server, region string) *place.Point {
	for _, s := range servers {
		if s.Region == region {
			return s.At
		}
	}
	return nil
}

// TestNearestByLatency has the nearest region be slow: another takes its clients, and gives them back when it is well.
func TestNearestByLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pool(t, world(), upstream.Settings{Pick: upstream.Nearest, Near: upstream.Near{Country: countryOf}})
		slow := ""
		serve := func(n int) map[string]int {
			got := make(map[string]int)
			for range n {
				l := pick(t, p, wish("194.25.0.1")) // of Germany
				got[l.Server.Region]++
				took := 20 * time.Millisecond
				if l.Server.Region == slow {
					took = 2 * time.Second
				}
				time.Sleep(took)
				l.Answered(200)
				l.Release()
			}
			return got
		}
		if got := serve(500); got["eu"] != 500 {
			t.Errorf("all are well: %v", got)
		}
		slow = "eu"
		serve(200)
		if got := serve(500); got["eu"] > 50 {
			t.Errorf("the nearest is slow: %v", got)
		}
		slow = ""
		time.Sleep(30 * time.Minute)
		serve(200)
		if got := serve(500); got["eu"] < 450 {
			t.Errorf("the nearest is well again: %v", got)
		}
	})
}

func TestNearestSpills(t *testing.T) {
	servers := world()
	for _, s := range servers {
		s.Limit = 10
	}
	p := pool(t, servers, upstream.Settings{Pick: upstream.Nearest, Near: upstream.Near{Country: countryOf, Spill: 0.8}})
	got := make(map[string]int)
	for range 90 {
		got[pick(t, p, wish("194.25.0.1")).Server.Region]++
	}
	// First 8 of 10 everywhere, the nearest first; then what is left.
	if got["eu"] != 20 || got["au"] != 10 {
		t.Errorf("90 that stay are at %v", got)
	}
}

func TestNearestPinned(t *testing.T) {
	p := pool(t, world(), upstream.Settings{Pick: upstream.Nearest, Near: upstream.Near{Country: countryOf, PinHeader: "X-Region", PinCookie: "region"}})
	for _, test := range []struct{ header, cookie, want string }{
		{"", "", "eu"}, {"jp", "", "jp"}, {"", "sa", "sa"}, {"jp", "sa", "jp"}, {"mars", "", "eu"}, {"", "mars", "eu"},
	} {
		w := wish("194.25.0.1")
		if test.header != "" {
			w.Request.Header.Set("X-Region", test.header)
		}
		if test.cookie != "" {
			w.Request.Header.Set("Cookie", "region="+test.cookie)
		}
		l := pick(t, p, w)
		if l.Server.Region != test.want {
			t.Errorf("header %q, cookie %q: %s, want %s", test.header, test.cookie, l.Server.Region, test.want)
		}
		l.Release()
	}
	// Who is nowhere known is served all the same.
	pick(t, p, wish("192.0.2.1")).Release()
	pick(t, p, wish("")).Release()
}
