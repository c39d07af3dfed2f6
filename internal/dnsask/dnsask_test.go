package dnsask_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/dnsask"
	"github.com/byway-proxy/byway/internal/testnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// book is a Source.
type book map[string][]string

func (b book) Addrs(_ context.Context, name string) (all []netip.Addr, err error) {
	if name == "refused.example" {
		return nil, syscall.EACCES
	}
	for _, a := range b[strings.ToLower(name)] {
		all = append(all, netip.MustParseAddr(a))
	}
	return all, b.err(name)
}

func (b book) Names(_ context.Context, a netip.Addr) ([]string, error) {
	return b[a.String()], b.err(a.String())
}

func (b book) err(host string) error {
	switch {
	case host == "broken.example":
		return errors.New("no")
	case b[host] == nil && b[strings.ToLower(host)] == nil:
		return &net.DNSError{Err: "no such host", IsNotFound: true}
	}
	return nil
}

var entries = book{
	"both.example": {"2001:db8::1", "192.0.2.1"}, "six.example": {"2001:db8::1"}, "empty.example": {},
	"192.0.2.1": {"name.example.", "second.example."}, "2001:db8::1": {"six.example."},
}

func TestAskAndAnswer(t *testing.T) {
	near, far := testnet.Pipe(0)
	done := make(chan struct{})
	go func() {
		defer close(done)
		dnsask.Answer(far, entries, time.Minute)
	}()
	for host, want := range map[string]any{
		"both.example": "192.0.2.1", "BOTH.example.": "192.0.2.1", "six.example": "2001:db8::1",
		"192.0.2.1": "name.example", "2001:db8::1": "six.example", "::ffff:192.0.2.1": "name.example",
		"none.example": syscall.EHOSTUNREACH, "empty.example": syscall.EHOSTUNREACH, "192.0.2.9": syscall.EHOSTUNREACH,
		"refused.example": syscall.EACCES, "broken.example": syscall.Errno(0),
		strings.Repeat("a.", 200): syscall.EHOSTUNREACH, strings.Repeat("a", 64) + ".example": syscall.EHOSTUNREACH, "a..b": syscall.EHOSTUNREACH,
	} {
		got, err := dnsask.Ask(t.Context(), near, host)
		if errno, fails := want.(syscall.Errno); fails {
			if err == nil || chain.Errno(err) != errno {
				t.Errorf("%.20s: %q, %v; want %v", host, got, err, want)
			}
			continue
		}
		if err != nil || got != want {
			t.Errorf("%s: %q, %v; want %v", host, got, err, want)
		}
	}
	_ = near.Close()
	<-done
}

// TestGarbage: what is no answer to the question is an error, and is not waited for.
func TestGarbage(t *testing.T) {
	pack := func(change func(m *dnsmessage.Message)) func(asked dnsmessage.Message) []byte {
		return func(m dnsmessage.Message) []byte {
			m.Response = true
			change(&m)
			b, err := m.Pack()
			if err != nil {
				t.Fatal(err)
			}
			return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
		}
	}
	for name, answer := range map[string]func(dnsmessage.Message) []byte{
		"a page": func(dnsmessage.Message) []byte {
			return []byte("HTTP/1.1 400 Bad Request\r\n" + strings.Repeat(" ", 64<<10))
		},
		"too long":         func(dnsmessage.Message) []byte { return []byte{0xff, 0xff} },
		"no message":       func(dnsmessage.Message) []byte { return []byte{0, 3, 1, 2, 3} },
		"empty":            func(dnsmessage.Message) []byte { return []byte{0, 0} },
		"another id":       pack(func(m *dnsmessage.Message) { m.ID += 7 }),
		"a question":       pack(func(m *dnsmessage.Message) { m.Response = false }),
		"no question":      pack(func(m *dnsmessage.Message) { m.Questions = nil }),
		"another question": pack(func(m *dnsmessage.Message) { m.Questions[0].Name = dnsmessage.MustNewName("other.example.") }),
		"another type":     pack(func(m *dnsmessage.Message) { m.Questions[0].Type = dnsmessage.TypeMX }),
	} {
		near, far := testnet.Pipe(0)
		go func() {
			asked := readMessage(t, far)
			_, _ = far.Write(answer(asked))
		}()
		if got, err := dnsask.Ask(t.Context(), near, "192.0.2.1"); !errors.Is(err, dnsask.ErrAnswer) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		_ = near.Close()
		_ = far.Close()
	}
}

func readMessage(t *testing.T, r io.Reader) (m dnsmessage.Message) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		t.Error(err)
	}
	b := make([]byte, binary.BigEndian.Uint16(head[:]))
	if _, err := io.ReadFull(r, b); err != nil {
		t.Error(err)
	}
	if err := m.Unpack(b); err != nil {
		t.Error(err)
	}
	return m
}

// TestOneAnswerTwice: the answer to one question is not taken for that to the other.
func TestOneAnswerTwice(t *testing.T) {
	near, far := testnet.Pipe(0)
	defer near.Close()
	defer far.Close()
	go func() {
		m := readMessage(t, far)
		m.Response = true
		b, _ := m.Pack()
		b = append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
		_, _ = far.Write(append(b, b...))
	}()
	if _, err := dnsask.Ask(t.Context(), near, "both.example"); !errors.Is(err, dnsask.ErrAnswer) {
		t.Error(err)
	}
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := testnet.Pipe(0)
		began := time.Now()
		if _, err := dnsask.Ask(t.Context(), near, "both.example"); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != 10*time.Second {
			t.Errorf("a silent server: %v after %v", err, time.Since(began))
		}
		began = time.Now()
		dnsask.Answer(far, entries, time.Minute) // reads two questions, whose answers nobody reads, then idles
		if time.Since(began) != time.Minute {
			t.Errorf("a silent client is gone after %v", time.Since(began))
		}
		_ = near.Close()
	})
}

func FuzzAnswer(f *testing.F) {
	for _, host := range []string{"both.example.", "1.2.0.192.in-addr.arpa.", "none.example.", strings.Repeat("0.", 32) + "ip6.arpa."} {
		for _, kind := range []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA, dnsmessage.TypePTR, dnsmessage.TypeTXT} {
			m := dnsmessage.Message{Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(host), Type: kind, Class: dnsmessage.ClassINET}}}
			b, err := m.Pack()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
		}
	}
	f.Add([]byte{0, 0})
	f.Add([]byte{0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, said []byte) {
		c := &scripted{Reader: bytes.NewReader(said)}
		dnsask.Answer(c, entries, time.Minute)
		if !c.closed {
			t.Error("left open")
		}
		for out := c.out.Bytes(); len(out) > 0; { // whatever was asked, each answer is one
			n := int(binary.BigEndian.Uint16(out))
			var m dnsmessage.Message
			if err := m.Unpack(out[2 : 2+n]); err != nil || !m.Response || len(m.Questions) != 1 {
				t.Fatalf("%x was answered %x: %v", said, out, err)
			}
			out = out[2+n:]
		}
	})
}

// FuzzAsk gives a client what a server might say; the answer is for its question or
// an error.
func FuzzAsk(f *testing.F) {
	f.Add([]byte{0, 3, 1, 2, 3}, "both.example")
	f.Add([]byte{0, 0}, "192.0.2.1")
	f.Add([]byte{0, 12, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0}, "2001:db8::1")
	f.Fuzz(func(t *testing.T, says []byte, host string) {
		c := &scripted{Reader: bytes.NewReader(says)}
		if got, err := dnsask.Ask(t.Context(), c, host); err == nil && got == "" {
			t.Errorf("%q: neither an answer nor an error", host)
		}
	})
}

// scripted is a conn that reads what it was given.
type scripted struct {
	*bytes.Reader
	net.Conn
	out    bytes.Buffer
	closed bool
}

func (s *scripted) Read(p []byte) (int, error)         { return s.Reader.Read(p) }
func (s *scripted) Write(p []byte) (int, error)        { return s.out.Write(p) }
func (s *scripted) Close() error                       { s.closed = true; return nil }
func (s *scripted) SetDeadline(time.Time) error        { return nil }
func (s *scripted) WriteTo(w io.Writer) (int64, error) { return s.Reader.WriteTo(w) }
