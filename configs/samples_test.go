package configs

import (
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
)

// schemaKeys returns every key below a struct, without indices.
func schemaKeys(t reflect.Type, path string) []string {
	var all []string
	for _, f := range fields(t) {
		ft, key := t.FieldByIndex(f.index).Type, join(path, f.key)
		if ft.Kind() == reflect.Slice {
			ft = ft.Elem()
		}
		switch {
		case ft == reflect.TypeFor[Secret]():
			all = append(all, join(key, "file"), join(key, "env"))
		case isTable(ft) && f.single && hasShort(ft):
			all = append(all, key)
			all = append(all, schemaKeys(ft, key)...)
		case isTable(ft) && f.single:
			all = append(all, key) // written in one line; it has keys of the table around it
		case isTable(ft):
			all = append(all, schemaKeys(ft, key)...)
		default:
			all = append(all, key)
		}
	}
	return all
}

var tableHeader = regexp.MustCompile(`^\[+([^\]]+)\]+`)

// sampleKeys returns every key in a sample, those commented out included.
func sampleKeys(t *testing.T, sample string) []string {
	t.Helper()
	var all []string
	table := ""
	for _, line := range strings.Split(sample, "\n") {
		if s, ok := strings.CutPrefix(line, "#"); ok && s != "" && s[0] != ' ' && s[0] != '#' {
			line = s
		}
		if m := tableHeader.FindStringSubmatch(line); m != nil {
			table = m[1]
			continue
		}
		var pairs map[string]any
		if _, err := toml.Decode(line, &pairs); err != nil {
			t.Errorf("line %q: %v", line, err)
		}
		for key, value := range pairs {
			if m, ok := value.(map[string]any); ok {
				for sub := range m {
					all = append(all, join(join(table, key), sub))
				}
				continue
			}
			all = append(all, join(table, key))
		}
	}
	return all
}

func hasShort(t reflect.Type) bool {
	_, ok := shortOf(t)
	return ok
}

func TestSamplesHaveEveryKey(t *testing.T) {
	ofSite := func(key string) bool { return strings.HasPrefix(key, "site.") || strings.HasPrefix(key, "geo.") }
	for name, test := range map[string]struct {
		sample string
		schema reflect.Type
		shows  func(key string) bool // those that it must show
	}{
		"client": {ClientSample, reflect.TypeFor[Client](), func(string) bool { return true }},
		"egress": {EgressSample, reflect.TypeFor[Egress](), func(key string) bool { return !ofSite(key) && key != "listen.plain" }},
		"front":  {FrontSample, reflect.TypeFor[Egress](), ofSite},
	} {
		// The keys of a part of a site are shown with the site.
		shown := func(keys []string) []string {
			for i, key := range keys {
				if site := strings.Replace(key, "site.path.", "site.", 1); key != site && slices.Contains(schemaKeys(test.schema, ""), site) {
					keys[i] = site
				}
			}
			return slices.Compact(slices.Sorted(slices.Values(slices.DeleteFunc(keys, func(key string) bool { return !test.shows(key) }))))
		}
		want := shown(schemaKeys(test.schema, ""))
		got := sampleKeys(t, test.sample)
		for _, key := range got {
			if !slices.Contains(schemaKeys(test.schema, ""), key) {
				t.Errorf("the sample %s has %q, which is no key", name, key)
			}
		}
		if diff := cmp.Diff(want, shown(got)); diff != "" {
			t.Errorf("sample %s (-schema +sample):\n%s", name, diff)
		}
	}
}

func TestFrontSampleLoads(t *testing.T) {
	dir := folder(t, map[string]string{"front.toml": FrontSample})
	e, err := LoadFront(filepath.Join(dir, "front.toml"))
	if err != nil {
		t.Fatal(err)
	}
	var defaults SiteAnswer
	defaults.setDefaults()
	defaults.Timeouts.Response = time.Minute // which has none
	if e.Sites[0].Timeouts != defaults.Timeouts {
		t.Errorf("the sample's timeouts are %+v, the defaults %+v", e.Sites[0].Timeouts, defaults.Timeouts)
	}
}

func TestClientSampleLoads(t *testing.T) {
	dir := folder(t, map[string]string{"byway.toml": ClientSample, "paris.token": "hunter2\n"})
	c, err := LoadClient(filepath.Join(dir, "byway.toml"))
	if err != nil {
		t.Fatal(err)
	}
	var defaults Client
	if defaults.setDefaults(); c.Timeouts != defaults.Timeouts || c.Limits != defaults.Limits {
		t.Errorf("the sample's timeouts are %v, the defaults %v; limits %v and %v", c.Timeouts, defaults.Timeouts, c.Limits, defaults.Limits)
	}
	if len(c.Hops) != 2 || c.Hops[1].Secret.Reveal() != "hunter2" {
		t.Errorf("got hops %+v", c.Hops)
	}
}

// With its alternatives taken instead, the sample loads too, and says the
// defaults where it claims to.
func TestClientSampleUncommented(t *testing.T) {
	dir := folder(t, map[string]string{"alice.pw": "hunter2\n"})
	t.Setenv("PARIS_TOKEN", "hunter3")
	t.Setenv("BOB_PW", "hunter4")
	t.Setenv("TOKYO_PASSPHRASE", "hunter5")
	t.Setenv("STATUS_TOKEN", "hunter6")
	text := strings.Replace(ClientSample, `secret = { file = "paris.token" }`, "", 1)
	text = regexp.MustCompile(`(?m)^#(passphrase|token) = { file.*$`).ReplaceAllString(text, "")
	text = regexp.MustCompile(`(?m)^#([^ #\n-])`).ReplaceAllString(text, "$1")
	c, err := ParseClient(filepath.Join(dir, "byway.toml"), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var defaults Hop
	defaults.setDefaults()
	h := c.Hops[0]
	if h.Pipeline != defaults.Pipeline || h.DialTimeout != defaults.DialTimeout || h.HandshakeTimeout != defaults.HandshakeTimeout {
		t.Errorf("the sample's defaults are %+v, the true ones %+v", h, defaults)
	}
}

func TestEgressSampleLoads(t *testing.T) {
	dir := folder(t, map[string]string{"egress.toml": EgressSample, "alice.token": "hunter2\n"})
	e, err := LoadEgress(filepath.Join(dir, "egress.toml"))
	if err != nil {
		t.Fatal(err)
	}
	var defaults Egress
	defaults.setDefaults()
	if e.Timeouts != defaults.Timeouts || e.HTTP2 != defaults.HTTP2 || !cmp.Equal(e.Destinations, defaults.Destinations) {
		t.Errorf("the sample's defaults are %+v, the true ones %+v", e, defaults)
	}
}
