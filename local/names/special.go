package names

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// special are zones that nobody else is asked about, with where that is laid down. What
// is in them does not exist, save for localhost.
var special = withRanges(map[string]string{
	"localhost.":     "RFC 6761 §6.3",
	"test.":          "RFC 6761 §6.2",
	"invalid.":       "RFC 6761 §6.4",
	"local.":         "RFC 6762 §22.1",
	"onion.":         "RFC 7686 §2",
	"alt.":           "RFC 9476 §2",
	"home.arpa.":     "RFC 8375 §4",
	"resolver.arpa.": "RFC 9462 §6.4",

	"0.in-addr.arpa.":               "RFC 6303 §4.2",
	"127.in-addr.arpa.":             "RFC 6303 §4.2",
	"254.169.in-addr.arpa.":         "RFC 6303 §4.2",
	"2.0.192.in-addr.arpa.":         "RFC 6303 §4.2",
	"100.51.198.in-addr.arpa.":      "RFC 6303 §4.2",
	"113.0.203.in-addr.arpa.":       "RFC 6303 §4.2",
	"255.255.255.255.in-addr.arpa.": "RFC 6303 §4.2",
	"10.in-addr.arpa.":              "RFC 6303 §4.1",
	"168.192.in-addr.arpa.":         "RFC 6303 §4.1",
	"d.f.ip6.arpa.":                 "RFC 6303 §4.4",
	"8.e.f.ip6.arpa.":               "RFC 6303 §4.5",
	"9.e.f.ip6.arpa.":               "RFC 6303 §4.5",
	"a.e.f.ip6.arpa.":               "RFC 6303 §4.5",
	"b.e.f.ip6.arpa.":               "RFC 6303 §4.5",
	"8.b.d.0.1.0.0.2.ip6.arpa.":     "RFC 6303 §4.6",
})

// withRanges adds those zones that have numbers in a row, and those with long names.
func withRanges(zones map[string]string) map[string]string {
	for i := 16; i < 32; i++ {
		zones[fmt.Sprintf("%d.172.in-addr.arpa.", i)] = "RFC 6303 §4.1"
	}
	for i := 64; i < 128; i++ {
		zones[fmt.Sprintf("%d.100.in-addr.arpa.", i)] = "RFC 7793"
	}
	for first := range 2 { // :: and ::1
		zones[fmt.Sprint(first)+strings.Repeat(".0", 31)+".ip6.arpa."] = "RFC 6303 §4.3"
	}
	return zones
}

// Special returns the zone that nobody else is asked about in which name is, and where that is
// laid down; "" and "" if it is in none.
func Special(name string) (zone, why string) {
	zone = specialZone(dns.Fqdn(strings.ToLower(name)))
	return strings.TrimSuffix(zone, "."), special[zone]
}

// specialZone returns the zone of special that a name in lower case is in, or "".
func specialZone(name string) string {
	for at, end := 0, false; !end; at, end = dns.NextLabel(name, at) {
		if special[name[at:]] != "" {
			return name[at:]
		}
	}
	return ""
}

// answerSpecial returns the answer to a question about a name in zone.
func answerSpecial(q dns.Question, zone string) *answer {
	if zone == "localhost." {
		return addresses(q, zone, "127.0.0.1", "::1")
	}
	return missing(zone)
}

// addresses returns an answer with a4 or a6, whichever is asked for.
func addresses(q dns.Question, zone, a4, a6 string) *answer {
	head := dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: dns.ClassINET, Ttl: ownTTL}
	switch q.Qtype {
	case dns.TypeA:
		return &answer{records: []dns.RR{&dns.A{Hdr: head, A: netip.MustParseAddr(a4).AsSlice()}}}
	case dns.TypeAAAA:
		return &answer{records: []dns.RR{&dns.AAAA{Hdr: head, AAAA: netip.MustParseAddr(a6).AsSlice()}}}
	}
	return empty(zone)
}

// missing says that a name in zone does not exist, for as long as ownTTL.
func missing(zone string) *answer {
	return &answer{rcode: dns.RcodeNameError, authority: []dns.RR{&dns.SOA{
		Hdr: dns.RR_Header{Name: zone, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: ownTTL},
		Ns:  zone, Mbox: "nobody.invalid.", Serial: 1, Refresh: 3600, Retry: 1200, Expire: 604800, Minttl: ownTTL,
	}}}
}

// ownTTL is that of answers made here, in seconds. Rules change by the hour.
const ownTTL = 10
