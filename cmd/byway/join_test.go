package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/byway-proxy/byway/configs"
)

// TestJoin: what the file has stays as it is to the byte, what is added makes a good configuration
// of it, and where it would not, nothing is left behind.
func TestJoin(t *testing.T) {
	const raw = "https://me:0123456789abcdef@my.example.org:8443?pin=" + aPin
	const listener = "# mine\n[[listen]]\naddress = \"127.0.0.1:0\"   # any\n"
	const other = "[[hop]]\nname = \"my.example.org\"\nurl = \"socks5://127.0.0.1:1\"\n[[chain]]\nname = \"default\"\nhops = [\"my.example.org\"]\n"
	for name, test := range map[string]struct {
		before, link string
		hop, chain   string // "" if it fails
		routed       bool
		why          string
	}{
		"no file":              {"", raw, "my.example.org", "default", true, ""},
		"a name":               {"", raw + "#default", "default", "via default", true, ""},
		"two pins and ech":     {"", raw + "&pin=" + aPin + "&ech=AAT+DQAA", "my.example.org", "default", true, ""},
		"no newline":           {strings.TrimSuffix(listener, "\n"), raw, "my.example.org", "default", true, ""},
		"names that are taken": {listener + other, raw, "my.example.org-2", "via my.example.org-2", true, ""},
		"all is routed":        {listener + other + "[[route]]\nto = \"default\"\n", raw + "#x", "x", "via x", false, ""},
		"some is routed":       {listener + other + "[[route]]\nto = \"block\"\nport = 25\n", raw + "#x", "x", "via x", true, ""},
		"not to be added to":   {"hop = [{ name = \"x\", url = \"socks5://127.0.0.1:1\" }]\n" + listener, raw, "", "", false, "which is as it was"},
		"with a mistake":       {listener + "x = 1\n", raw, "", "", false, "key \"x\" is not known"},
		"no token":             {listener, "https://my.example.org", "", "", false, "no user and token"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "byway.toml")
			if test.before != "" {
				if err := os.WriteFile(file, []byte(test.before), 0o640); err != nil {
					t.Fatal(err)
				}
			}
			l, err := parseLink(test.link)
			if err != nil {
				t.Fatal(err)
			}
			j := &joining{file: file, link: l}
			err = j.join()
			text, _ := os.ReadFile(file)
			files, _ := os.ReadDir(dir)
			if test.hop == "" {
				if err == nil || !strings.Contains(err.Error(), test.why) || string(text) != test.before || len(files) != 1 {
					t.Errorf("%v; the file is %q, beside %v", err, text, files)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(string(text), test.before) || strings.Contains(string(text), "0123456789abcdef") || len(files) != 2 {
				t.Errorf("the file is %s, beside %v", text, files)
			}
			cfg, err := configs.LoadClient(file)
			if err != nil {
				t.Fatal(err)
			}
			h, c, r := cfg.Hops[len(cfg.Hops)-1], cfg.Chains[len(cfg.Chains)-1], cfg.Routes[len(cfg.Routes)-1]
			if h.Name != test.hop || c.Name != test.chain || (r.To == test.chain) != test.routed || h.URL.Host != "my.example.org:8443" || h.User != "me" ||
				h.Secret.Reveal() != "0123456789abcdef" || len(h.TLS.Pins) != len(l.pins) || (h.TLS.ECH != nil) != (l.ech != "") {
				t.Errorf("%s", text)
			}
			for _, f := range files {
				info, _ := f.Info()
				want := os.FileMode(0o600)
				if f.Name() == "byway.toml" && test.before != "" {
					want = 0o640
				} else if f.Name() == "byway.toml" {
					want = 0o644
				}
				if info.Mode().Perm() != want && os.PathSeparator == '/' {
					t.Errorf("%s has mode %v", f.Name(), info.Mode())
				}
			}
		})
	}
}

// TestJoinAgain renews the token of a hop that is there, and nothing of its key.
func TestJoinAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "byway.toml")
	join := func(raw string) error {
		l, err := parseLink(raw)
		if err != nil {
			t.Fatal(err)
		}
		return (&joining{file: file, link: l}).join()
	}
	const host = "@my.example.org?pin="
	if err := join("https://me:first-0123456789" + host + aPin); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(file)
	if err := join("https://me:second-0123456789" + host + aPin); err != nil {
		t.Fatal(err)
	}
	cfg, err := configs.LoadClient(file)
	if err != nil {
		t.Fatal(err)
	}
	after, _ := os.ReadFile(file)
	if len(cfg.Hops) != 1 || cfg.Hops[0].Secret.Reveal() != "second-0123456789" || string(before) != string(after) {
		t.Errorf("%s", after)
	}
	err = join("https://me:third-0123456789" + host + strings.Replace(aPin, "AAAA", "BBBB", 1))
	if cfg, _ = configs.LoadClient(file); err == nil || !strings.Contains(err.Error(), "another pin") || cfg.Hops[0].Secret.Reveal() != "second-0123456789" {
		t.Errorf("another pin: %v", err)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(file), secretName("my.example.org")), []byte("changed-0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := join("https://me:changed-0123456789" + host + aPin); err != nil {
		t.Errorf("the same token: %v", err)
	}
}
