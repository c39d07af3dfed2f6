package names

import (
	"testing"
	"time"

	"github.com/miekg/dns"
)

// FuzzAnswer has a server say anything: what comes of it can be sent on, and has no address in it
// where addresses stand for names.
func FuzzAnswer(f *testing.F) {
	for _, records := range [][]string{
		{"a.example. 300 IN A 192.0.2.7", "a.example. 300 IN AAAA 2001:db8::7"},
		{"a.example. 300 IN CNAME b.example.", "b.example. 300 IN DNAME example."},
		{"a.example. 300 IN HTTPS 1 b.example. alpn=h2 ipv4hint=192.0.2.7 ipv6hint=2001:db8::7", "a.example. 300 IN SVCB 0 c.example."},
		{"a.example. 300 IN RRSIG HTTPS 13 2 300 20300101000000 20200101000000 1 example. AAAA", "a.example. 4294967295 IN TXT x"},
		{},
	} {
		m := questionFor("a.example.", dns.TypeA)
		m.Response = true
		for _, text := range records {
			m.Answer, m.Ns, m.Extra = append(m.Answer, record(text)), append(m.Ns, record(text)), append(m.Extra, record(text))
		}
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m := new(dns.Msg)
		if err := m.Unpack(b); err != nil {
			return
		}
		a := answerOf(m, true, 1)
		q := questionFor("a.example.", dns.TypeA)
		if ttl := a.ttl(q.Question[0]); ttl < 0 || ttl > mostTTL {
			t.Errorf("kept for %v", ttl)
		}
		_, _ = a.leadsTo(), a.size()
		bare := a.withoutAddresses()
		for _, one := range []*answer{a, a.older(time.Hour, time.Minute), a.stale(), bare} {
			for _, udp := range []bool{true, false} {
				if out, err := pack(q, reply(q, one), udp); err == nil && udp && len(out) > udpSize {
					t.Errorf("%d bytes by UDP", len(out))
				}
			}
		}
		for _, rr := range append(append(append([]dns.RR{}, bare.records...), bare.authority...), bare.extra...) {
			var values []dns.SVCBKeyValue
			switch rr := rr.(type) {
			case *dns.A, *dns.AAAA:
				t.Errorf("an address is left: %v", rr)
			case *dns.SVCB:
				values = rr.Value
			case *dns.HTTPS:
				values = rr.Value
			}
			for _, v := range values {
				if v.Key() == dns.SVCB_IPV4HINT || v.Key() == dns.SVCB_IPV6HINT {
					t.Errorf("a hint is left: %v", rr)
				}
			}
		}
	})
}
