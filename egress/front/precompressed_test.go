package front_test

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/byway-proxy/byway/egress/front"
)

func TestPrecompressed(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	for name, age := range map[string]time.Duration{
		"a.html": time.Hour, "a.html.br": 0, "a.html.gz": 0, "old.html": time.Hour, "old.html.br": 2 * time.Hour, "plain.html": 0,
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("this is "+name), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	h, err := front.Directory(dir, "zstd", "br", "gzip")
	if err != nil {
		t.Fatal(err)
	}
	tags := make(map[string]bool)
	for _, test := range []struct {
		path, accept, coding, body string
		ranged                     bool
	}{
		{"/a.html", "", "", "this is a.html", false},
		{"/a.html", "br, gzip", "br", "this is a.html.br", false},
		{"/a.html", "zstd, gzip", "gzip", "this is a.html.gz", false},
		{"/a.html", "br;q=0.1, gzip", "gzip", "this is a.html.gz", false},
		{"/a.html", "br", "br", "this", true},
		{"/old.html", "br", "", "this is old.html", false},
		{"/plain.html", "br", "", "this is plain.html", false},
	} {
		r := httptest.NewRequest("GET", test.path, nil)
		if test.accept != "" {
			r.Header.Set("Accept-Encoding", test.accept)
		}
		want := 200
		if test.ranged {
			r.Header.Set("Range", "bytes=0-3")
			want = 206
		}
		code, body, header := get(t, h, r)
		if code != want || body != test.body || header.Get("Content-Encoding") != test.coding ||
			header.Get("Content-Type") != "text/html; charset=utf-8" || header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s for %q: %d %q %v", test.path, test.accept, code, body, header)
		}
		if test.path == "/a.html" {
			tags[header.Get("Etag")] = true
		}
	}
	if len(tags) != 3 {
		t.Errorf("three forms have the validators %v", tags)
	}
}
