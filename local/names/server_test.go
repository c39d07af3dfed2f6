package names

import (
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// TestAnsweredHere has no upstream asked.
func TestAnsweredHere(t *testing.T) {
	for _, c := range []struct {
		name string
		kind uint16
		code int
		want string // the data of the answer
	}{
		{"localhost.", dns.TypeA, dns.RcodeSuccess, "127.0.0.1"},
		{"LocalHost.", dns.TypeAAAA, dns.RcodeSuccess, "::1"},
		{"a.localhost.", dns.TypeA, dns.RcodeSuccess, "127.0.0.1"},
		{"localhost.", dns.TypeMX, dns.RcodeSuccess, ""},
		{"printer.local.", dns.TypeA, dns.RcodeNameError, ""},
		{"local.", dns.TypeSOA, dns.RcodeNameError, ""},
		{"abc.ONION.", dns.TypeAAAA, dns.RcodeNameError, ""},
		{"a.b.invalid.", dns.TypeA, dns.RcodeNameError, ""},
		{"a.test.", dns.TypeTXT, dns.RcodeNameError, ""},
		{"a.alt.", dns.TypeA, dns.RcodeNameError, ""},
		{"router.home.arpa.", dns.TypeA, dns.RcodeNameError, ""},
		{"_dns.resolver.arpa.", dns.TypeSVCB, dns.RcodeNameError, ""},
		{"1.0.0.10.in-addr.arpa.", dns.TypePTR, dns.RcodeNameError, ""},
		{"1.0.16.172.in-addr.arpa.", dns.TypePTR, dns.RcodeNameError, ""},
		{"1.0.31.172.in-addr.arpa.", dns.TypePTR, dns.RcodeNameError, ""},
		{"1.0.168.192.in-addr.arpa.", dns.TypePTR, dns.RcodeNameError, ""},
		{"1.0.64.100.in-addr.arpa.", dns.TypePTR, dns.RcodeNameError, ""},
		{"1.0.127.100.in-addr.arpa.", dns.TypePTR, dns.RcodeNameError, ""},
		{"1.1.254.169.in-addr.arpa.", dns.TypePTR, dns.RcodeNameError, ""},
		{"1.0.0.127.in-addr.arpa.", dns.TypePTR, dns.RcodeNameError, ""},
		{"1" + strings.Repeat(".0", 31) + ".ip6.arpa.", dns.TypePTR, dns.RcodeNameError, ""},
		{"1.0.0.0.0.8.e.f.ip6.arpa.", dns.TypePTR, dns.RcodeNameError, ""},
		{"7.d.f.ip6.arpa.", dns.TypePTR, dns.RcodeNameError, ""},
		{"bad.example.", dns.TypeA, dns.RcodeNameError, ""},
		{"BAD.example.", dns.TypeANY, dns.RcodeNameError, ""},
		{"a.example.", dns.TypeANY, dns.RcodeSuccess, `"RFC8482" ""`},
		{"a.example.", dns.TypeAXFR, dns.RcodeRefused, ""},
		{"a.example.", dns.TypeIXFR, dns.RcodeRefused, ""},
		{"a.example.", dns.TypeTKEY, dns.RcodeNotImplemented, ""},
		{"a.example.", dns.TypeOPT, dns.RcodeNotImplemented, ""},
		{"a.example.", dns.TypeNone, dns.RcodeFormatError, ""},
	} {
		t.Run(c.name+" "+dns.TypeToString[c.kind], func(t *testing.T) {
			s := newSite(t, nil, "tcp://far")
			r := s.say(questionFor(c.name, c.kind), true)
			got := ""
			for _, rr := range r.Answer {
				got += strings.TrimPrefix(rr.String(), rr.Header().String())
			}
			if r.Rcode != c.code || got != c.want || r.Question[0].Name != c.name {
				t.Errorf("answered %v", r)
			}
			if none := c.code == dns.RcodeNameError || c.code == dns.RcodeSuccess && c.want == ""; none != (len(r.Ns) == 1) {
				t.Errorf("whoever keeps that there is none has to know for how long: %v", r)
			}
			if dials := s.net.Dials(); len(dials) > 0 {
				t.Errorf("dialled %v", dials)
			}
		})
	}
}

// TestZoneEdges asks upstreams about what merely looks like a special name.
func TestZoneEdges(t *testing.T) {
	for _, name := range []string{
		".", "a.notlocal.", "local.example.", "onion.example.", "1.0.15.172.in-addr.arpa.", "1.0.32.172.in-addr.arpa.", "1.0.63.100.in-addr.arpa.",
		"1.0.128.100.in-addr.arpa.", "1.1.1.1.in-addr.arpa.", "110.in-addr.arpa.", "arpa.", "c.f.ip6.arpa.", `a\.local.`,
	} {
		if zone := specialZone(name); zone != "" {
			t.Errorf("%s is in %s", name, zone)
		}
	}
}

// TestZero gives blocked names addresses that lead nowhere.
func TestZero(t *testing.T) {
	s := newSite(t, func(c *Config) { c.Zero = true }, "tcp://far")
	s.want("bad.example.", "0.0.0.0", ownTTL*time.Second)
	if r := s.say(questionFor("bad.example.", dns.TypeAAAA), false); len(r.Answer) != 1 || r.Answer[0].(*dns.AAAA).AAAA.String() != "::" {
		t.Errorf("answered %v", r)
	}
	if r := s.say(questionFor("bad.example.", dns.TypeHTTPS), false); r.Rcode != dns.RcodeSuccess || len(r.Answer) != 0 {
		t.Errorf("answered %v", r)
	}
}

// TestBlockedByDefault asks about nothing without a rule, save for the root.
func TestBlockedByDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, func(c *Config) { c.Blocked = nil }, "tcp://far")
		f := s.far("far", says(dns.RcodeSuccess, ". 60 IN NS a.root-servers.net.", ""))
		s.want("a.example.", "NXDOMAIN", 0)
		if r := s.say(questionFor(".", dns.TypeNS), true); len(r.Answer) != 1 || f.count() != 1 {
			t.Errorf("answered %v", r)
		}
	})
}

// TestSizes cuts answers to what the client of UDP takes; by TCP it gets all.
func TestSizes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, nil, "tcp://far")
		s.far("far", func(m *dns.Msg) *dns.Msg {
			r := says(dns.RcodeSuccess, "", "")(m)
			for range 200 {
				r.Answer = append(r.Answer, record(addressOfA))
			}
			return r
		})
		for size, most := range map[uint16]int{0: 512, 100: 512, 800: 800, 1232: 1232, 65535: 1232} {
			q := questionFor("a.example.", dns.TypeA)
			if size > 0 {
				q.SetEdns0(size, false)
			}
			b, _ := q.Pack()
			out := s.sayBytes(b, true)
			r := new(dns.Msg)
			if err := r.Unpack(out); err != nil || !r.Truncated || len(out) > most || len(out) < most/2 || (r.IsEdns0() != nil) != (size > 0) {
				t.Errorf("of %d bytes: %d, %v", size, len(out), err)
			}
		}
		if r := s.say(questionFor("a.example.", dns.TypeA), false); r.Truncated || len(r.Answer) != 200 {
			t.Errorf("by TCP: %d records", len(r.Answer))
		}
	})
}

// TestListening asks by UDP and TCP. A conn has several questions at once, and ends when
// its client is silent.
func TestListening(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, nil, "tcp://far")
		s.far("far", func(m *dns.Msg) *dns.Msg {
			time.Sleep(time.Second)
			return says(dns.RcodeSuccess, addressOfA, "")(m)
		})
		l, err := s.net.Host("127.0.0.1").Listen(":53")
		if err != nil {
			t.Fatal(err)
		}
		p, err := s.net.Host("127.0.0.1").ListenPacket(":53")
		if err != nil {
			t.Fatal(err)
		}
		go s.Serve(l)
		go s.ServePacket(p)
		t.Cleanup(func() { _, _ = l.Close(), p.Close() })

		u, err := s.net.Host("127.0.0.2").DialContext(t.Context(), "udp", "127.0.0.1:53")
		if err != nil {
			t.Fatal(err)
		}
		defer u.Close()
		for _, junk := range []string{"", "x", strings.Repeat("\xff", 100), strings.Repeat("\x00", 4000)} {
			_, _ = io.WriteString(u, junk)
		}
		q := questionFor("a.example.", dns.TypeA)
		b, _ := q.Pack()
		_, _ = u.Write(b)
		buf := make([]byte, 2000)
		for r := new(dns.Msg); r.Id != q.Id; {
			n, err := u.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			_ = r.Unpack(buf[:n])
		}

		c, err := s.net.Host("127.0.0.2").DialContext(t.Context(), "tcp", "127.0.0.1:53")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		slow := questionFor("b.example.", dns.TypeA)
		sb, _ := slow.Pack()
		_, _ = c.Write(append(framed(sb), framed(b)...))
		for _, want := range []uint16{q.Id, slow.Id} {
			out, err := readMessage(c)
			if err != nil || binary.BigEndian.Uint16(out) != want {
				t.Errorf("% x, %v; want the ID %x", out, err, want)
			}
		}
		began := time.Now()
		if _, err := c.Read(buf); err != io.EOF || time.Since(began) > clientIdle {
			t.Errorf("a silent client: %v after %v", err, time.Since(began))
		}
	})
}

// TestCrowdOfConns closes those beyond the limit.
func TestCrowdOfConns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, nil, "tcp://far")
		l, err := s.net.Host("127.0.0.1").Listen(":53")
		if err != nil {
			t.Fatal(err)
		}
		go s.Serve(l)
		t.Cleanup(func() { _ = l.Close() })
		var all []net.Conn
		for range mostConns + 1 {
			c, err := s.net.Host("127.0.0.2").DialContext(t.Context(), "tcp", "127.0.0.1:53")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			all = append(all, c)
		}
		synctest.Wait()
		began := time.Now()
		_, err = all[mostConns].Read(make([]byte, 1))
		if err == nil || time.Since(began) > 0 {
			t.Errorf("one too many: %v after %v", err, time.Since(began))
		}
		_, err = all[0].Read(make([]byte, 1))
		if err == nil || time.Since(began) != clientIdle {
			t.Errorf("the first: %v after %v", err, time.Since(began))
		}
	})
}

// TestCloseEndsAll has nobody wait for what is under way.
func TestCloseEndsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, nil, "tcp://hole", "tcp://silent")
		s.net.BlackHole("hole:53")
		s.far("silent", func(*dns.Msg) *dns.Msg { return nil })
		began := time.Now()
		go s.want("a.example.", "SERVFAIL", 0)
		synctest.Wait()
		time.Sleep(time.Second)
		_ = s.Close()
		if took := time.Since(began); took != time.Second {
			t.Errorf("took %v", took)
		}
		s.want("b.example.", "SERVFAIL", 0)
		s.Forget()
	})
}
