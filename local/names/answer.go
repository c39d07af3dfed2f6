package names

import (
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// An answer is what a server said, or we say ourselves. It is not changed once it is made.
type answer struct {
	rcode     int
	records   []dns.RR
	authority []dns.RR
	extra     []dns.RR // without OPT
	verified  bool     // AD, from a server whose word is not open to change on the way
	bogus     bool     // DNSSEC says that what there is was tampered with; nobody else is asked
}

// Limits of TTLs (RFC 2308 §5 for those of what is not there).
const (
	mostTTL   = 24 * time.Hour
	mostNoTTL = time.Hour
)

// answerOf takes what is of use from a server's message, whose TTLs are age seconds old.
func answerOf(m *dns.Msg, encrypted bool, age uint32) *answer {
	take := func(from []dns.RR) []dns.RR {
		out := make([]dns.RR, 0, len(from))
		for _, rr := range from {
			switch h := rr.Header(); h.Rrtype {
			case dns.TypeOPT, dns.TypeTSIG, dns.TypeSIG, dns.TypeTKEY:
				continue
			default:
				if h.Ttl > 1<<31-1 { // RFC 2181 §8
					h.Ttl = 0
				}
				h.Ttl -= min(h.Ttl, age)
			}
			out = append(out, rr)
		}
		return out
	}
	return &answer{
		rcode: m.Rcode, bogus: m.Rcode == dns.RcodeServerFailure && saysBogus(m), verified: m.AuthenticatedData && encrypted,
		records: take(m.Answer), authority: take(m.Ns), extra: take(m.Extra),
	}
}

// saysBogus reports whether a server failed since the signatures did (RFC 8914 §4.6 to 4.13).
func saysBogus(m *dns.Msg) bool {
	opt := m.IsEdns0()
	return opt != nil && slices.ContainsFunc(opt.Option, func(o dns.EDNS0) bool {
		e, ok := o.(*dns.EDNS0_EDE)
		return ok && e.InfoCode >= dns.ExtendedErrorCodeDNSSECIndeterminate && e.InfoCode <= dns.ExtendedErrorCodeNSECMissing
	})
}

// leadsTo returns the names, in lower case and without a trailing dot, that a program is
// told to go on with: what aliases stand for, and where services are.
func (a *answer) leadsTo() (all []string) {
	add := func(target string) {
		if target != "." {
			all = append(all, strings.ToLower(strings.TrimSuffix(target, ".")))
		}
	}
	for _, rr := range a.records {
		switch rr := rr.(type) {
		case *dns.CNAME:
			add(rr.Target)
		case *dns.DNAME:
			add(rr.Target)
		case *dns.SVCB:
			add(rr.Target)
		case *dns.HTTPS:
			add(rr.Target)
		}
	}
	return all
}

// ttl returns how long a may be kept.
func (a *answer) ttl(q dns.Question) time.Duration {
	if a.rcode != dns.RcodeSuccess && a.rcode != dns.RcodeNameError {
		return 0
	}
	least := mostTTL
	for _, rr := range slices.Concat(a.records, a.authority) {
		least = min(least, seconds(rr.Header().Ttl))
	}
	there := a.rcode == dns.RcodeSuccess && slices.ContainsFunc(a.records, func(rr dns.RR) bool { return rr.Header().Rrtype == q.Qtype })
	if there {
		return least
	}
	for _, rr := range a.authority {
		if soa, ok := rr.(*dns.SOA); ok {
			return min(least, seconds(soa.Minttl), mostNoTTL)
		}
	}
	return 0 // RFC 2308 §5
}

func seconds(n uint32) time.Duration { return time.Duration(n) * time.Second }

// older returns a with the TTLs of what is age old, and none above most.
func (a *answer) older(age, most time.Duration) *answer {
	count := func(from []dns.RR) []dns.RR {
		out := make([]dns.RR, len(from))
		for i, rr := range from {
			out[i] = dns.Copy(rr)
			h := out[i].Header()
			left := max(seconds(h.Ttl)-age, 0)
			h.Ttl = uint32(min(left, most) / time.Second) //nolint:gosec // between 0 and what it was
		}
		return out
	}
	b := *a
	b.records, b.authority, b.extra = count(a.records), count(a.authority), count(a.extra)
	return &b
}

// stale returns a with the TTL of what nobody could be asked about (RFC 8767 §4).
func (a *answer) stale() *answer {
	set := func(from []dns.RR) []dns.RR {
		out := make([]dns.RR, len(from))
		for i, rr := range from {
			out[i] = dns.Copy(rr)
			out[i].Header().Ttl = uint32(staleTTL / time.Second)
		}
		return out
	}
	b := *a
	b.records, b.authority, b.extra = set(a.records), set(a.authority), set(a.extra)
	return &b
}

func (a *answer) size() int {
	n := 0
	for _, rr := range slices.Concat(a.records, a.authority, a.extra) {
		n += dns.Len(rr)
	}
	return n
}
