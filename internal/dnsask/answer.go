package dnsask

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/byway-proxy/byway/chain"
)

// maxQuestion bounds a question, in bytes.
const maxQuestion = 512

// ttl is for how long an answer may be kept, in seconds: nobody here knows how long
// the true one may.
const ttl = 60

// A Source knows the answers. Of what it does not tell there is an error. One with a
// method Self() []string tells of itself; see [AskSelf].
type Source interface {
	Addrs(ctx context.Context, name string) ([]netip.Addr, error)
	Names(ctx context.Context, addr netip.Addr) ([]string, error)
}

// Answer answers the questions that come by conn, one after the other, until it
// ends or is silent for idle; then it closes conn.
func Answer(conn net.Conn, s Source, idle time.Duration) {
	defer func() { _ = conn.Close() }()
	for {
		_ = conn.SetDeadline(time.Now().Add(idle))
		m, err := read(conn, maxQuestion)
		if err != nil || m.Response || len(m.Questions) != 1 || m.OpCode != 0 {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		packed, err := answer(ctx, m, s)
		cancel()
		if err != nil {
			return
		}
		_ = conn.SetDeadline(time.Now().Add(idle))
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(packed))), packed...)); err != nil {
			return
		}
	}
}

// answer returns the answer to m.
func answer(ctx context.Context, m *dnsmessage.Message, s Source) ([]byte, error) {
	q := m.Questions[0]
	out := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: m.ID, Response: true, RecursionDesired: m.RecursionDesired, RecursionAvailable: true},
		Questions: []dnsmessage.Question{q},
	}
	bodies, err := find(ctx, q, s)
	var dns *net.DNSError
	switch {
	case err == nil:
	case errors.As(err, &dns) && dns.IsNotFound:
		out.RCode = dnsmessage.RCodeNameError
	case errors.Is(err, errors.ErrUnsupported):
		out.RCode = dnsmessage.RCodeNotImplemented
	case chain.Errno(err) == syscall.EACCES:
		out.RCode = dnsmessage.RCodeRefused
	default:
		out.RCode = dnsmessage.RCodeServerFailure
	}
	for _, b := range bodies {
		out.Answers = append(out.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: ttl}, Body: b,
		})
	}
	return out.Pack()
}

// most is how many records an answer has at most.
const most = 32

func find(ctx context.Context, q dnsmessage.Question, s Source) (bodies []dnsmessage.ResourceBody, err error) {
	name := strings.TrimSuffix(q.Name.String(), ".")
	switch q.Type {
	case dnsmessage.TypeA, dnsmessage.TypeAAAA:
		addrs, err := s.Addrs(ctx, name)
		for _, a := range addrs {
			switch a = a.Unmap(); {
			case len(bodies) == most:
			case a.Is4() && q.Type == dnsmessage.TypeA:
				bodies = append(bodies, &dnsmessage.AResource{A: a.As4()})
			case a.Is6() && q.Type == dnsmessage.TypeAAAA:
				bodies = append(bodies, &dnsmessage.AAAAResource{AAAA: a.As16()})
			}
		}
		return bodies, err
	case dnsmessage.TypeTXT:
		self, ok := s.(interface{ Self() []string })
		if !ok || !strings.EqualFold(name, selfName) {
			return nil, errors.ErrUnsupported
		}
		return []dnsmessage.ResourceBody{&dnsmessage.TXTResource{TXT: self.Self()}}, nil
	case dnsmessage.TypePTR:
		addr, ok := forward(name)
		if !ok {
			return nil, errNotFound()
		}
		names, err := s.Names(ctx, addr)
		for _, n := range names {
			if ptr, nerr := dnsmessage.NewName(strings.TrimSuffix(n, ".") + "."); nerr == nil && len(bodies) < most {
				bodies = append(bodies, &dnsmessage.PTRResource{PTR: ptr})
			}
		}
		return bodies, err
	}
	return nil, errors.ErrUnsupported
}

// forward is the other way of reverse.
func forward(name string) (netip.Addr, bool) {
	labels := strings.Split(strings.ToLower(name), ".")
	var text string
	switch n := len(labels); {
	case n == 4+2 && labels[4] == "in-addr" && labels[5] == "arpa":
		text = strings.Join([]string{labels[3], labels[2], labels[1], labels[0]}, ".")
	case n == 32+2 && labels[32] == "ip6" && labels[33] == "arpa":
		var b [16]byte
		for i := range 32 {
			d, err := strconv.ParseUint(labels[31-i], 16, 4)
			if err != nil || len(labels[31-i]) != 1 {
				return netip.Addr{}, false
			}
			b[i/2] = b[i/2]<<4 | byte(d)
		}
		return netip.AddrFrom16(b), true
	default:
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(text)
	return a, err == nil
}
