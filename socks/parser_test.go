package socks

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	socks5 "github.com/armon/go-socks5"
)

// These tests pin down what armon/go-socks5 does with bytes that we keep from
// it, or mend after it. If one fails, a guard in request.go may go.

func TestArmonTakesAnyName(t *testing.T) {
	for name, addr := range map[string]string{"": ":80", "a\x00b": "a\x00b:80", "a@b/": "a@b/:80", "a:1": "[a:1]:80"} {
		r, err := socks5.NewRequest(strings.NewReader("\x05\x01\x00\x03" + string(rune(len(name))) + name + "\x00\x50"))
		if err != nil || r.DestAddr.Address() != addr {
			t.Errorf("%q: %+v, %v", name, r, err)
		}
	}
	r, err := socks5.NewRequest(strings.NewReader(toV4[:8] + "\x00\x00"))
	if err != nil || r.DestAddr.Address() != "192.0.2.1:0" {
		t.Errorf("port 0: %+v, %v", r, err)
	}
}

func TestArmonNamesNoErrors(t *testing.T) {
	_, err := socks5.NewRequest(strings.NewReader("\x05\x01\x00\x02"))
	if err == nil || err.Error() != "Unrecognized address type" {
		t.Errorf("address type 2: %v", err)
	}
	_, err = socks5.NewRequest(strings.NewReader("\x05\x01"))
	if err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("an error of the conn can be told from others: %v", err)
	}
}

// stutter reads nothing, without an error, before each read, which io.Reader allows.
type stutter struct {
	io.Reader
	odd bool
}

func (s *stutter) Read(p []byte) (int, error) {
	if s.odd = !s.odd; s.odd {
		return 0, nil
	}
	return s.Reader.Read(p)
}

// TestArmonReadsOnce has readers that keep io.Reader's contract and that armon
// misreads, as it looks at the error of a single Read and not at the count.
func TestArmonReadsOnce(t *testing.T) {
	for name, r := range map[string]io.Reader{
		"nothing read": &stutter{Reader: strings.NewReader(toV4)},
		"one byte, with the end, where there is a length": iotest.DataErrReader(strings.NewReader("\x05\x01\x00\x03")),
	} {
		if got, err := socks5.NewRequest(r); err == nil {
			t.Errorf("%s: %+v", name, got.DestAddr)
		}
	}
	// The stale byte of a version becomes the length of a password.
	var said strings.Builder
	var store seen
	a := socks5.UserPassAuthenticator{Credentials: &store}
	in := &stutter{Reader: iotest.OneByteReader(strings.NewReader("\x01\x01u\x06secret"))}
	if _, err := a.Authenticate(in, &said); err != nil || store.password != "\x06" {
		t.Errorf("password %q, %v", store.password, err)
	}
	// Through an exchange, all is well.
	for _, text := range []string{"\x01\x01u\x06secret"} {
		c := &scripted{segments: segments([]byte(text), []byte{0, 1})}
		if _, err := a.Authenticate(newExchange(c, nil), &said); err != nil || store.password != "secret" {
			t.Errorf("password %q, %v", store.password, err)
		}
	}
}

// seen lets everybody in.
type seen struct{ user, password string }

func (s *seen) Valid(user, password string) bool {
	s.user, s.password = user, password
	return true
}

// TestArmonLetsNobodyIn pins that lengths of 0 reach the store, and that our
// guard keeps them from being let in.
func TestArmonLetsNobodyIn(t *testing.T) {
	var store seen
	var said strings.Builder
	a, err := socks5.UserPassAuthenticator{Credentials: &store}.Authenticate(strings.NewReader("\x01\x00\x00"), &said)
	if err != nil || a.Payload["Username"] != "" {
		t.Errorf("%+v, %v", a, err)
	}
	for _, login := range []string{"\x01\x00\x00", "\x01\x01u\x00", "\x01\x00\x01p"} {
		c := &scripted{segments: segments([]byte("\x05\x01\x02"+login+toV4), nil)}
		_, err := (&Server{Users: &store}).Handshake(t.Context(), c)
		if got := string(c.written); !errors.Is(err, socks5.UserAuthFailed) || got != "\x05\x02\x01\x01" {
			t.Errorf("%q: %q, %v", login, got, err)
		}
	}
}
