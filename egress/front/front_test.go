package front_test

import (
	"io"
	"net/http"
	"net/http/httptest"
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
