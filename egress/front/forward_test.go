package front_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/byway-proxy/byway/egress/front"
)

// TestForwarded has an upstream be told the truth of where a request came from, whatever
// the client says, unless it is trusted.
func TestForwarded(t *testing.T) {
	lie := http.Header{
		"X-Forwarded-For": {"10.9.9.9", "203.0.113.7"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"evil.example"},
		"Forwarded": {"for=10.9.9.9"}, "X-Real-Ip": {"10.9.9.9"}, "True-Client-Ip": {"10.9.9.9"}, "X-Original-Url": {"/admin"},
	}
	underscored := http.Header{"X_forwarded_for": {"10.9.9.9"}, "X-Real_ip": {"10.9.9.9"}, "X_stays": {"1"}}
	trusted := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")}
	for name, test := range map[string]struct {
		peer    string
		trusted []netip.Prefix
		sent    http.Header
		want    http.Header
	}{
		"a stranger": {"198.51.100.1:4000", nil, lie, http.Header{
			"X-Forwarded-For": {"198.51.100.1"}, "X-Forwarded-Proto": {"http"}, "X-Forwarded-Host": {"a.example"},
			"Forwarded": {`for=198.51.100.1;host="a.example";proto=http`},
		}},
		"a stranger beside trusted ones": {"198.51.100.1:4000", trusted, lie, http.Header{
			"X-Forwarded-For": {"198.51.100.1"}, "X-Forwarded-Proto": {"http"}, "X-Forwarded-Host": {"a.example"},
			"Forwarded": {`for=198.51.100.1;host="a.example";proto=http`},
		}},
		"a trusted one": {"192.0.2.1:4000", trusted, lie, http.Header{
			"X-Forwarded-For": {"10.9.9.9, 203.0.113.7, 192.0.2.1"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"evil.example"},
			"Forwarded": {`for=10.9.9.9, for=192.0.2.1;host="a.example";proto=http`}, "X-Real-Ip": {"10.9.9.9"}, "True-Client-Ip": {"10.9.9.9"}, "X-Original-Url": {"/admin"},
		}},
		"a stranger with underscores": {"198.51.100.1:4000", nil, underscored, http.Header{
			"X-Forwarded-For": {"198.51.100.1"}, "X-Forwarded-Proto": {"http"}, "X-Forwarded-Host": {"a.example"},
			"Forwarded": {`for=198.51.100.1;host="a.example";proto=http`}, "X_stays": {"1"},
		}},
		"a trusted one by IPv6": {"[2001:db8::1]:4000", trusted, nil, http.Header{
			"X-Forwarded-For": {"2001:db8::1"}, "X-Forwarded-Proto": {"http"}, "X-Forwarded-Host": {"a.example"},
			"Forwarded": {`for="[2001:db8::1]";host="a.example";proto=http`},
		}},
		"per connection": {"198.51.100.1:4000", nil, http.Header{
			"Connection": {"close, X-Secret, Upgrade, HTTP2-Settings", "Cookie"}, "X-Secret": {"1"}, "Cookie": {"a=b"}, "Te": {"gzip, trailers"}, "Keep-Alive": {"5"},
			"Proxy-Authorization": {"Bearer x"}, "Upgrade": {"h2c"}, "Http2-Settings": {"x"}, "X-Stays": {"1"},
		}, http.Header{
			"X-Forwarded-For": {"198.51.100.1"}, "X-Forwarded-Proto": {"http"}, "X-Forwarded-Host": {"a.example"},
			"Forwarded": {`for=198.51.100.1;host="a.example";proto=http`}, "Te": {"trailers"}, "X-Stays": {"1"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var seen http.Header
			origin := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.Header }))
			defer origin.Close()
			p := proxyTo(t, origin.URL)
			p.Trusted, p.Name = test.trusted, ""
			r := httptest.NewRequest("GET", "http://a.example/", nil)
			r.RemoteAddr = test.peer
			for k, v := range test.sent {
				r.Header[k] = v
			}
			get(t, p, r)
			if diff := cmp.Diff(test.want, seen); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// FuzzForwarded has no stranger be believed.
func FuzzForwarded(f *testing.F) {
	f.Add("10.0.0.1", "for=10.0.0.1", `a";for=10.0.0.1`)
	f.Add("192.0.2.1, 10.0.0.1", `for="[::1]"`, "x")
	f.Fuzz(func(t *testing.T, xff, fwd, host string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr, r.Host = "198.51.100.1:4000", host
		r.Header["X-Forwarded-For"], r.Header["Forwarded"] = []string{xff}, []string{fwd}
		trusted := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		h := front.ForwardedFields(r, trusted)
		if got := h["X-Forwarded-For"]; len(got) != 1 || got[0] != "198.51.100.1" {
			t.Errorf("X-Forwarded-For is %q", got)
		}
		if got := front.ClientOf(r, trusted); got != netip.MustParseAddr("198.51.100.1") {
			t.Errorf("the client is %v", got)
		}
		// Behind a trusted peer the client is what that says, and never what is before it.
		r.RemoteAddr = "192.0.2.1:4000"
		r.Header["X-Forwarded-For"] = []string{xff, "203.0.113.5"}
		if got := front.ClientOf(r, trusted); got != netip.MustParseAddr("203.0.113.5") {
			t.Errorf("behind a trusted peer the client is %v", got)
		}
	})
}
