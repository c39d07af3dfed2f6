package connectudp

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/byway-proxy/byway/internal/testnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPaths(t *testing.T) {
	for addr, path := range map[string]string{
		"target.example:443":      "/.well-known/masque/udp/target.example/443/",
		"192.0.2.6:443":           "/.well-known/masque/udp/192.0.2.6/443/", // RFC 9298 §3.4
		"[2001:db8::42]:443":      "/.well-known/masque/udp/2001%3Adb8%3A%3A42/443/",
		"a_b.example:1":           "/.well-known/masque/udp/a_b.example/1/",
		"[2001:db8::1%25eth0]:80": "/.well-known/masque/udp/2001%3Adb8%3A%3A1%2525eth0/80/",
	} {
		got, err := Path(addr)
		if err != nil || got != path {
			t.Errorf("the path of %s is %q, %v; want %q", addr, got, err, path)
		}
		if back, ok := Target(path); !ok || back != addr {
			t.Errorf("the target of %s is %q, %v", path, back, ok)
		}
	}
	for _, path := range []string{
		"", "/", "/.well-known/masque/udp/", "/.well-known/masque/udp/a/", "/.well-known/masque/udp/a/1", "/.well-known/masque/udp//1/",
		"/.well-known/masque/udp/a//", "/.well-known/masque/udp/a/1/x", "/.well-known/masque/udp/a/0/", "/.well-known/masque/udp/a/65536/", "/.well-known/masque/udp/a/%31/", "/.well-known/masque/udp/a/http/", "/.well-known/masque/udp/a/1//", "/.well-known/masque/udp/%zz/1/",
		"/.well-known/masque/udp/[::1]/1/", "/.well-known/masque/tcp/a/1/", "/x/.well-known/masque/udp/a/1/", "/.WELL-KNOWN/masque/udp/a/1/",
	} {
		if addr, ok := Target(path); ok {
			t.Errorf("%q names a target, %q", path, addr)
		}
	}
	if _, err := Path("no port"); err == nil {
		t.Error("a target without a port has a path")
	}
}

// FuzzTarget: what is taken for a target names it again, by one path.
func FuzzTarget(f *testing.F) {
	for _, s := range []string{"/.well-known/masque/udp/a/1/", "/.well-known/masque/udp/2001%3Adb8%3A%3A42/443/", "/.well-known/masque/udp/%2f/1/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		addr, ok := Target(path)
		if !ok {
			return
		}
		host, port, err := net.SplitHostPort(addr)
		if err != nil || host == "" || port == "" {
			t.Fatalf("%q names %q", path, addr)
		}
		again, err := Path(addr)
		if err != nil {
			t.Fatal(err)
		}
		if back, ok := Target(again); !ok || back != addr {
			t.Errorf("%q names %q, whose path %q names %q", path, addr, again, back)
		}
		if _, err := url.PathUnescape(again); err != nil {
			t.Error(err)
		}
	})
}

func TestReader(t *testing.T) {
	long := strings.Repeat("x", MaxPayload)
	for name, test := range map[string]struct {
		stream string
		want   []string
		err    error
	}{
		"nothing":                     {"", nil, io.EOF},
		"two":                         {"\x00\x03\x00hi\x00\x01\x00", []string{"hi", ""}, io.EOF},
		"integers longer than needed": {"\x40\x00\x80\x00\x00\x05\x40\x00abc", []string{"abc"}, io.EOF},
		"another type":                {"\x3f\x02no\x00\x02\x00y", []string{"y"}, io.EOF},
		"a type of eight bytes":       {"\xc0\x00\x00\x00\x00\x00\x00\x37\x01n\x00\x02\x00y", []string{"y"}, io.EOF},
		"another context":             {"\x00\x03\x02no\x00\x02\x00y", []string{"y"}, io.EOF},
		"the longest":                 {"\x00\x80\x00\xff\xf8\x00" + long, []string{long}, io.EOF},
		"too long":                    {"\x00\x80\x00\xff\xf9\x00" + long + "x", nil, ErrMalformed},
		"long, of another context":    {"\x00\x80\x01\x00\x00\x02" + strings.Repeat("n", 1<<16-1) + "\x00\x02\x00y", []string{"y"}, io.EOF},
		"no context":                  {"\x00\x00", nil, ErrMalformed},
		"a part of a context":         {"\x00\x01\x40\x00", nil, ErrMalformed},
		"cut after the type":          {"\x00", nil, ErrMalformed},
		"cut in the type":             {"\x40", nil, ErrMalformed},
		"cut in the length":           {"\x00\x40", nil, ErrMalformed},
		"cut before the context":      {"\x00\x02", nil, ErrMalformed},
		"cut in the payload":          {"\x00\x03\x00h", nil, ErrMalformed},
		"cut in what is skipped":      {"\x3f\x03no", nil, ErrMalformed},
	} {
		for how, wrap := range map[string]func(io.Reader) io.Reader{
			"whole": func(r io.Reader) io.Reader { return r }, "in single bytes": iotest.OneByteReader, "with the end": iotest.DataErrReader,
		} {
			r := NewReader(wrap(strings.NewReader(test.stream)))
			for i := 0; ; i++ {
				p, err := r.Next()
				if err != nil {
					if i != len(test.want) || err != test.err {
						t.Errorf("%s, %s: %v after %d payloads; want %v after %d", name, how, err, i, test.err, len(test.want))
					}
					break
				}
				if i >= len(test.want) || string(p) != test.want[i] {
					t.Errorf("%s, %s: payload %d has %d bytes: %.20q", name, how, i, len(p), p)
					break
				}
			}
		}
	}
	broken := errors.New("broken")
	if _, err := NewReader(io.MultiReader(strings.NewReader("\x00"), iotest.ErrReader(broken))).Next(); err != broken {
		t.Errorf("the stream's own error became %v", err)
	}
}

// FuzzReader: any stream is read to an end, in whatever pieces, and what is taken from it is
// what would be written.
func FuzzReader(f *testing.F) {
	for _, s := range []string{"", "\x00\x03\x00hi", "\x40\x00\x80\x00\x00\x05\x40\x00abc", "\x3f\x02no", "\x00\x00", "\x00\xff\xff\xff\xff\xff\xff\xff\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		whole, pieces := NewReader(bytes.NewReader(stream)), NewReader(iotest.OneByteReader(bytes.NewReader(stream)))
		for {
			a, err := whole.Next()
			b, berr := pieces.Next()
			if err != berr || !bytes.Equal(a, b) {
				t.Fatalf("%q, %v in whole; %q, %v in pieces", a, err, b, berr)
			}
			if err != nil {
				if err != io.EOF && err != ErrMalformed {
					t.Fatal(err)
				}
				return
			}
			again, err := NewReader(bytes.NewReader(AppendCapsule(nil, a))).Next()
			if err != nil || !bytes.Equal(again, a) {
				t.Fatalf("%q became %q, %v", a, again, err)
			}
		}
	})
}

func TestDatagram(t *testing.T) {
	for name, test := range map[string]struct {
		b    string
		want string
		ok   bool
	}{
		"one":               {"\x00hi", "hi", true},
		"an empty one":      {"\x00", "", true},
		"a long zero":       {"\x40\x00hi", "hi", true},
		"another context":   {"\x02hi", "", false},
		"another, long":     {"\x40\x01hi", "", false},
		"nothing":           {"", "", false},
		"part of a context": {"\xc0\x00\x00", "", false},
	} {
		if p, ok := ParseDatagram([]byte(test.b)); ok != test.ok || string(p) != test.want {
			t.Errorf("%s: %q, %v", name, p, ok)
		}
	}
	if p, ok := ParseDatagram(AppendDatagram(nil, []byte("hi"))); !ok || string(p) != "hi" {
		t.Errorf("%q, %v", p, ok)
	}
}

// FuzzDatagram must not panic.
func FuzzDatagram(f *testing.F) {
	f.Add([]byte("\x00hi"))
	f.Add([]byte("\xc0"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, ok := ParseDatagram(b); ok && len(p) >= len(b) {
			t.Error("a payload as long as its datagram")
		}
	})
}

// conn is a conn in memory as a Stream.
type conn struct{ net.Conn }

func (c conn) Abort() error {
	return c.Conn.(interface{ Abort() error }).Abort()
}

// pair returns two flows over a conn in memory, and its ends.
func pair(t *testing.T) (a, b *Flow, rawA, rawB net.Conn) {
	t.Helper()
	n := testnet.New()
	l, err := n.Host("far").Listen(":1")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	rawA, err = n.Host("near").DialContext(t.Context(), "tcp", "far:1")
	if err != nil {
		t.Fatal(err)
	}
	if rawB, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return NewFlow(conn{rawA}, nil, Capsules, rawA.LocalAddr(), rawA.RemoteAddr()), NewFlow(conn{rawB}, nil, AsTheyDid, rawB.LocalAddr(), rawB.RemoteAddr()), rawA, rawB
}

func TestFlowConforms(t *testing.T) {
	testnet.TestDatagrams(t, func(t *testing.T) (net.Conn, net.Conn, int) {
		a, b, _, _ := pair(t)
		return a, b, 65507
	})
}

// TestFlowEnds: an end in order is one, anything else an error that is no timeout.
func TestFlowEnds(t *testing.T) {
	for name, test := range map[string]struct {
		end   func(raw net.Conn)
		want  error
		write error
	}{
		"in order":    {func(c net.Conn) { _ = c.Close() }, io.EOF, syscall.EPIPE},
		"aborted":     {func(c net.Conn) { _ = conn{c}.Abort() }, syscall.ECONNRESET, syscall.ECONNRESET},
		"malformed":   {func(c net.Conn) { _, _ = c.Write([]byte("\x00\x00")) }, ErrMalformed, ErrMalformed},
		"cut capsule": {func(c net.Conn) { _, _ = c.Write([]byte("\x00\x09\x00")); _ = c.Close() }, ErrMalformed, ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b, _, rawB := pair(t)
				test.end(rawB)
				if n, err := a.Read(make([]byte, 1)); n != 0 || !errors.Is(err, test.want) || errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("read %d, %v; want %v", n, err, test.want)
				}
				if _, err := a.Write([]byte("x")); !errors.Is(err, test.write) {
					t.Errorf("wrote, %v; want %v", err, test.write)
				}
				_ = a.Close()
				_ = b.Close()
			})
		})
	}
}

// TestFlowStuck: a capsule that went in part by the deadline ends the flow, as what follows
// could not be understood.
func TestFlowStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New()
		l, err := n.Host("far").Listen(":1")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		raw, err := n.Host("near").DialContext(t.Context(), "tcp", "far:1")
		if err != nil {
			t.Fatal(err)
		}
		far, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		f := NewFlow(conn{raw}, nil, Capsules, raw.LocalAddr(), raw.RemoteAddr())
		defer f.Close()
		began := time.Now()
		_ = f.SetWriteDeadline(began.Add(time.Minute))
		for err == nil { // far reads nothing
			_, err = f.Write(make([]byte, 65507))
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		_ = f.SetWriteDeadline(time.Time{})
		if _, err := f.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("wrote behind a part of a capsule: %v", err)
		}
		_ = far.Close()
	})
}
