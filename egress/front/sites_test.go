package front_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/byway-proxy/byway/egress/front"
)

// say answers with a text and the path that it saw.
func say(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(text + " " + r.URL.EscapedPath()))
	})
}

func TestSites(t *testing.T) {
	named := []front.Site{
		{Hosts: []string{"www.example.org", "192.0.2.1", "::1"}, Handler: say("www")},
		{Hosts: []string{"*.Example.org"}, Handler: say("any")},
	}
	rest := append([]front.Site{{Handler: say("rest")}}, named...)
	for _, test := range []struct {
		sites      []front.Site
		host, want string
	}{
		{named, "www.example.org", "www /"},
		{named, "WWW.Example.ORG:8443", "www /"},
		{named, "www.example.org.", ""}, // as Caddy
		{named, "192.0.2.1:80", "www /"},
		{named, "[::1]:80", "www /"},
		{named, "[::1]", "www /"},
		{named, "a.example.org", "any /"},
		{named, "a.b.example.org", ""},
		{named, "example.org", ""},
		{named, "*.example.org", "any /"},
		{named, "other.example", ""},
		{named, "", ""},
		{rest, "other.example", "rest /"},
		{rest, "a.example.org", "any /"},
		{[]front.Site{{Handler: say("only")}}, "whatever", "only /"},
	} {
		h, err := front.Sites(test.sites)
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = test.host
		if code, body, _ := get(t, h, r); code != 200 || body != test.want {
			t.Errorf("%q gets %d %q, want %q", test.host, code, body, test.want)
		}
	}
	for name, bad := range map[string][]front.Site{
		"two of the rest": {{Handler: say("")}, {Handler: say("")}},
		"one host twice":  {{Hosts: []string{"a.example"}, Handler: say("")}, {Hosts: []string{"A.example"}, Handler: say("")}},
	} {
		if _, err := front.Sites(bad); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestPaths(t *testing.T) {
	h := front.Paths([]front.Path{
		{Match: "/exact", Handler: say("exact")},
		{Match: "/api/*", StripPrefix: true, Handler: say("api")},
		{Match: "/admin/*", Handler: say("admin")},
		{Match: "*.php", Handler: say("php")},
		{Match: "/a b/*", StripPrefix: true, Handler: say("space")},
	}, say("rest"))
	for target, want := range map[string]string{
		"/exact":                      "exact /exact",
		"/exact/":                     "rest /exact/",
		"/api/x":                      "api /x",
		"/api/":                       "api /",
		"/api":                        "rest /api",
		"/api/a%2Fb":                  "api /a%2Fb",
		"/api/a%20b/":                 "api /a%20b/",
		"/%61pi/x":                    "api /x",
		"/x/../api/y":                 "api /y",
		"/api/../admin/x":             "admin /api/../admin/x",
		"/api/%2e%2e/admin/x":         "admin /api/%2e%2e/admin/x",
		"//admin/x":                   "admin //admin/x",
		"/./admin/x":                  "admin /./admin/x",
		"/admin/../x":                 "rest /admin/../x",
		"/index.php":                  "php /index.php",
		"/api/index.php":              "api /index.php",
		"/a%20b/c":                    "space /c",
		"/api/x/..//../admin/../..//": "rest /api/x/..//../admin/../..//",
	} {
		r := httptest.NewRequest("GET", "http://a.example"+target, nil)
		if _, body, _ := get(t, h, r); body != want {
			t.Errorf("%s: %q, want %q", target, body, want)
		}
	}
}

// FuzzPaths has whatever path go where it is meant to go, stripped or not.
func FuzzPaths(f *testing.F) {
	for _, seed := range []string{"/api/x", "/%61pi//x", "/api/../admin", "/api/%2e%2e/x", "/api%2fx", "*", "//api/x", "/api/;x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, target string) {
		r, err := http.NewRequest("GET", "http://a.example", nil)
		if err != nil {
			t.Fatal(err)
		}
		if r.URL, err = r.URL.Parse(target); err != nil || r.URL.Host != "a.example" {
			t.Skip()
		}
		meant := front.Meant(r.URL.Path)
		if again := front.Meant(meant); again != meant {
			t.Errorf("%q is meant as %q, and that as %q", r.URL.Path, meant, again)
		}
		var seen string
		h := front.Paths([]front.Path{{Match: "/api/*", StripPrefix: true, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			seen = "/api" + front.Meant(r.URL.Path)
		})}}, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		h.ServeHTTP(httptest.NewRecorder(), r)
		if seen != "" && seen != meant {
			t.Errorf("%q, meant as %q, arrives as %q", r.URL.Path, meant, seen)
		}
	})
}

func TestRedirect(t *testing.T) {
	for _, test := range []struct{ to, target, want string }{
		{"https://www.example.org{path}", "/a%20b?c=d", "https://www.example.org/a%20b?c=d"},
		{"https://www.example.org/{path}", "/a", "https://www.example.org/a"},
		{"https://www.example.org/new/{path}", "//evil.example/a", "https://www.example.org/new/evil.example/a"},
		{"{path}", "//evil.example/a", "/evil.example/a"},
		{"{path}", `/\evil.example/a`, "/%5Cevil.example/a"},
		{"/new{path}", "/a", "/new/a"},
		{"/new", "/a", "/new"},
	} {
		r := httptest.NewRequest("GET", "http://a.example"+test.target, nil)
		code, body, header := get(t, front.Redirect(test.to, 308), r)
		if code != 308 || body != "" || header.Get("Location") != test.want {
			t.Errorf("%s, %s: %d %q to %q, want %q", test.to, test.target, code, body, header.Get("Location"), test.want)
		}
	}
}

func TestEdited(t *testing.T) {
	var seen *http.Request
	inner := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r
		w.Header().Set("Server", "origin")
		w.Header().Add("X-Add", "1")
		if r.URL.Path != "/silent" {
			w.WriteHeader(201)
		}
	})
	h := front.Edited(inner, []front.Edit{
		{Do: front.Set, Name: "host", Value: "inner.example"},
		{Do: front.Set, Name: "x-new", Value: "1"},
		{Do: front.Add, Name: "X-More", Value: "2"},
		{Do: front.Remove, Name: "cookie"},
	}, []front.Edit{{Do: front.Remove, Name: "server"}, {Do: front.Add, Name: "X-Add", Value: "2"}, {Do: front.Set, Name: "X-Set", Value: "3"}})
	for _, path := range []string{"/", "/silent"} {
		r := httptest.NewRequest("GET", "http://a.example"+path, nil)
		r.Header = http.Header{"X-More": {"1"}, "Cookie": {"a=b"}}
		_, _, header := get(t, h, r)
		if seen.Host != "inner.example" || seen.Header.Get("X-New") != "1" || len(seen.Header["X-More"]) != 2 || seen.Header["Cookie"] != nil || seen.Header["Host"] != nil {
			t.Errorf("%s: inside, host %q, %v", path, seen.Host, seen.Header)
		}
		if header["Server"] != nil || len(header["X-Add"]) != 2 || header.Get("X-Set") != "3" {
			t.Errorf("%s: outside, %v", path, header)
		}
		if r.Host != "a.example" || r.Header.Get("Cookie") == "" {
			t.Errorf("%s: the request itself was changed", path)
		}
	}
}
