package route

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fits parses a host and reports whether c has it.
func fits(t testing.TB, c *Contents, host string) bool {
	t.Helper()
	target, err := ParseHost(host)
	if err != nil {
		t.Fatalf("%s: %v", host, err)
	}
	return c.has(&target)
}

func TestListLines(t *testing.T) {
	for name, test := range map[string]struct {
		text       string
		in, out    string
		skipped    int
		subdomains bool
	}{
		"plain":           {"# names\n\nexample.org\r\n  B.Example.  # why\n// c\n; c\n", "example.org b.example EXAMPLE.org.", "www.example.org example.net b", 0, false},
		"plain and below": {"example.org\n", "example.org a.b.example.org", "anexample.org org", 0, true},
		"dots and stars":  {".a.example\n*.b.example\nad*.c.example\nx*y*z\n", "a.example w.a.example w.b.example ad.c.example ads.c.example ad.x.c.example xyz x1y2z xyzz", "b.example ba.example bad.c.example xzy axyz", 0, false},
		"kinds":           {"domain:a.example\nfull:b.example\nkeyword:TRACK\nregexp:^ads?[0-9]+\\.\n", "a.example w.a.example b.example w.tracking.example ad1.example ADS12.example", "w.b.example trac.example ads.example xad1.example", 0, false},
		"hosts":           {"127.0.0.1 localhost\n::1 ip6-localhost ip6-loopback\n0.0.0.0 0.0.0.0\n0.0.0.0 ads.example\tTrack.Example # both\n255.255.255.255 broadcasthost\n", "ads.example track.example", "localhost w.ads.example 0.0.0.0 127.0.0.1 both", 0, false},
		"addresses":       {"192.0.2.7\n198.51.100.0/24 ; SBL1\n2001:db8::/32\n::ffff:203.0.113.0/120\n10.0.0.5-10.0.0.9\n", "192.0.2.7 198.51.100.255 2001:db8:ffff::1 203.0.113.9 10.0.0.5 10.0.0.9 0xc0000207 ::ffff:192.0.2.7", "192.0.2.8 198.51.101.0 2001:db9:: 203.0.114.0 10.0.0.4 10.0.0.10", 0, false},
		"browser": {
			"[Adblock Plus 2.0]\n! c\n||a.example^\n||b.example^$third-party\n||c.example^$important\n||d.example/path\n@@||ok.a.example^\nexample.org##.ad\n/banner/\nads.js\n||ü.example^\n||192.0.2.9^\n||e*.example^\n||f.example^|\n",
			"a.example w.a.example c.example xn--tda.example 192.0.2.9 f.example", "b.example d.example ok.a.example w.ok.a.example example.org ads.js e.example", 6, false,
		},
		"browser, by its lines": {"||a.example^\nplain.example\n", "a.example", "plain.example", 1, false},
		"exception elsewhere":   {"||a.example^\n@@||a.example^\n||w.a.example^\n", "b.example", "", 0, false},
		"IDNA":                  {"münchen.example\nXN--STRAE-OQA.example\n", "xn--mnchen-3ya.example MÜNCHEN.example straße.example", "munchen.example", 0, false},
		"mark":                  {"\ufeffexample.org\n", "example.org", "", 0, false},
		"one bad of 21":         {strings.Repeat("a.example\n", 1) + lines(20) + "in valid\n", "a.example n0.example n19.example", "valid", 0, false},
	} {
		c, err := ParseList([]byte(test.text), ListOptions{Subdomains: test.subdomains})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if name == "exception elsewhere" {
			if fits(t, c, "a.example") || fits(t, c, "w.a.example") {
				t.Errorf("%s: the exception does not hold", name)
			}
			continue
		}
		for _, host := range strings.Fields(test.in) {
			if !fits(t, c, host) {
				t.Errorf("%s: %s is not in", name, host)
			}
		}
		for _, host := range strings.Fields(test.out) {
			if fits(t, c, host) {
				t.Errorf("%s: %s is in", name, host)
			}
		}
		if c.Skipped != test.skipped {
			t.Errorf("%s: %d lines skipped, want %d", name, c.Skipped, test.skipped)
		}
	}
}

func lines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "n%d.example\n", i)
	}
	return b.String()
}

func TestNoLists(t *testing.T) {
	for text, line := range map[string]int{
		"<!DOCTYPE html>\n<html>\n<body>404</body>\n": 1,
		"a.example\nin valid\n":                       2,
		"a.example\nb.example\x00c.example\n":         2,
		"a..b\n":                                      1,
		"192.0.2.0/33\n":                              1,
		"regexp:(\n":                                  1,
		"10.0.0.9-10.0.0.1\n":                         1,
	} {
		c, err := ParseList([]byte(text), ListOptions{})
		var wrong *ListError
		if !errors.As(err, &wrong) || wrong.Line != line {
			t.Errorf("%q: %v, %+v", text, err, c)
		}
	}
}

// TestDomainsAgainstMap compares the set with a map of the same rules.
func TestDomainsAgainstMap(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	name := func(most int) string {
		labels := make([]string, 1+rnd.IntN(most))
		for i := range labels {
			labels[i] = string(rune('a' + rnd.IntN(4)))
		}
		return strings.Join(labels, ".")
	}
	for range 200 {
		d, m := newDomains(0), make(map[string]byte)
		for range rnd.IntN(60) {
			n, f := name(5), byte(1)<<rnd.IntN(3+rnd.IntN(2))
			d.add([]byte(n), f)
			m[n] |= f
		}
		d.trim()
		for range 200 {
			n := name(7)
			in, out := m[n]&exactly != 0, m[n]&(exemptly|exemptAll) != 0
			for i := range n {
				if n[i] == '.' {
					in = in || m[n[i+1:]]&below != 0
					out = out || m[n[i+1:]]&exemptAll != 0
				}
			}
			if got := d.has(n); got != (in && !out) {
				t.Fatalf("%s: %v; in %v, out %v; %v", n, got, in, out, m)
			}
		}
	}
}

// TestPrefixesAgainstAll compares the set with a walk over all its ranges.
func TestPrefixesAgainstAll(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for round := range 100 {
		var s spans
		var all []span
		for range rnd.IntN(300) {
			p := randomPrefix(rnd, round%2 == 0)
			all = append(all, spanOf(p))
			s.add(spanOf(p))
		}
		p := newPrefixes(&s)
		check := func(a netip.Addr) {
			want := slices.ContainsFunc(all, func(r span) bool {
				return r.from.BitLen() == a.BitLen() && r.from.Compare(a) <= 0 && a.Compare(r.to) <= 0
			})
			if p.has(a) != want {
				t.Fatalf("%v: %v, want %v", a, p.has(a), want)
			}
		}
		for _, r := range all {
			for _, a := range []netip.Addr{r.from, r.to, r.from.Prev(), r.to.Next()} {
				if a.IsValid() {
					check(a)
				}
			}
		}
		for range 200 {
			check(randomPrefix(rnd, false).Addr())
		}
	}
}

// randomPrefix is crowded if near is set, so that ranges meet and overlap.
func randomPrefix(rnd *rand.Rand, near bool) netip.Prefix {
	var b [16]byte
	for i := range b {
		b[i] = byte(rnd.Uint32())
		if near && i < 7 && i != 1 {
			b[i] = 0xff * byte(rnd.IntN(2))
		}
	}
	if rnd.IntN(2) == 0 {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte(b[:4])), rnd.IntN(33)).Masked()
	}
	return netip.PrefixFrom(netip.AddrFrom16(b), rnd.IntN(129)).Masked()
}

func FuzzParseList(f *testing.F) {
	for _, s := range []string{"example.org\n.a.example\n*.b.example\n", "0.0.0.0 a.example b\n", "||a.example^\n@@||b.a.example^$important\n", "192.0.2.0/24\n10.0.0.1-10.0.0.9\n2001:db8::/32 ; x\n", "keyword:a\nregexp:^a+$\nx*y\nfull:a.b\n", "\ufeffXN--MNCHEN-3YA.example\nmünchen.example.\n"} {
		f.Add(s, "www.example.org", false)
	}
	f.Fuzz(func(t *testing.T, text, host string, subdomains bool) {
		c, err := ParseList([]byte(text), ListOptions{Subdomains: subdomains})
		if err != nil {
			if wrong := (*ListError)(nil); !errors.As(err, &wrong) || wrong.Why == "" {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		if c.Len() == 0 && c.Size() > 1<<12 {
			t.Errorf("nothing takes %d bytes", c.Size())
		}
		if target, err := ParseHost(host); err == nil {
			c.has(&target)
		}
		// What is a line of its own is in, whatever else the list has, unless it is exempt.
		for line := range strings.Lines(text) {
			word := strings.TrimSpace(line)
			target, err := ParseHost(word)
			if err != nil || c.Skipped > 0 || forBrowsers([]byte(text)) || strings.Contains(word, "%") || word != line[:len(line)-min(1, len(line)-len(word))] {
				continue
			}
			if !c.has(&target) && target.Dial == "" && word[0] != '#' {
				t.Errorf("%q is not in %q", word, text)
			}
		}
	})
}

// easylists is where Debian's webext-ublock-origin-firefox and -chromium keep them.
const easylists = "/usr/share/*/extensions/*/uBlock0@raymondhill.net/assets/thirdparties/easylist"

// TestRealLists reads EasyList and EasyPrivacy.
func TestRealLists(t *testing.T) {
	found, _ := filepath.Glob(easylists)
	if len(found) == 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("no lists: install webext-ublock-origin-firefox")
		}
		t.Skip("webext-ublock-origin-firefox is not installed")
	}
	for file, test := range map[string]struct {
		least   int
		in, out []string
	}{
		"easylist.txt":    {40000, []string{"ad.doubleclick.net", "x.ad.doubleclick.net", "adnxs.com"}, []string{"doubleclick.net", "example.org", "google.com", "github.com", "wikipedia.org"}},
		"easyprivacy.txt": {40000, []string{"hzstats.com", "www.hzstats.com"}, []string{"example.org", "google.com", "stats.britishbaseball.org.uk"}},
	} {
		data, err := os.ReadFile(filepath.Join(found[0], file))
		if err != nil {
			t.Fatal(err)
		}
		c, err := ParseList(data, ListOptions{})
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if c.Names < test.least || c.Bad > 0 || c.Skipped == 0 {
			t.Errorf("%s: %d names, %d addresses, %d skipped, %d bad (line %d)", file, c.Names, c.Addresses, c.Skipped, c.Bad, c.FirstBad)
		}
		for _, host := range test.in {
			if !fits(t, c, host) {
				t.Errorf("%s: %s is not in", file, host)
			}
		}
		for _, host := range test.out {
			if fits(t, c, host) {
				t.Errorf("%s: %s is in", file, host)
			}
		}
	}
}
