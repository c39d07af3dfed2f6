package route_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/route"
)

// mmdb is a database of MaxMind's format, version 2.0, whose tree has one node: the
// lower half of IPv4 has one value, the upper half the other. Both are maps.
func mmdb(lower, upper string) []byte {
	text := func(s string) string { return string([]byte{byte(2<<5 | len(s))}) + s }
	number := func(kind, n byte) string { return string([]byte{kind<<5 | 1, n}) }
	const separator = 16
	first := byte(1 + separator)
	second := first + byte(len(lower))
	tree := string([]byte{0, 0, first, 0, 0, second}) + strings.Repeat("\x00", separator)
	meta := "\xab\xcd\xefMaxMind.com\xe7" +
		text("node_count") + number(6, 1) + text("record_size") + number(5, 24) + text("ip_version") + number(5, 4) +
		text("binary_format_major_version") + number(5, 2) + text("binary_format_minor_version") + number(5, 0) +
		text("build_epoch") + "\x01\x02\x01" + text("database_type") + text("test")
	return []byte(tree + lower + upper + meta)
}

// nested is {"country": {"iso_code": code}}, flat is {"country_code": code}.
func nested(code string) string { return "\xe1\x47country\xe1\x48iso_code\x42" + code }
func flat(code string) string   { return "\xe1\x4ccountry_code\x42" + code }

func TestCountry(t *testing.T) {
	for name, data := range map[string][]byte{
		"nested": mmdb(nested("DE"), nested("fr")),
		"flat":   mmdb(flat("DE"), flat("fr")),
	} {
		db, err := route.NewCountryDB(data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		table := route.Table{{If: route.Match{Countries: &route.Countries{DB: db, Codes: []string{"FR", "IT"}}}}}
		for addr, want := range map[string]int{"192.0.2.1:80": 0, "10.0.0.1:80": -1, "a.example:80": -1, "0xc0000201:80": 0, "[::ffff:192.0.2.1]:80": 0, "[2001:db8::1]:80": -1} {
			if _, got := table.Decide(relay.Request{Network: "tcp", Addr: addr}, monday); got != want {
				t.Errorf("%s: %s is decided by %d, want %d", name, addr, got, want)
			}
		}
	}
	for name, data := range map[string][]byte{
		"empty": nil, "text": []byte("country,code\n"), "of other things": mmdb("\xe1\x44city\x42Xy", "\xe1\x44city\x42Xy"), "cut": mmdb(flat("DE"), flat("FR"))[:60],
	} {
		if _, err := route.NewCountryDB(data); err == nil {
			t.Errorf("%s passes for a database", name)
		}
	}
}

// TestRealCountries needs a database, which .ci/run fetches:
//
//	npm install --prefix .ci/data @ip-location-db/geo-whois-asn-country-mmdb
func TestRealCountries(t *testing.T) {
	found, _ := filepath.Glob("../.ci/data/node_modules/@ip-location-db/geo-whois-asn-country-mmdb/*country.mmdb")
	if len(found) == 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("no database of countries: run .ci/run install")
		}
		t.Skip("no database of countries")
	}
	data, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	db, err := route.NewCountryDB(data)
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]string{"8.8.8.8": "US", "193.0.0.1": "NL", "202.12.29.1": "AU", "2001:67c:2e8::1": "NL", "127.0.0.1": "", "10.0.0.1": ""} {
		if got := db.Country(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s is in %q, want %q", addr, got, want)
		}
	}
}
