package configs

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// checkPlaces fails unless err is Errors that all lie inside the text.
func checkPlaces(t *testing.T, data []byte, err error) {
	t.Helper()
	if err == nil {
		return
	}
	var all Errors
	if !errors.As(err, &all) || len(all) == 0 {
		t.Fatalf("%T is not Errors, or empty", err)
	}
	lines := strings.Split(string(data), "\n")
	for _, e := range all {
		if e.Line < 1 || e.Col < 1 || e.Line > len(lines) || e.Col > utf8.RuneCountInString(lines[e.Line-1])+1 {
			t.Errorf("%v is outside the file", e)
		}
		if e.Error() == "" || e.Err == nil {
			t.Errorf("%#v says nothing", e)
		}
	}
}

// addSeeds adds the bad files, what else is given, and the texts of the index.
func addSeeds(f *testing.F, bad []string, more ...string) {
	for _, name := range bad {
		for _, c := range badFiles(f, name) {
			f.Add([]byte(c.text))
		}
	}
	for _, text := range append(more, texts...) {
		f.Add([]byte(text))
		f.Add([]byte(crlf(text)))
	}
}

func FuzzClient(f *testing.F) {
	addSeeds(f, []string{"bad_client.txt", "bad_ports.txt", "bad_routes.txt"}, ClientSample, fullClient)
	name := filepath.Join(f.TempDir(), "byway.toml")
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseClient(name, data)
		checkPlaces(t, data, err)
		if err == nil {
			checkPlaces(t, data, Errors{c.Errorf("hop[0].tls.pin[0]", "x"), c.Errorf("listen[0]", "x")})
			promisedClient(t, c)
		}
	})
}

// promisedClient fails if c breaks what its fields' comments say.
func promisedClient(t *testing.T, c *Client) {
	t.Helper()
	if len(c.Listeners) == 0 {
		t.Error("no listener")
	}
	for _, r := range c.Routes {
		for _, m := range append(r.Not, r.Match) {
			promisedMatch(t, c, &m)
		}
	}
	for _, l := range c.Lists {
		if l.Name == "" || l.File == "" && l.URL == "" || l.URL != "" && l.Via == "" || l.MaxShrink < 0 || l.MaxShrink > 1 {
			t.Errorf("bad list %+v", l)
		}
	}
	for _, h := range c.Hops {
		if h.Name == "" || h.URL.User != nil || h.URL.Hostname() == "" || h.URL.Path != "" || h.DialTimeout <= 0 {
			t.Errorf("bad hop %+v", h)
		}
	}
	for _, ch := range c.Chains {
		if ch.Name == "" || len(ch.Hops) == 0 || ch.Name == Direct || ch.Name == Block {
			t.Errorf("bad chain %+v", ch)
		}
	}
}

func promisedMatch(t *testing.T, c *Client, m *Match) {
	t.Helper()
	for _, p := range m.Ports {
		if p.From == 0 || p.From > p.To {
			t.Errorf("bad ports %v", p)
		}
	}
	for _, s := range m.Times {
		if s.From < 0 || s.From >= 24*60 || s.To < 0 || s.To > 24*60 {
			t.Errorf("bad time %v", s)
		}
	}
	for _, name := range m.Lists {
		if !slices.ContainsFunc(c.Lists, func(l List) bool { return l.Name == name }) {
			t.Errorf("list %q is not there", name)
		}
	}
	if m.Timezone != "" && m.Location() == nil || m.Countries != nil && c.Geo.Database == "" {
		t.Errorf("bad match %+v", m)
	}
}

func FuzzEgress(f *testing.F) {
	addSeeds(f, []string{"bad_egress.txt"}, EgressSample, fullEgress)
	name := filepath.Join(f.TempDir(), "egress.toml")
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := ParseEgress(name, data)
		checkPlaces(t, data, err)
		if err == nil && (len(e.Users) == 0 || len(e.Sites) == 0 || len(e.Listeners) != 1) {
			t.Errorf("bad egress %+v", e)
		}
	})
}

func FuzzFront(f *testing.F) {
	addSeeds(f, []string{"bad_front.txt", "bad_egress.txt"}, FrontSample, EgressSample)
	name := filepath.Join(f.TempDir(), "front.toml")
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := ParseFront(name, data)
		checkPlaces(t, data, err)
		if err != nil {
			return
		}
		for i := range e.Sites {
			s := &e.Sites[i]
			if s.Root == "" && len(s.Upstreams) == 0 && s.Redirect == "" && s.Status == 0 {
				t.Errorf("a site answers with nothing: %+v", s)
			}
		}
	})
}

func FuzzIndex(f *testing.F) {
	for _, file := range []string{"bad_client.txt", "bad_egress.txt"} {
		addSeeds(f, []string{file}, ClientSample, EgressSample, fullClient, fullEgress)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, tree, err := indexed(string(data))
		if err != nil {
			checkPlaces(t, data, Errors{err})
			scan(s.text)
			return
		}
		if bad := lacking(s, "", tree); len(bad) > 0 {
			t.Errorf("%q", bad)
		}
	})
}

func TestMain(m *testing.M) {
	os.Unsetenv("BYWAY_TEST_UNSET")
	os.Exit(m.Run())
}
