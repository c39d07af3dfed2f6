package names

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

func (s *StandIns) give(t *testing.T, name string) netip.Addr {
	t.Helper()
	v4, v6, ok := s.Give(name, client)
	if !ok {
		t.Fatalf("%s gets no address", name)
	}
	for _, a := range []netip.Addr{v4, v6, netip.AddrFrom16(v4.As16())} {
		if got, ok := s.Name(a); !ok || got != name || !IsStandIn(a) {
			t.Fatalf("%v stands for %q, want %q", a, got, name)
		}
	}
	return v4
}

// TestStandIns gives each name two addresses, the same ones each time, and in each process.
func TestStandIns(t *testing.T) {
	var one, other StandIns
	seen := make(map[netip.Addr]string)
	for i := range 2000 {
		name := fmt.Sprintf("a%d.example", i)
		a := one.give(t, name)
		if before, ok := seen[a]; ok {
			t.Fatalf("%v stands for %s and %s", a, before, name)
		}
		seen[a] = name
		if !StandIns4.Contains(a) || a.As4()[3] == 0 && a.As4()[2] == 0 && a.As4()[1] == 18 {
			t.Fatalf("%s has %v", name, a)
		}
		if again := one.give(t, name); again != a {
			t.Fatalf("%s has %v, then %v", name, a, again)
		}
	}
	same := 0
	for i := 1999; i >= 0; i-- { // in another order
		name := fmt.Sprintf("a%d.example", i)
		if seen[other.give(t, name)] == name {
			same++
		}
	}
	if same < 1900 {
		t.Errorf("after a restart only %d of 2000 have the same address", same)
	}
}

// TestStandsForNothing is about addresses in the ranges, and around them.
func TestStandsForNothing(t *testing.T) {
	var s StandIns
	a := s.give(t, "a.example")
	for text, in := range map[string]bool{
		"198.18.0.0": true, "198.19.255.255": true, "198.18.0.1": true, "198.17.255.255": false, "198.20.0.0": false,
		"fc00::": true, "fc00:3fff:ffff::1": true, "fc00::1:0:1": true, "fc00:4000::": false, "fbff::1": false, "fd00::1": false,
		"::ffff:198.18.0.1": true, "fc00::1%eth0": true, "::": false, "127.0.0.1": false,
	} {
		one := netip.MustParseAddr(text)
		if IsStandIn(one) != in {
			t.Errorf("%s: in the ranges: %v", text, !in)
		}
		if name, ok := s.Name(one); ok && one.Unmap() != a {
			t.Errorf("%s stands for %q", text, name)
		}
	}
	if IsStandIn(netip.Addr{}) {
		t.Error("no address is one")
	}
}

// TestStandInsAreBounded reuses what was not used for longest, and nothing that is in use or
// was of late.
func TestStandInsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s StandIns
		name := func(i int) string { return fmt.Sprintf("a%d.example", i) }
		all := make([]netip.Addr, mostStandIns)
		for i := range all {
			all[i] = s.give(t, name(i))
		}
		if _, _, ok := s.Give("more.example", client); ok {
			t.Fatal("an address was reused that was just given out")
		}
		time.Sleep(holdFor - time.Second)
		s.give(t, name(0)) // asked for again
		s.Name(all[1])     // connected to
		s.Hold(all[2])     // has a tunnel
		s.Hold(all[3])
		s.Hold(all[3])
		s.Release(all[3])
		time.Sleep(time.Second)
		for i := range len(all) - 4 {
			if _, _, ok := s.Give(fmt.Sprintf("b%d.example", i), client); !ok {
				t.Fatalf("%d names have new addresses, and there is no more", i)
			}
		}
		if _, _, ok := s.Give("more.example", client); ok {
			t.Error("an address was reused that is in use")
		}
		for i := range 4 {
			if got, _ := s.Name(all[i]); got != name(i) {
				t.Errorf("%d stands for %q", i, got)
			}
		}
		if len(s.by) != mostStandIns || len(s.at) != mostStandIns || s.rest.Len() != mostStandIns-2 {
			t.Errorf("%d names, %d places, %d at rest", len(s.by), len(s.at), s.rest.Len())
		}
		time.Sleep(24 * time.Hour)
		for i := range len(all) {
			if i%(len(all)/4) == 0 {
				time.Sleep(holdFor)
			}
			if _, _, ok := s.Give(fmt.Sprintf("c%d.example", i), client); !ok {
				t.Fatalf("no room for the %dth", i)
			}
		}
		for i := 2; i < 4; i++ {
			if got, _ := s.Name(all[i]); got != name(i) {
				t.Errorf("%d, which has a tunnel, stands for %q", i, got)
			}
			s.Release(all[i])
			s.Release(all[i]) // once too often
		}
		if s.rest.Len() != mostStandIns {
			t.Errorf("%d at rest", s.rest.Len())
		}
	})
}

// TestStandInsAtOnce is for the race detector.
func TestStandInsAtOnce(t *testing.T) {
	var s StandIns
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 200 {
				a, _, _ := s.Give(fmt.Sprintf("a%d.example", (i+j)%50), client)
				s.Hold(a)
				s.Name(a)
				s.Asked(a, client)
				s.Release(a)
			}
		})
	}
	wg.Wait()
	if s.rest.Len() != 50 {
		t.Errorf("%d at rest, want 50", s.rest.Len())
	}
}

// TestStandingIn answers with addresses that stand for names, and asks servers nothing for them.
func TestStandingIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var pool StandIns
		s := newSite(t, func(c *Config) { c.StandIns = &pool }, "tcp://far")
		f := s.far("far", func(m *dns.Msg) *dns.Msg {
			r := says(dns.RcodeSuccess, "", "")(m)
			for _, form := range map[uint16][]string{
				dns.TypeHTTPS: {"%s 300 IN HTTPS 1 . alpn=h2 ipv4hint=192.0.2.7 ipv6hint=2001:db8::7", "%s 300 IN RRSIG HTTPS 13 2 300 20300101000000 20200101000000 1 example. AAAA"},
				dns.TypeMX:    {"%s 300 IN MX 10 mail.example."},
			}[m.Question[0].Qtype] {
				r.Answer = append(r.Answer, record(fmt.Sprintf(form, m.Question[0].Name)))
			}
			r.Extra = append(r.Extra, record("mail.example. 300 IN A 192.0.2.8"), record("mail.example. 300 IN AAAA 2001:db8::8"))
			return r
		})
		v4, ttl := s.gets("WWW.Example.")
		if name, ok := pool.Name(netip.MustParseAddr(v4)); !ok || name != "www.example" || ttl != standTTL {
			t.Fatalf("%s for %v stands for %q", v4, ttl, name)
		}
		r := s.say(questionFor("www.example.", dns.TypeAAAA), true)
		if len(r.Answer) != 1 {
			t.Fatalf("answered %v", r)
		}
		v6, _ := netip.AddrFromSlice(r.Answer[0].(*dns.AAAA).AAAA)
		if name, _ := pool.Name(v6); name != "www.example" {
			t.Errorf("%v stands for %q", v6, name)
		}
		if f.count() != 0 {
			t.Errorf("a server was asked %v", f.asked)
		}
		for _, one := range []string{v4, v6.String()} {
			reverse, err := dns.ReverseAddr(one)
			if err != nil {
				t.Fatal(err)
			}
			r := s.say(questionFor(reverse, dns.TypePTR), true)
			if len(r.Answer) != 1 || r.Answer[0].(*dns.PTR).Ptr != "www.example." {
				t.Errorf("PTR of %s: %v", one, r)
			}
			b, _ := questionFor(reverse, dns.TypePTR).Pack()
			var out []byte
			s.answer(b, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 9)}, true, func(b []byte) { out = b }, func() {})
			if err := r.Unpack(out); err != nil || r.Rcode != dns.RcodeNameError || len(r.Answer) > 0 {
				t.Errorf("PTR for one who did not ask for the name: %v", r)
			}
		}
		for _, name := range []string{"1.0.18.198.in-addr.arpa.", "18.198.in-addr.arpa.", "x.0.18.198.in-addr.arpa.", "1.0.0.0.c.f.ip6.arpa.", "300.0.18.198.in-addr.arpa."} {
			if r := s.say(questionFor(name, dns.TypePTR), true); r.Rcode != dns.RcodeNameError || len(r.Ns) != 1 {
				t.Errorf("%s: %v", name, r)
			}
		}
		s.want("bad.example.", "NXDOMAIN", 0)
		s.want("localhost.", "127.0.0.1", ownTTL*time.Second)
		if len(pool.by) != 1 {
			t.Errorf("%d names have addresses, want 1", len(pool.by))
		}
		if f.count() != 0 {
			t.Errorf("a server was asked %v", f.asked)
		}
		for range 2 {
			r = s.say(questionFor("www.example.", dns.TypeHTTPS), false)
			if len(r.Answer) != 1 || len(r.Answer[0].(*dns.HTTPS).Value) != 1 || len(r.Extra) != 0 {
				t.Errorf("HTTPS: %v", r)
			}
			r = s.say(questionFor("www.example.", dns.TypeMX), false)
			if len(r.Answer) != 1 || len(r.Extra) != 0 {
				t.Errorf("MX: %v", r)
			}
		}
	})
}

// TestStandingInAlone needs no servers: of other kinds than addresses there is nothing.
func TestStandingInAlone(t *testing.T) {
	var pool StandIns
	s, err := New(Config{StandIns: &pool, Blocked: func(string, net.Addr) bool { return false }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	one := &site{t: t, Server: s}
	if got, _ := one.gets("a.example."); !IsStandIn(netip.MustParseAddr(got)) {
		t.Errorf("a.example is %s", got)
	}
	for _, kind := range []uint16{dns.TypeMX, dns.TypeHTTPS, dns.TypeTXT, dns.TypeSOA} {
		if r := one.say(questionFor("a.example.", kind), true); r.Rcode != dns.RcodeSuccess || len(r.Answer) > 0 || len(r.Ns) != 1 {
			t.Errorf("%s: %v", dns.TypeToString[kind], r)
		}
	}
	s.Forget()
	if got, _ := one.gets("a.example."); !IsStandIn(netip.MustParseAddr(got)) {
		t.Errorf("a.example is %s", got)
	}
	if r := one.say(questionFor(".", dns.TypeA), true); len(r.Answer) > 0 {
		t.Errorf("the root: %v", r)
	}
}

// FuzzReversed reads names in reverse zones as miekg/dns writes them.
func FuzzReversed(f *testing.F) {
	for _, s := range []string{"1.0.18.198.in-addr.arpa.", "arpa.", ".", "ip6.arpa.", "01.0.18.198.in-addr.arpa.", `\049.0.18.198.in-addr.arpa.`, "in-addr.in-addr.arpa."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, ok := reversed(s)
		if !ok {
			return
		}
		back, err := dns.ReverseAddr(a.String())
		if again, ok := reversed(back); err != nil || !ok || again != a {
			t.Errorf("%q is %v, which is %q, which is %v", s, a, back, again)
		}
	})
}
