package names

import (
	"encoding/binary"
	"strings"

	"github.com/miekg/dns"
)

const (
	header  = 12
	udpSize = 1232 // what passes everywhere unfragmented, and what we say that we take
	block   = 128  // to which questions are padded (RFC 8467 §4.1)
)

// read takes a client's message apart. If it can't be answered from what it asks, reply is
// what to say of it, or nil for nothing at all.
func read(b []byte) (m, reply *dns.Msg) {
	if len(b) < header || b[2]&0x80 != 0 { // an answer is nobody's question
		return nil, nil
	}
	m = new(dns.Msg)
	if err := m.Unpack(b); err != nil {
		r := new(dns.Msg)
		r.Id, r.Response, r.Rcode = binary.BigEndian.Uint16(b), true, dns.RcodeFormatError
		r.Opcode = int(b[2]>>3) & 15
		return nil, r
	}
	if code := fault(m); code != dns.RcodeSuccess {
		return m, refuse(m, code)
	}
	return m, nil
}

// fault tells what is wrong with a question, by the code to answer it with.
func fault(m *dns.Msg) int {
	if m.Opcode != dns.OpcodeQuery {
		return dns.RcodeNotImplemented
	}
	if len(m.Question) != 1 || len(m.Answer) > 0 || len(m.Ns) > 0 {
		return dns.RcodeFormatError
	}
	opts := 0
	for _, rr := range m.Extra {
		if rr.Header().Rrtype == dns.TypeOPT {
			opts++
		}
	}
	switch q, opt := m.Question[0], m.IsEdns0(); {
	case opts > 1: // RFC 6891 §6.1.1
		return dns.RcodeFormatError
	case opt != nil && opt.Version() != 0:
		return dns.RcodeBadVers
	case q.Qtype == dns.TypeNone:
		return dns.RcodeFormatError
	case q.Qclass != dns.ClassINET, q.Qtype == dns.TypeAXFR, q.Qtype == dns.TypeIXFR:
		return dns.RcodeRefused
	case q.Qtype == dns.TypeANY:
		return dns.RcodeSuccess
	case q.Qtype == dns.TypeOPT, q.Qtype >= 128 && q.Qtype < 256: // RFC 6895 §3.1
		return dns.RcodeNotImplemented
	case !m.RecursionDesired: // would tell what others asked
		return dns.RcodeRefused
	}
	return dns.RcodeSuccess
}

func refuse(m *dns.Msg, code int) *dns.Msg { return reply(m, &answer{rcode: code}) }

// reply makes the message that answers m by a.
func reply(m *dns.Msg, a *answer) *dns.Msg {
	r := &dns.Msg{Answer: a.records, Ns: a.authority, Compress: true}
	r.Id, r.Opcode, r.Response, r.Rcode = m.Id, m.Opcode, true, a.rcode
	r.RecursionDesired, r.RecursionAvailable, r.CheckingDisabled = m.RecursionDesired, true, m.CheckingDisabled
	r.Question = m.Question
	r.Extra = append(r.Extra, a.extra...)
	opt := m.IsEdns0()
	r.AuthenticatedData = a.verified && (m.AuthenticatedData || opt != nil && opt.Do()) // RFC 6840 §5.8
	if opt != nil {
		r.SetEdns0(udpSize, opt.Do())
	}
	return r
}

// pack writes r for a client of UDP that asked by m, or else of TCP.
func pack(m, r *dns.Msg, udp bool) ([]byte, error) {
	size := dns.MaxMsgSize
	if udp {
		size = dns.MinMsgSize
		if m != nil {
			if opt := m.IsEdns0(); opt != nil {
				size = min(max(size, int(opt.UDPSize())), udpSize)
			}
		}
	}
	r.Truncate(size)
	return r.Pack()
}

// A key is what answers are kept by, and all that servers are told.
type key struct {
	name   string // in lower case
	kind   uint16
	do, cd bool
}

func keyOf(m *dns.Msg) key {
	q, opt := m.Question[0], m.IsEdns0()
	return key{strings.ToLower(q.Name), q.Qtype, opt != nil && opt.Do(), m.CheckingDisabled}
}

func (k key) question() dns.Question {
	return dns.Question{Name: k.name, Qtype: k.kind, Qclass: dns.ClassINET}
}

// query writes the question for a server.
func (k key) query(id uint16, padded bool) ([]byte, error) {
	m := &dns.Msg{Question: []dns.Question{k.question()}}
	m.Id, m.RecursionDesired, m.CheckingDisabled = id, true, k.cd
	m.SetEdns0(udpSize, k.do)
	if padded {
		opt := m.IsEdns0()
		pad := &dns.EDNS0_PADDING{}
		opt.Option = append(opt.Option, pad)
		pad.Padding = make([]byte, (block-m.Len()%block)%block)
	}
	return m.Pack()
}

// answers reports whether m answers the question k. Some servers that fail do not repeat it.
func (k key) answers(m *dns.Msg) bool {
	if m.Response && len(m.Question) == 0 && failure(m.Rcode) {
		return true
	}
	return m.Response && m.Opcode == dns.OpcodeQuery && !m.Truncated && len(m.Question) == 1 &&
		strings.EqualFold(m.Question[0].Name, k.name) && m.Question[0].Qtype == k.kind && m.Question[0].Qclass == dns.ClassINET
}
