package front_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/byway-proxy/byway/egress/front"
)

// when is what the files of the tests were changed at.
var when = time.Date(2026, 3, 4, 5, 6, 7, 891, time.UTC)

// folder writes files, and a secret beside them, and serves them.
func folder(t *testing.T, files map[string]string) (h http.Handler, root string) {
	t.Helper()
	dir := t.TempDir()
	root = filepath.Join(dir, "site")
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, when, when); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "secret.txt"), []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	h, err := front.Directory(root)
	if err != nil {
		t.Fatal(err)
	}
	return h, root
}

// TestDirectory has what TestCamouflage sees of Caddy, for where there is none.
func TestDirectory(t *testing.T) {
	h, root := folder(t, map[string]string{
		"index.html": "home", "a.txt": "text", "page": "page", ".hidden": "hidden",
		"docs/index.html": "docs", "notes/index.txt": "notes", "empty/.keep": "",
		"odd/index.html/index.html": "odd",
	})
	if runtime.GOOS != "windows" { // where a link wants a privilege
		for link, to := range map[string]string{"out.txt": "../secret.txt", "in.txt": "a.txt"} {
			if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, test := range []struct {
		method, path string
		code         int
		body         string
		fields       string // NAME: VALUE, that must be among them
	}{
		{"GET", "/", 200, "home", "Content-Type: text/html; charset=utf-8"},
		{"GET", "/index.html", 200, "home", ""},
		{"GET", "/a.txt", 200, "text", `Etag: "dgtqj2is9f97-4"`},
		{"GET", "/a.txt", 200, "text", "Vary: Accept-Encoding"},
		{"GET", "/a.txt", 200, "text", "Last-Modified: Wed, 04 Mar 2026 05:06:07 GMT"},
		{"HEAD", "/a.txt", 200, "", "Content-Length: 4"},
		{"GET", "/page", 200, "page", "Content-Type: "},
		{"GET", "/.hidden", 200, "hidden", ""},
		{"GET", "/docs/", 200, "docs", ""},
		{"GET", "/docs", 308, `<a href="/docs/">Permanent Redirect</a>.` + "\n\n", "Location: /docs/"},
		{"POST", "/docs?a=b", 308, "", "Location: /docs/?a=b"},
		{"GET", "/a.txt/", 308, `<a href="/a.txt">Permanent Redirect</a>.` + "\n\n", "Location: /a.txt"},
		{"GET", "//docs", 308, `<a href="/docs/">Permanent Redirect</a>.` + "\n\n", "Location: /docs/"},
		{"GET", "/notes/", 200, "notes", "Content-Type: text/plain; charset=utf-8"},
		{"GET", "/empty/", 404, "", ""},
		{"GET", "/odd/", 404, "", ""},
		{"GET", "/none", 404, "", ""},
		{"POST", "/none", 404, "", ""},
		{"GET", "/a.txt/more", 404, "", ""},
		{"GET", "/a%00b", 400, "", ""},
		{"GET", "/../secret.txt", 404, "", ""},
		{"GET", "/%2e%2e/secret.txt", 404, "", ""},
		{"GET", "/out.txt", 404, "", ""},
		{"POST", "/", 405, "", "Allow: GET, HEAD"},
		{"POST", "/", 405, "", "Vary: Accept-Encoding"},
		{"TRACE", "/a.txt", 405, "", "Allow: GET, HEAD"},
		{"CONNECT", "/a.txt", 405, "", "Allow: GET, HEAD"},
	} {
		code, body, header := get(t, h, httptest.NewRequest(test.method, test.path, nil))
		if code != test.code || body != test.body {
			t.Errorf("%s %s: %d %q, want %d %q", test.method, test.path, code, body, test.code, test.body)
		}
		if name, value, _ := strings.Cut(test.fields, ": "); header.Get(name) != value {
			t.Errorf("%s %s: %s is %q, want %q", test.method, test.path, name, header.Get(name), value)
		}
	}
	// CONNECT to the site itself has no path.
	r := httptest.NewRequest("CONNECT", "http://www.example.org:443", nil)
	r.URL.Path = ""
	if code, _, header := get(t, h, r); code != 308 || header.Get("Location") != "/" {
		t.Errorf("CONNECT: %d to %q", code, header.Get("Location"))
	}
	if _, err := front.Directory(filepath.Join(root, "none")); err == nil {
		t.Error("a folder that isn't there was taken")
	}
}

// TestDirectoryWithoutTimes has files whose time means nothing, as packages make them.
func TestDirectoryWithoutTimes(t *testing.T) {
	h, root := folder(t, map[string]string{"a.txt": "text"})
	for _, sec := range []int64{0, 1} {
		at := time.Unix(sec, 0)
		if err := os.Chtimes(filepath.Join(root, "a.txt"), at, at); err != nil {
			t.Fatal(err)
		}
		_, _, header := get(t, h, httptest.NewRequest("GET", "/a.txt", nil))
		if header.Get("Etag") != "" || header.Get("Last-Modified") != "" {
			t.Errorf("second %d: %v", sec, header)
		}
	}
}
