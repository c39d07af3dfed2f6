package socks

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/byway-proxy/byway/chain"
)

// checkServer gives data to a Server in segments and compares with the reference.
func checkServer(t *testing.T, data, cuts []byte, secured bool, want verdict) {
	t.Helper()
	c := &scripted{segments: segments(data, cuts), eofAlong: len(cuts)%2 == 1}
	s := new(Server)
	if secured {
		s.Users = users(t, map[string]string{"ann": "secret"})
	}
	p, err := s.Handshake(t.Context(), c)
	if (err == nil) != want.ok {
		t.Fatalf("%q: error %v, want ok %t", data, err, want.ok)
	}
	if got := string(c.written); got != want.said {
		t.Errorf("%q: said %q, want %q", data, got, want.said)
	}
	if err != nil {
		if p != nil || !c.closed.Load() {
			t.Errorf("%q: %v, closed: %t", data, p, c.closed.Load())
		}
		return
	}
	if q := p.Request(); q.Addr != want.addr || q.User != want.user || q.Label != want.label {
		t.Errorf("%q: asks for %q by %q (%q), want %q by %q (%q)", data, q.Addr, q.User, q.Label, want.addr, want.user, want.label)
	}
	if host, _, err := net.SplitHostPort(p.Request().Addr); err != nil || host == "" {
		t.Errorf("%q: host %q, %v", data, host, err)
	}
	conn, err := p.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); err != nil || string(got) != want.rest {
		t.Errorf("%q: %q is left, %v, want %q", data, got, err, want.rest)
	}
}

func FuzzServe5(f *testing.F) {
	login := "\x05\x01\x02\x01\x03ann\x06secret"
	for _, seed := range []string{
		hello + toV4 + "early", hello + "\x05\x01\x00\x03\x0bexample.com\x01\xbb", hello + "\x05\x01\x00\x04" + strings.Repeat("\x01", 18),
		hello + "\x05\x01\x00\x03\x00\x00\x50", hello + "\x05\x01\x00\x03\x03::1\x00\x50", hello + "\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00",
		hello + "\x05\x01\x00\x02\x00\x00\x00\x00\x00\x00", hello + "\x04" + toV4[1:], hello + "\x05\x01\x00\x03\x05a\x00b/@\x00\x50",
		login + toV4, login[:10], "\x05\x01\x02\x01\x00\x00" + toV4, "\x05\x00", "\x05\x02\x01\x02", "\x05",
	} {
		f.Add([]byte(seed), []byte{}, strings.HasPrefix(seed, login[:3]))
		f.Add([]byte(seed), []byte{1, 0, 4}, false)
	}
	f.Fuzz(func(t *testing.T, data, cuts []byte, secured bool) {
		data = append([]byte{5}, bytes.TrimPrefix(data, []byte{5})...)
		checkServer(t, data, cuts, secured, read5Strictly(data, secured))
	})
}

func FuzzServe4(f *testing.F) {
	for _, seed := range []string{
		"\x04\x01\x00\x50\xc0\x00\x02\x01\x00early", "\x04\x01\x00\x50\x00\x00\x00\x01ann\x00example.com\x00early",
		"\x04\x01\x00\x50\x00\x00\x00\x01\x00\x00", "\x04\x02\x00\x50\xc0\x00\x02\x01\x00", "\x04\x01\x00\x00\xc0\x00\x02\x01\x00",
		"\x04\x01\x00\x50\x00\x00\x00\x01\x00::1\x00", "\x04\x01\x00\x50\xc0\x00\x02\x01" + strings.Repeat("u", 300) + "\x00", "\x04",
	} {
		f.Add([]byte(seed), []byte{}, false)
		f.Add([]byte(seed), []byte{1, 0, 4}, false)
		f.Add([]byte(seed), []byte{200}, true)
	}
	f.Fuzz(func(t *testing.T, data, cuts []byte, secured bool) {
		data = append([]byte{4}, bytes.TrimPrefix(data, []byte{4})...)
		checkServer(t, data, cuts, secured, read4Strictly(data, secured))
	})
}

// FuzzReply5 gives a hop what a server might say.
func FuzzReply5(f *testing.F) {
	for _, seed := range []string{
		"\x05\x00" + granted + "banner", "\x05\x02\x01\x00" + granted, "\x05\x00\x05\x00\x00\x03\x04name\x00\x50", "\x05\x02\x01\x01",
		"\x05\x00\x05\x00\x00\x04" + strings.Repeat("\x00", 18), "\x05\x00\x05\x05", "\x05\xff", "\x05\x00\x05\x00\x00\x02", "HTTP/1.1 200 OK\r\n",
	} {
		f.Add([]byte(seed), []byte{}, strings.HasPrefix(seed, "\x05\x02"), true)
		f.Add([]byte(seed), []byte{1, 0, 5}, strings.HasPrefix(seed, "\x05\x02"), false)
	}
	f.Fuzz(func(t *testing.T, data, cuts []byte, login, pipeline bool) {
		o := HopOptions{Pipeline: Off}
		if pipeline {
			o.Pipeline = On
		}
		sent, method := hello, byte(0)
		if login {
			o.User, o.Password, method = "ann", "secret", 2
			sent = "\x05\x01\x02\x01\x03ann\x06secret"
		}
		c := &scripted{segments: segments(data, cuts), eofAlong: len(cuts)%2 == 1}
		conn, err := newChain(t, always(c), Hop5("hop:1", o)).Dial("tcp", "192.0.2.1:80")
		in := &cursor{data: data}
		good := bytes.Equal(in.take(2), []byte{5, method}) && (!login || bytes.Equal(in.take(2), []byte{1, 0}))
		head := in.take(4)
		good = good && head[0] == 5 && head[1] == 0
		switch head[3] {
		case 1:
			in.take(4 + 2)
		case 3:
			in.count()
			in.take(2)
		case 4:
			in.take(16 + 2)
		default:
			good = false
		}
		good = good && !in.short
		if (err == nil) != good {
			t.Fatalf("%q: error %v, want good %t", data, err, good)
		}
		if err != nil {
			var e *chain.Error
			if !errors.As(err, &e) || !c.closed.Load() || c.read > bufferSize {
				t.Errorf("%q: %v, closed: %t, read: %d", data, err, c.closed.Load(), c.read)
			}
			return
		}
		if got := string(c.written); got != sent+toV4 {
			t.Errorf("sent %q", got)
		}
		if got, err := io.ReadAll(conn); err != nil || !bytes.Equal(got, in.data) {
			t.Errorf("%q: %q is left, %v, want %q", data, got, err, in.data)
		}
	})
}
