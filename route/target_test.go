package route

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// TestTrickySpellings is the table of spellings that could slip past a rule:
// what a rule compares, and what is dialled if that is not what the client wrote.
func TestTrickySpellings(t *testing.T) {
	for _, test := range []struct{ addr, want, dial string }{
		{"example.org:443", "example.org", ""},
		{"EXAMPLE.oRg:443", "example.org", ""},
		{"example.org.:443", "example.org", ""},
		{"EXAMPLE.ORG.:443", "example.org", ""},
		{"münchen.example:1", "xn--mnchen-3ya.example", "xn--mnchen-3ya.example:1"},
		{"MÜNCHEN.example.:1", "xn--mnchen-3ya.example", "xn--mnchen-3ya.example:1"},
		{"XN--MNCHEN-3YA.example:1", "xn--mnchen-3ya.example", ""},
		{"mu\u0308nchen.example:1", "xn--mnchen-3ya.example", "xn--mnchen-3ya.example:1"}, // decomposed
		{"ｅｘａｍｐｌｅ.org:1", "example.org", "example.org:1"},                                 // full width
		{"example。org:1", "example.org", "example.org:1"},                                 // ideographic full stop
		{"exam\u00adple.org:1", "example.org", "example.org:1"},                           // soft hyphen
		{"straße.example:1", "xn--strae-oqa.example", "xn--strae-oqa.example:1"},          // not "strasse"
		{"_dmarc.example.org:1", "_dmarc.example.org", ""},
		{"a--b.-c-.example:1", "a--b.-c-.example", ""},
		{"localhost:1", "localhost", ""},

		{"127.0.0.1:80", "127.0.0.1", ""},
		{"127.0.0.1.:80", "127.0.0.1", "127.0.0.1:80"},
		{"127.1:80", "127.0.0.1", "127.0.0.1:80"},
		{"127.0.1:80", "127.0.0.1", "127.0.0.1:80"},
		{"2130706433:80", "127.0.0.1", "127.0.0.1:80"},
		{"017700000001:80", "127.0.0.1", "127.0.0.1:80"},
		{"0x7f000001:80", "127.0.0.1", "127.0.0.1:80"},
		{"0x7F.1:80", "127.0.0.1", "127.0.0.1:80"},
		{"0x7f.0.0.0x1:80", "127.0.0.1", "127.0.0.1:80"},
		{"0177.0.0.01:80", "127.0.0.1", "127.0.0.1:80"},
		{"127.0.0x1:80", "127.0.0.1", "127.0.0.1:80"},
		{"010.0.0.1:80", "8.0.0.1", "8.0.0.1:80"}, // some read 10.0.0.1
		{"0:80", "0.0.0.0", "0.0.0.0:80"},
		{"0x:80", "0.0.0.0", "0.0.0.0:80"},
		{"１２７。０。０。１:80", "127.0.0.1", "127.0.0.1:80"},
		{"[::ffff:127.0.0.1]:80", "127.0.0.1", "127.0.0.1:80"},
		{"[::ffff:7f00:1]:80", "127.0.0.1", "127.0.0.1:80"},
		{"[0:0:0:0:0:FFFF:7f00:0001]:80", "127.0.0.1", "127.0.0.1:80"},
		{"[::1]:80", "::1", ""},
		{"[0:0::0:1]:80", "::1", ""},
		{"[FE80::1%eth0]:80", "fe80::1", ""},
		{"[2001:DB8::1]:80", "2001:db8::1", ""},
	} {
		got, err := ParseTarget(test.addr)
		text := got.Name
		if got.Addr.IsValid() {
			text = got.Addr.String()
		}
		if err != nil || text != test.want || got.Dial != test.dial {
			t.Errorf("%s: %q, dial %q, %v; want %q, dial %q", test.addr, text, got.Dial, err, test.want, test.dial)
		}
	}
	for _, addr := range []string{
		"", "example.org", ":80", ".:80", "a..b:80", ".a:80", "a..:80", "example.org:x", "example.org:70000", "example.org:",
		"256.1.1.1:80", "1.2.3.4.5:80", "127.0.0.256:80", "4294967296:80", "0x1ffffffff:80", "09.0.0.1:80", "1.2.3.09:80", "foo.1:80", "foo.0x1:80", "1..2:80",
		"exa mple.org:80", "exa\x00mple.org:80", "exa%6dple.org:80", "a/b:80", "a@b:80", "a\\b:80", "*.org:80",
		"xn--\x80:80", "xn--a-\u00fc:80", "xn--zzzzzzzzzz99999:80", "[::1:80", "[::1%]:80",
		strings.Repeat("a", 64) + ".org:80", strings.Repeat("a.", 127) + "org:80",
	} {
		got, err := ParseTarget(addr)
		if wrong := (*TargetError)(nil); !errors.As(err, &wrong) {
			t.Errorf("%q passes as %+v, %v", addr, got, err)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"example.org:443", "0x7f.1:80", "[::ffff:1.2.3.4]:1", "MÜNCHEN.example.:1", "１２７.1:80", "xn--mnchen-3ya.x:1", "1.2.3.09:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseTarget(s)
		if err != nil {
			return
		}
		if (got.Name == "") == !got.Addr.IsValid() {
			t.Fatalf("%q is both or neither: %+v", s, got)
		}
		if got.Addr.Is4In6() || got.Addr.Zone() != "" {
			t.Fatalf("%q is not canonical: %v", s, got.Addr)
		}
		host := got.Name
		if host == "" {
			host = got.Addr.String()
		} else if _, err := netip.ParseAddr(host); err == nil {
			t.Fatalf("the name %q is an address", host)
		}
		again, err := ParseHost(host)
		if err != nil || again.Name != got.Name || again.Addr != got.Addr || again.Dial != "" {
			t.Fatalf("%q is %q, and that is %+v, %v", s, host, again, err)
		}
		if got.Dial != "" {
			if d, err := ParseTarget(got.Dial); err != nil || d.Name != got.Name || d.Addr != got.Addr || d.Port != got.Port {
				t.Fatalf("%q dials %q, which is %+v, %v", s, got.Dial, d, err)
			}
		}
	})
}
