package names

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// standIn answers q, about a name that is not blocked, where addresses stand for names; nil
// leaves it to the servers.
func (s *Server) standIn(q dns.Question, name string, client net.Addr) *answer {
	switch q.Qtype {
	case dns.TypeA, dns.TypeAAAA:
		if name == "." {
			break
		}
		v4, v6, ok := s.config.StandIns.Give(strings.TrimSuffix(name, "."), client)
		if !ok {
			return &answer{rcode: dns.RcodeServerFailure}
		}
		a := addresses(q, name, v4.String(), v6.String())
		a.records[0].Header().Ttl = uint32(standTTL / time.Second)
		return a
	}
	if len(s.config.Upstreams) == 0 {
		return empty(name)
	}
	return nil
}

// standsFor answers a question about a name in zone, which is one of those in which addresses
// that stand for names have theirs.
func (s *Server) standsFor(q dns.Question, zone string, client net.Addr) *answer {
	a, ok := reversed(strings.ToLower(q.Name))
	if !ok {
		return missing(zone)
	}
	name, ok := s.config.StandIns.Asked(a, client)
	switch {
	case !ok:
		return missing(zone)
	case q.Qtype != dns.TypePTR:
		return empty(zone)
	}
	head := dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: dns.ClassINET, Ttl: ownTTL}
	return &answer{records: []dns.RR{&dns.PTR{Hdr: head, Ptr: name + "."}}}
}

// standZones are the reverse zones of the ranges of stand-ins.
var standZones = []string{
	"18.198.in-addr.arpa.", "19.198.in-addr.arpa.",
	"0.0.0.c.f.ip6.arpa.", "1.0.0.c.f.ip6.arpa.", "2.0.0.c.f.ip6.arpa.", "3.0.0.c.f.ip6.arpa.",
}

// standZone returns which of standZones a name in lower case is in, or "".
func standZone(name string) string {
	for _, zone := range standZones {
		if dns.IsSubDomain(zone, name) {
			return zone
		}
	}
	return ""
}

// reversed returns the address whose name in a reverse zone (RFC 1035 §3.5, RFC 3596 §2.5) is
// name, in lower case.
func reversed(name string) (netip.Addr, bool) {
	labels := dns.SplitDomainName(name)
	slices.Reverse(labels)
	if len(labels) < 2 || labels[0] != "arpa" {
		return netip.Addr{}, false
	}
	kind, digits := labels[1], labels[2:]
	switch {
	case kind == "in-addr" && len(digits) == 4:
		a, err := netip.ParseAddr(strings.Join(digits, "."))
		return a, err == nil && a.Is4()
	case kind == "ip6" && len(digits) == 32:
		var b [16]byte
		for i, d := range digits {
			n, err := strconv.ParseUint(d, 16, 4)
			if err != nil || len(d) != 1 {
				return netip.Addr{}, false
			}
			b[i/2] |= byte(n) << (4 * (1 - i%2))
		}
		return netip.AddrFrom16(b), true
	}
	return netip.Addr{}, false
}

// empty says that there is nothing of the kind that was asked for.
func empty(zone string) *answer {
	a := missing(zone)
	a.rcode = dns.RcodeSuccess
	return a
}

// withoutAddresses returns a without all by which a program could go to a target other than
// by the addresses that stand for its name.
func (a *answer) withoutAddresses() *answer {
	strip := func(from []dns.RR) []dns.RR {
		out := make([]dns.RR, 0, len(from))
		for _, rr := range from {
			switch rr := rr.(type) {
			case *dns.A, *dns.AAAA, *dns.L32, *dns.L64, *dns.APL:
			case *dns.SVCB:
				bare := *rr
				bare.Value = withoutHints(rr.Value)
				out = append(out, &bare)
			case *dns.HTTPS:
				bare := *rr
				bare.Value = withoutHints(rr.Value)
				out = append(out, &bare)
			default:
				if h := rr.Header(); h.Rrtype != dns.TypeRRSIG || !signsAddresses(rr) {
					out = append(out, rr)
				}
			}
		}
		return out
	}
	b := *a
	b.records, b.authority, b.extra = strip(a.records), strip(a.authority), strip(a.extra)
	b.verified = false
	return &b
}

func withoutHints(all []dns.SVCBKeyValue) []dns.SVCBKeyValue {
	return slices.DeleteFunc(slices.Clone(all), func(v dns.SVCBKeyValue) bool {
		return v.Key() == dns.SVCB_IPV4HINT || v.Key() == dns.SVCB_IPV6HINT
	})
}

// signsAddresses reports whether rr is the signature of what was left out or changed.
func signsAddresses(rr dns.RR) bool {
	s, ok := rr.(*dns.RRSIG)
	return ok && slices.Contains([]uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSVCB, dns.TypeHTTPS}, s.TypeCovered)
}
