package egress

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/byway-proxy/byway/configs"
)

// services is a Resolver that knows one name of SRV records, and where its target is.
type services struct{ port uint16 }

func (s services) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if host != "target.example" {
		return nil, errors.New("no such host")
	}
	return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
}

func (s services) LookupSRV(_ context.Context, _, _, name string) (string, []*net.SRV, error) {
	if name != "_http._tcp.example.org" {
		return "", nil, errors.New("no such service")
	}
	return name, []*net.SRV{{Target: "target.example.", Port: s.port}}, nil
}

func website(t *testing.T, text string, r services) (*Website, error) {
	t.Helper()
	c, err := configs.ParseFront(filepath.Join(t.TempDir(), "front.toml"), []byte("listen = [{ address = '127.0.0.1:0', plain = true }]\n"+text))
	if err != nil {
		t.Fatal(err)
	}
	w, err := NewWebsite(c, WayBehind{(&net.Dialer{}).DialContext, r}, nil)
	if err == nil {
		t.Cleanup(w.Close)
	}
	return w, err
}

// TestWebsite builds sites of every kind from a file, and asks them.
func TestWebsite(t *testing.T) {
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Proto+" "+r.Host+" "+r.URL.Path+" "+r.Header.Get("X-In"))
	})
	plain := httptest.NewServer(hello)
	defer plain.Close()
	secure := httptest.NewUnstartedServer(hello)
	secure.EnableHTTP2 = true
	secure.StartTLS()
	defer secure.Close()
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "error.html"), []byte("an error page"), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddrPort(plain.Listener.Addr().String())
	w, err := website(t, strings.NewReplacer("PLAIN", plain.URL, "SECURE", secure.URL, "CA", ca, "DIR", dir).Replace(`
[[site]]
host = "www.example.org"
upstream = "PLAIN/base"
request_headers = ["X-In: yes"]
response_headers = ["X-Out: yes"]
error_pages = 'DIR'
[[site.path]]
match = "/tls/*"
strip_prefix = true
[[site.path.upstream]]
url = "SECURE"
ca = 'CA'
server_name = "example.com"
[[site.path]]
match = "/untrusted/*"
upstream = "SECURE"
[[site.path]]
match = "/srv/*"
upstream = "http+srv://_http._tcp.example.org"
[[site.path]]
match = "/old"
redirect = "https://new.example{path}"
[[site.path]]
match = "/gone"
status = 410
[[site]]
status = 404
`), services{addr.Port()})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		host, path string
		status     int
		body       string
	}{
		{"www.example.org", "/x", 200, "HTTP/1.1 www.example.org /base/x yes"},
		{"www.example.org", "/tls/x", 200, "HTTP/2.0 www.example.org /x "},
		{"www.example.org", "/untrusted/x", 502, "an error page"},
		{"www.example.org", "/srv/x", 200, "HTTP/1.1 www.example.org /srv/x "},
		{"www.example.org", "/old", 308, ""},
		{"www.example.org", "/gone", 410, "an error page"},
		{"other.example", "/x", 404, ""},
	} {
		r := httptest.NewRequest("GET", "http://"+test.host+test.path, nil)
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, r)
		if rec.Code != test.status || rec.Body.String() != test.body {
			t.Errorf("%s%s: %d %q, want %d %q", test.host, test.path, rec.Code, rec.Body, test.status, test.body)
		}
		if test.path == "/x" && test.status == 200 && rec.Header().Get("X-Out") != "yes" {
			t.Errorf("%s: %v", test.path, rec.Header())
		}
	}
}

// TestWebsiteErrors has what can't be built be told with its place.
func TestWebsiteErrors(t *testing.T) {
	dir := t.TempDir()
	_ = os.WriteFile(filepath.Join(dir, "bad.pem"), []byte("no certificate"), 0o600)
	for text, want := range map[string]string{
		"[[site]]\nroot = 'DIR/none'":                                              "front.toml:3:8: site[0].root: the website's folder cannot be opened",
		"[[site]]\nstatus = 404\nerror_pages = 'DIR/none'":                         "front.toml:4:15: site[0].error_pages: the folder cannot be opened",
		"[[site]]\nupstream = [{ url = 'https://127.0.0.1', ca = 'DIR/bad.pem' }]": "front.toml:3:47: site[0].upstream[0].ca: cannot be used: there is no certificate in it",
		"[[site]]\nupstream = [{ url = 'http://127.0.0.1', at = 'DE' }]\nbalance = { pick = 'nearest' }\n[geo]\ndatabase = 'DIR/bad.pem'": "front.toml:6:12: geo.database: cannot be used",
	} {
		_, err := website(t, strings.ReplaceAll(text, "DIR", dir), services{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n%v\nwant %s", text, err, want)
		}
	}
}

// TestWebsiteOfTheWorld leads addresses of twenty countries to the nearest region, by a real database, which .ci/run fetches.
func TestWebsiteOfTheWorld(t *testing.T) {
	found, _ := filepath.Glob("../.ci/data/node_modules/@ip-location-db/geo-whois-asn-country-mmdb/*country.mmdb")
	if len(found) == 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("no database of countries: run .ci/run install")
		}
		t.Skip("no database of countries")
	}
	database, err := filepath.Abs(found[0])
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	text.WriteString("geo = { database = '" + database + "' }\n[[site]]\ntrusted_proxies = ['192.0.2.0/24']\nbalance = { pick = 'nearest', pin_cookie = 'region' }\n")
	for _, code := range []string{"US", "DE", "BR", "ZA", "SG", "JP", "AU"} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, code) }))
		defer s.Close()
		text.WriteString("[[site.upstream]]\nurl = '" + s.URL + "'\nregion = '" + code + "'\nat = '" + code + "'\n")
	}
	w, err := website(t, text.String(), services{})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(addr, cookie string) string {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = "192.0.2.1:4000"
		r.Header.Set("X-Forwarded-For", addr)
		r.Header.Set("Cookie", "region="+cookie)
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, r)
		return rec.Body.String()
	}
	for addr, want := range map[string]string{
		"8.8.8.8": "US", "24.48.0.1": "US", "201.140.100.1": "US", // the US, Canada, Mexico
		"200.160.0.8": "BR", "200.45.191.1": "BR", "200.27.0.1": "BR", // Brazil, Argentina, Chile
		"193.0.0.1": "DE", "194.25.0.1": "DE", "81.2.69.1": "DE", "62.36.225.1": "DE", "212.27.48.10": "DE", "151.1.1.1": "DE", "185.22.60.1": "DE",
		"196.25.1.1": "ZA", "41.60.0.1": "ZA",
		"203.116.1.1": "SG", "202.88.128.1": "SG", // Singapore, India
		"133.11.0.1": "JP", "168.126.63.1": "JP", // Japan, Korea
		"139.130.4.4": "AU", "202.27.0.1": "AU", // Australia, New Zealand
	} {
		if got := ask(addr, ""); got != want {
			t.Errorf("%s is led to %s, not to %s", addr, got, want)
		}
		if got := ask(addr, "SG"); got != "SG" {
			t.Errorf("%s, which wants Singapore, is led to %s", addr, got)
		}
	}
}
