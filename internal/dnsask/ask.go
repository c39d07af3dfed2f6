// Package dnsask asks for an address of a name, or the name of an address, by DNS
// over TCP (RFC 7766), over a conn that a chain has opened, and answers such
// questions at the far end.
package dnsask

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/byway-proxy/byway/chain"
)

// Exit is the address by which an egress of byway is asked for names: it answers
// itself, by the protocol of a DNS server, those who hold a credential. No other
// proxy can know it (RFC 6761 §6.4).
const Exit = "resolve.byway.invalid:53"

// limit bounds an exchange, besides its ctx.
const limit = 10 * time.Second

// maxMessage bounds an answer, in bytes: what is asked for takes far less.
const maxMessage = 8 << 10

// ErrAnswer is the error of what is no answer to the question.
var ErrAnswer = errors.New("an answer that is not DNS")

// errRefused is a DNS server's no to the question. Its errno is EACCES.
type errRefused struct{}

func (errRefused) Error() string        { return "refused by the DNS server" }
func (errRefused) Is(target error) bool { return target == syscall.EACCES }

// errNotFound is a net.DNSError, so that its errno is EHOSTUNREACH.
func errNotFound() error { return &net.DNSError{Err: "no such host", IsNotFound: true} }

// Ask is chain.Resolver's Resolve, asked of the DNS server at the other end of conn.
// It does not close conn.
func Ask(ctx context.Context, conn net.Conn, host string) (answer string, err error) {
	err = chain.Handshake(ctx, conn, limit, func() error {
		if a, perr := netip.ParseAddr(host); perr == nil {
			answer, err = askName(conn, a)
		} else {
			answer, err = askAddr(conn, host)
		}
		return err
	})
	return answer, err
}

// askAddr asks for both kinds of addresses at once.
func askAddr(conn net.Conn, host string) (string, error) {
	var asked []question
	for _, kind := range []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA} {
		q, err := newQuestion(host, kind)
		if err != nil {
			return "", err
		}
		asked = append(asked, q)
	}
	answers, err := exchange(conn, asked...)
	if err != nil {
		return "", err
	}
	var addrs []netip.Addr
	var failed error
	for _, a := range answers {
		found, err := a.addrs()
		if err != nil && failed == nil {
			failed = err
		}
		addrs = append(addrs, found...)
	}
	if len(addrs) == 0 && failed != nil {
		return "", failed
	}
	return chain.Preferred(addrs)
}

func askName(conn net.Conn, a netip.Addr) (string, error) {
	q, err := newQuestion(reverse(a), dnsmessage.TypePTR)
	if err != nil {
		return "", err
	}
	answers, err := exchange(conn, q)
	if err != nil {
		return "", err
	}
	return answers[0].name()
}

// reverse returns the name under which a's name is found (RFC 1035 §3.5, RFC 3596 §2.5).
func reverse(a netip.Addr) string {
	var b strings.Builder
	bytes := a.Unmap().AsSlice()
	for i := len(bytes) - 1; i >= 0; i-- {
		if len(bytes) == 4 {
			fmt.Fprintf(&b, "%d.", bytes[i])
		} else {
			fmt.Fprintf(&b, "%x.%x.", bytes[i]&15, bytes[i]>>4)
		}
	}
	if len(bytes) == 4 {
		return b.String() + "in-addr.arpa"
	}
	return b.String() + "ip6.arpa"
}

type question struct {
	id uint16
	dnsmessage.Question
}

func newQuestion(host string, kind dnsmessage.Type) (question, error) {
	name, err := dnsmessage.NewName(strings.TrimSuffix(host, ".") + ".")
	if err != nil {
		return question{}, errNotFound()
	}
	return question{uint16(rand.Uint32()), dnsmessage.Question{Name: name, Type: kind, Class: dnsmessage.ClassINET}}, nil
}

// exchange sends the questions at once, and reads their answers, which may come in
// any order (RFC 7766 §7).
func exchange(conn net.Conn, asked ...question) ([]reply, error) {
	if len(asked) == 2 && asked[0].id == asked[1].id {
		asked[1].id++
	}
	var out []byte
	for _, q := range asked {
		m := dnsmessage.Message{
			Header:    dnsmessage.Header{ID: q.id, RecursionDesired: true},
			Questions: []dnsmessage.Question{q.Question},
		}
		packed, err := m.Pack()
		if err != nil {
			return nil, errNotFound() // a label too long, say
		}
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(packed))), packed...)
	}
	if _, err := conn.Write(out); err != nil {
		return nil, err
	}
	replies := make([]reply, len(asked))
	for range asked {
		m, err := read(conn, maxMessage)
		if err != nil {
			return nil, err
		}
		i, err := match(m, asked)
		if err != nil {
			return nil, err
		}
		replies[i] = reply{m, asked[i].Type}
	}
	for i := range replies {
		if replies[i].Message == nil {
			return nil, ErrAnswer
		}
	}
	return replies, nil
}

// read reads one message of most bytes at most.
func read(r io.Reader, most int) (*dnsmessage.Message, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(head[:]))
	if n > most {
		return nil, ErrAnswer
	}
	packed := make([]byte, n)
	if _, err := io.ReadFull(r, packed); err != nil {
		return nil, err
	}
	m := new(dnsmessage.Message)
	if err := m.Unpack(packed); err != nil {
		return nil, ErrAnswer
	}
	return m, nil
}

// match returns which question m answers.
func match(m *dnsmessage.Message, asked []question) (int, error) {
	for i, q := range asked {
		if m.Response && m.ID == q.id && len(m.Questions) == 1 && m.Questions[0].Type == q.Type &&
			strings.EqualFold(m.Questions[0].Name.String(), q.Name.String()) {
			return i, nil
		}
	}
	return 0, ErrAnswer
}

// A reply is an answer to a question of that type.
type reply struct {
	*dnsmessage.Message
	kind dnsmessage.Type
}

func (r reply) err() error {
	switch r.RCode {
	case dnsmessage.RCodeSuccess:
		return nil
	case dnsmessage.RCodeNameError:
		return errNotFound()
	case dnsmessage.RCodeRefused:
		return errRefused{}
	}
	return fmt.Errorf("the DNS server failed: %s", strings.TrimPrefix(r.RCode.String(), "RCode"))
}

// addrs returns the addresses; the server has followed the aliases.
func (r reply) addrs() (all []netip.Addr, err error) {
	if err := r.err(); err != nil {
		return nil, err
	}
	for _, a := range r.Answers {
		switch body := a.Body.(type) {
		case *dnsmessage.AResource:
			all = append(all, netip.AddrFrom4(body.A))
		case *dnsmessage.AAAAResource:
			all = append(all, netip.AddrFrom16(body.AAAA))
		}
	}
	return all, nil
}

func (r reply) name() (string, error) {
	if err := r.err(); err != nil {
		return "", err
	}
	for _, a := range r.Answers {
		if ptr, ok := a.Body.(*dnsmessage.PTRResource); ok {
			return strings.TrimSuffix(ptr.PTR.String(), "."), nil
		}
	}
	return "", errNotFound()
}
