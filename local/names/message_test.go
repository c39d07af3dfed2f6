package names

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// TestMalformed tells of what is wrong, where there is somebody to be told.
func TestMalformed(t *testing.T) {
	s := newSite(t, nil, "tcp://far")
	packed := func(change func(*dns.Msg)) string {
		m := questionFor("a.example.", dns.TypeA)
		change(m)
		b, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	whole := packed(func(*dns.Msg) {})
	for name, c := range map[string]struct {
		in   string
		code int // -1 for no answer
	}{
		"nothing":         {"", -1},
		"half a header":   {whole[:11], -1},
		"an answer":       {packed(func(m *dns.Msg) { m.Response = true }), -1},
		"half a question": {whole[:20], dns.RcodeFormatError},
		"no question":     {packed(func(m *dns.Msg) { m.Question = nil }), dns.RcodeFormatError},
		"two questions":   {packed(func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }), dns.RcodeFormatError},
		"with an answer":  {packed(func(m *dns.Msg) { m.Answer = []dns.RR{record(addressOfA)} }), dns.RcodeFormatError},
		"two OPT": {packed(func(m *dns.Msg) {
			m.SetEdns0(1232, false)
			m.Extra = append(m.Extra, m.Extra[0])
		}), dns.RcodeFormatError},
		"EDNS of the future": {packed(func(m *dns.Msg) { m.SetEdns0(1232, false); m.IsEdns0().SetVersion(1) }), dns.RcodeBadVers},
		"an update":          {packed(func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }), dns.RcodeNotImplemented},
		"a notify":           {packed(func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }), dns.RcodeNotImplemented},
		"class CHAOS":        {packed(func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }), dns.RcodeRefused},
		"class ANY":          {packed(func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassANY }), dns.RcodeRefused},
		"no recursion":       {packed(func(m *dns.Msg) { m.RecursionDesired = false }), dns.RcodeRefused},
		"a loop of pointers": {whole[:12] + "\xc0\x0c\x00\x01\x00\x01", dns.RcodeFormatError},
	} {
		out := s.sayBytes([]byte(c.in), true)
		if c.code < 0 {
			if out != nil {
				t.Errorf("%s: answered % x", name, out)
			}
			continue
		}
		r := new(dns.Msg)
		if err := r.Unpack(out); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if r.Rcode != c.code || !r.Response || r.Id != binary.BigEndian.Uint16([]byte(c.in)) {
			t.Errorf("%s: answered %v", name, r)
		}
	}
}

func FuzzMessage(f *testing.F) {
	for _, m := range []*dns.Msg{questionFor("a.example.", dns.TypeA), questionFor("bad.example.", dns.TypeANY), questionFor("localhost.", dns.TypeAAAA), questionFor(".", dns.TypeNS)} {
		b, _ := m.Pack()
		f.Add(b)
		m.SetEdns0(512, true)
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0123456789abcdef"}, &dns.EDNS0_PADDING{Padding: make([]byte, 5)}}
		b, _ = m.Pack()
		f.Add(b)
		f.Add(b[:len(b)-3])
		f.Add(b[:20])
	}
	f.Add([]byte{})
	f.Add([]byte("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01"))
	f.Add([]byte("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x00\x00\x01\x00\x01\x00\x00\x29\xff\xff\xff\xff\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, r := read(b)
		if m == nil && r == nil {
			return
		}
		if m != nil && r == nil {
			k := keyOf(m)
			query, err := k.query(7, true)
			if err != nil || len(query)%block != 0 {
				t.Fatalf("asked with %d bytes: %v", len(query), err)
			}
			asked := new(dns.Msg)
			if err := asked.Unpack(query); err != nil || strings.ToLower(asked.Question[0].Name) != k.name || asked.Question[0].Qtype != k.kind {
				t.Fatalf("%v is asked as %v (%v)", m, asked, err)
			}
			zone := specialZone(k.name)
			a := missing(k.name)
			if zone != "" {
				a = answerSpecial(m.Question[0], zone)
			}
			r = reply(m, a)
		}
		for _, udp := range []bool{true, false} {
			out, err := pack(m, r, udp)
			if err != nil {
				t.Fatalf("%v can't be answered by %v: %v", m, r, err)
			}
			if binary.BigEndian.Uint16(out) != binary.BigEndian.Uint16(b) || out[2]&0x80 == 0 || udp && len(out) > udpSize {
				t.Fatalf("answered % x to % x", out, b)
			}
		}
	})
}
