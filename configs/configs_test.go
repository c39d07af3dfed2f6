package configs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// folder returns a new folder with the given files in it.
func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// wantErrors fails unless err is Errors that read want, with the folder dir
// left out.
func wantErrors(t *testing.T, dir string, err error, want string) {
	t.Helper()
	var all Errors
	if !errors.As(err, &all) {
		t.Fatalf("got %v (%T), want Errors", err, err)
	}
	got := strings.ReplaceAll(err.Error(), dir+string(filepath.Separator), "")
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A badFile is one case of testdata/bad_*.txt.
type badFile struct{ name, text, want string }

func badFiles(t testing.TB, file string) []badFile {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	var all []badFile
	text := strings.ReplaceAll(string(data), "\r\n", "\n")
	for _, c := range strings.Split(text, "\n== ")[1:] {
		name, rest, _ := strings.Cut(c, "\n")
		text, want, ok := strings.Cut(rest, "=>\n")
		if !ok {
			t.Fatalf("case %q has no =>", name)
		}
		all = append(all, badFile{name, text, strings.TrimSpace(want)})
	}
	return all
}

// crlf gives the same lines in the way of Windows, with a byte order mark.
func crlf(text string) string { return "\ufeff" + strings.ReplaceAll(text, "\n", "\r\n") }

func secrets(t *testing.T) string {
	return folder(t, map[string]string{
		"pw": "hunter2\n", "empty": "\n", "lines": "a\nb\n", "long": strings.Repeat("x", 256),
	})
}

func testBad(t *testing.T, file, name string, parse func(name string, data []byte) error) {
	dir := secrets(t)
	for _, c := range badFiles(t, file) {
		t.Run(c.name, func(t *testing.T) {
			err := parse(filepath.Join(dir, name), []byte(c.text))
			wantErrors(t, dir, err, c.want)
			if strings.Contains(err.Error(), "hunter") {
				t.Error("the error shows a secret")
			}
			wantErrors(t, dir, parse(filepath.Join(dir, name), []byte(crlf(c.text))), c.want)
		})
	}
}

func TestBadClient(t *testing.T) {
	testBad(t, "bad_client.txt", "byway.toml", func(name string, data []byte) error {
		_, err := ParseClient(name, data)
		return err
	})
}

func TestBadEgress(t *testing.T) {
	testBad(t, "bad_egress.txt", "egress.toml", func(name string, data []byte) error {
		_, err := ParseEgress(name, data)
		return err
	})
}

func TestBadFront(t *testing.T) {
	testBad(t, "bad_front.txt", "front.toml", func(name string, data []byte) error {
		_, err := ParseFront(name, data)
		return err
	})
}

// TestPlain has an egress refuse to serve in the clear, and the website alone do so without a certificate.
func TestPlain(t *testing.T) {
	const text = "listen = [{ address = ':80', plain = true }]\n[[site]]\nstatus = 404\n"
	if _, err := ParseFront("front.toml", []byte(text)); err != nil {
		t.Error(err)
	}
	_, err := ParseEgress("egress.toml", []byte(text))
	wantErrors(t, "", err, `egress.toml:1:1: user is missing; add a [[user]] table
egress.toml:1:1: tls.names: no certificate is given and none can be made without names; add [tls] with names = ["..."], or with certificate and key
egress.toml:1:38: listen[0].plain: would have tokens sent in the clear; remove it (it is for "byway front", which has no tunnels)`)
}

func TestMissingFile(t *testing.T) {
	const want = ": cannot be read: no such file or directory; give the path of a configuration file"
	dir := t.TempDir()
	_, err := LoadClient(filepath.Join(dir, "byway.toml"))
	wantErrors(t, dir, err, "byway.toml"+want)
	if !errors.Is(err, os.ErrNotExist) {
		t.Error("is not os.ErrNotExist")
	}
	_, err = LoadEgress(filepath.Join(dir, "egress.toml"))
	wantErrors(t, dir, err, "egress.toml"+want)
}

func TestMissingSecretIsNotExist(t *testing.T) {
	const text = "listen = [{ address = '127.0.0.1:0', user = [{ name = 'a', secret = { file = 'nowhere' } }] }]"
	if _, err := ParseClient("byway.toml", []byte(text)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v is not os.ErrNotExist", err)
	}
}

func TestErrorf(t *testing.T) {
	const text = `listen = [{ address = "127.0.0.1:0" }]
[[hop]]
name = "paris"
url = "https://paris.example.org"
[hop.tls]
pin = ["sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="]
[[hop]]
name = "rome"
url = "https://rome.example.org"
`
	c, err := ParseClient("dir/byway.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"hop[1].url":            `dir/byway.toml:9:7: hop "rome": url: no`,
		"hop[0].tls.pin[0]":     `dir/byway.toml:6:8: hop "paris": tls.pin[0]: no`,
		"hop[0].tls.ca":         `dir/byway.toml:5:1: hop "paris": tls.ca: no`,
		"hop[1].tls.ca":         `dir/byway.toml:7:1: hop "rome": tls.ca: no`,
		"hop[7].url":            `dir/byway.toml:2:1: hop[7].url: no`,
		"listen[0].address":     `dir/byway.toml:1:23: listen[0].address: no`,
		"timeouts.drain":        `dir/byway.toml:1:1: timeouts.drain: no`,
		"":                      `dir/byway.toml:1:1: no`,
		`hop[.url`:              `dir/byway.toml:2:1: hop: no`,
		`hop[-1]."`:             `dir/byway.toml:2:1: hop: no`,
		`hop[0]."server name".`: `dir/byway.toml:2:1: hop "paris": "server name": no`,
	} {
		if got := c.Errorf(path, "%s", "no").Error(); got != want {
			t.Errorf("Errorf(%q) is\n%s\nwant\n%s", path, got, want)
		}
	}
	if !errors.Is(c.Errorf("hop", "x: %w", os.ErrExist), os.ErrExist) {
		t.Error("Errorf does not wrap")
	}
	if got := (&Egress{}).Errorf("user[0]", "no").Error(); got != "user[0]: no" {
		t.Errorf("Errorf on an Egress that was not parsed is %q", got)
	}
}
