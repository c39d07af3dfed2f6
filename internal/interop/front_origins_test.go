//go:build interop

package interop

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// runFront runs "byway front" with the sites of text, in the clear.
func runFront(t *testing.T, text string) *byway {
	t.Helper()
	file := filepath.Join(t.TempDir(), "front.toml")
	must(t, os.WriteFile(file, []byte("listen = [{ address = \"127.0.0.1:0\", plain = true }]\n"+text), 0o600))
	b, err := startByway("front", "-c", file)
	if err != nil {
		t.Fatalf("%v\nof the configuration\n%s", err, text)
	}
	b.endWith(t)
	return b
}

// startCaddyOrigin serves the folder root over HTTP/1.1 and HTTP/2 in the clear, and echoes at /echo.
func startCaddyOrigin(t *testing.T, root string) (addr string) {
	t.Helper()
	path, err := findCaddy()
	path = need(t, path, err)
	addr, _, err = reserved()
	must(t, err)
	file := filepath.Join(t.TempDir(), "Caddyfile")
	must(t, os.WriteFile(file, []byte(fmt.Sprintf(`{
	admin off
	auto_https off
	persist_config off
	servers {
		protocols h1 h2c
	}
}
http://%s {
	@echo path /echo
	respond @echo "{http.request.proto} {http.request.body}"
	root * %s
	file_server
}
`, addr, root)), 0o600))
	_, err = lab.server(addr, path, "run", "--config", file)
	must(t, err)
	return addr
}

// TestFrontOrigins has curl fetch, in parts and whole, send and ask for what is not there, of nginx and of Caddy
// behind the website, by both versions of HTTP outside.
func TestFrontOrigins(t *testing.T) {
	w, err := website()
	w = need(t, w, err)
	caddy := startCaddyOrigin(t, w.root)
	_, down := payloads()
	for name, upstream := range map[string]string{
		"nginx": w.upstream(), "caddy": "http://" + caddy, "caddy by h2c": "h2c://" + caddy,
	} {
		t.Run(name, func(t *testing.T) {
			b := runFront(t, fmt.Sprintf("[[site]]\nupstream = %q\n", upstream))
			curl := func(args ...string) result {
				t.Helper()
				return client(t, nil, nil, "curl", append([]string{"-q", "-sS", "--max-time", "50"}, args...)...)
			}
			url := "http://" + b.addr
			for _, version := range []string{"--http1.1", "--http2-prior-knowledge"} {
				if r := curl(version, url+"/payload"); r.code != 0 || same(r.stdout, down) != nil {
					t.Errorf("%s: status %d, %v: %s", version, r.code, same(r.stdout, down), r.stderr)
				}
				if r := curl(version, "-r", "1000-1999", url+"/payload"); r.code != 0 || !bytes.Equal(r.stdout, down[1000:2000]) {
					t.Errorf("%s: a part: status %d, %d bytes: %s", version, r.code, len(r.stdout), r.stderr)
				}
				r := curl(version, "-I", url+"/payload")
				if head := strings.ToLower(string(r.stdout)); !strings.Contains(head, fmt.Sprintf("content-length: %d", len(down))) || !strings.Contains(head, "via: 1.1 caddy") && !strings.Contains(head, "via: 2 caddy") {
					t.Errorf("%s: HEAD: %s%s", version, r.stdout, r.stderr)
				}
				if r := curl(version, "-o", "/dev/null", "-w", "%{http_code}", url+"/none"); string(r.stdout) != "404" {
					t.Errorf("%s: what is not there is %s: %s", version, r.stdout, r.stderr)
				}
				if strings.HasPrefix(name, "caddy") {
					want := map[bool]string{true: "HTTP/2.0 some text", false: "HTTP/1.1 some text"}[strings.HasSuffix(name, "h2c")]
					if r := curl(version, "--data-binary", "some text", url+"/echo"); string(r.stdout) != want {
						t.Errorf("%s: sent, got back %q: %s", version, r.stdout, r.stderr)
					}
				}
			}
		})
	}
}

// TestFrontOriginDies kills one of two Caddies while curl asks again and again: each request is answered.
func TestFrontOriginDies(t *testing.T) {
	w, err := website()
	w = need(t, w, err)
	path, err := findCaddy()
	path = need(t, path, err)
	addr, _, err := reserved()
	must(t, err)
	dying, err := launch(path, "file-server", "--listen", addr, "--root", w.root)
	must(t, err)
	must(t, dying.listening(addr))
	b := runFront(t, fmt.Sprintf("[[site]]\nupstream = [%q, %q]\nbalance = { pick = \"round-robin\" }\n", "http://"+addr, w.upstream()))
	ask := func(n int) {
		t.Helper()
		args := []string{"-q", "-sS", "--max-time", "50"}
		for range n {
			args = append(args, "-o", "/dev/null", "-w", "%{http_code} ", "http://"+b.addr+"/index.html")
		}
		if r := client(t, nil, nil, "curl", args...); strings.TrimSpace(string(r.stdout)) != strings.TrimSpace(strings.Repeat("200 ", n)) {
			t.Errorf("got %s %s", r.stdout, r.stderr)
		}
	}
	ask(20)
	must(t, dying.stop())
	ask(50)
}
