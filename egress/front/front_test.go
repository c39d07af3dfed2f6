package front_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/byway-proxy/byway/egress/front"
)

func get(t *testing.T, h http.Handler, r *http.Request) (int, string, http.Header) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, string(body), w.Result().Header
}

func TestDirectory(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "site")
	for name, text := range map[string]string{"site/index.html": "home", "site/a.txt": "text", "secret.txt": "secret"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../secret.txt", filepath.Join(root, "link.txt")); err != nil {
		t.Fatal(err)
	}
	h, err := front.Directory(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		method, path string
		code         int
		body         string
	}{
		{"GET", "/", 200, "home"},
		{"GET", "/a.txt", 200, "text"},
		{"HEAD", "/a.txt", 200, ""},
		{"GET", "/none", 404, "404 page not found\n"},
		{"POST", "/", 405, ""},
		{"CONNECT", "/", 405, ""},
	} {
		code, body, header := get(t, h, httptest.NewRequest(test.method, test.path, nil))
		if code != test.code || body != test.body {
			t.Errorf("%s %s: %d %q", test.method, test.path, code, body)
		}
		if code == 405 && header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: Allow is %q", test.method, header.Get("Allow"))
		}
	}
	for _, path := range []string{"/link.txt", "/../secret.txt", "/%2e%2e/secret.txt"} {
		if code, body, _ := get(t, h, httptest.NewRequest("GET", path, nil)); code == 200 || body == "secret" {
			t.Errorf("%s: %d %q", path, code, body)
		}
	}
	if _, err := front.Directory(filepath.Join(dir, "none")); err == nil {
		t.Error("a folder that isn't there was taken")
	}
}

func TestUpstream(t *testing.T) {
	var seen *http.Request
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r
		_, _ = io.WriteString(w, "origin")
	}))
	defer origin.Close()
	u, _ := url.Parse(origin.URL)
	h, err := front.Upstream(u)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "http://my.example.org/page", nil)
	r.Header.Set("Proxy-Authorization", "Bearer secret")
	r.Header.Set("X-Forwarded-For", "203.0.113.1")
	if code, body, _ := get(t, h, r); code != 200 || body != "origin" {
		t.Errorf("%d %q", code, body)
	}
	if seen.Host != "my.example.org" || seen.Header.Get("Proxy-Authorization") != "" || seen.Header.Get("X-Forwarded-For") != "192.0.2.1" {
		t.Errorf("the origin saw host %q, %v", seen.Host, seen.Header)
	}
	seen = nil
	if code, _, _ := get(t, h, httptest.NewRequest("CONNECT", "http://other.example:443", nil)); code != 405 || seen != nil {
		t.Errorf("CONNECT: %d, the origin saw %v", code, seen)
	}
	origin.Close()
	if code, body, _ := get(t, h, r); code != 502 || body != "" {
		t.Errorf("a dead origin: %d %q", code, body)
	}
	for _, bad := range []string{"ftp://x", "http://", "/path"} {
		u, _ := url.Parse(bad)
		if _, err := front.Upstream(u); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}
