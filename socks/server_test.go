package socks

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	socks5 "github.com/armon/go-socks5"
	"github.com/google/go-cmp/cmp"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

const (
	hello   = "\x05\x01\x00"
	granted = "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"
	yes4    = "\x00\x5a\x00\x00\x00\x00\x00\x00"
	no4     = "\x00\x5b\x00\x00\x00\x00\x00\x00"
	toV4    = "\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x50"
)

// no is the SOCKS5 reply with that code.
func no(code ReplyCode) string { return string(code.appendReply(nil)) }

// TestRequests checks what a Server makes of good requests: sent at once, with
// early data, and in single bytes.
func TestRequests(t *testing.T) {
	login := "\x05\x02\x00\x02" + "\x01\x03ann\x06secret"
	for _, test := range []struct {
		name, input string
		users       bool
		user, addr  string
		answer      string
		label       []string
	}{
		{"IPv4", hello + toV4, false, "", "192.0.2.1:80", "\x05\x00" + granted, nil},
		{"IPv6", hello + "\x05\x01\x00\x04" + string(net.ParseIP("2001:db8::1")) + "\x01\xbb", false, "", "[2001:db8::1]:443", "\x05\x00" + granted, nil},
		{"IPv4 in IPv6", hello + "\x05\x01\x00\x04" + string(net.ParseIP("192.0.2.1").To16()) + "\x01\xbb", false, "", "192.0.2.1:443", "\x05\x00" + granted, nil},
		{"name as written", hello + "\x05\x01\x00\x03\x0dExamp_le.TEST\x00\x50", false, "", "Examp_le.TEST:80", "\x05\x00" + granted, nil},
		{"address as name", hello + "\x05\x01\x00\x03\x09192.0.2.1\x00\x50", false, "", "192.0.2.1:80", "\x05\x00" + granted, nil},
		{"IPv6 as name", hello + "\x05\x01\x00\x03\x03::1\x00\x50", false, "", "[::1]:80", "\x05\x00" + granted, nil},
		{"RSV is not looked at", hello + "\x05\x01\x07" + toV4[3:], false, "", "192.0.2.1:80", "\x05\x00" + granted, nil},
		{"methods of others", "\x05\x03\x80\x01\x00" + toV4, false, "", "192.0.2.1:80", "\x05\x00" + granted, nil},
		{"password nobody asks for", login + toV4, false, "", "192.0.2.1:80", "\x05\x02\x01\x00" + granted, []string{"ann", "secret"}},
		{"nothing for a password", "\x05\x01\x02\x01\x00\x00" + toV4, false, "", "192.0.2.1:80", "\x05\x02\x01\x00" + granted, []string{"", ""}},
		{"password", login + toV4, true, "ann", "192.0.2.1:80", "\x05\x02\x01\x00" + granted, nil},
		{"SOCKS4", "\x04\x01\x00\x50\xc0\x00\x02\x01\x00", false, "", "192.0.2.1:80", yes4, nil},
		{"SOCKS4 with a user id", "\x04\x01\x00\x50\xc0\x00\x02\x01ann\x00", false, "", "192.0.2.1:80", yes4, []string{"ann"}},
		{"SOCKS4a", "\x04\x01\x01\xbb\x00\x00\x00\x01ann\x00example.com\x00", false, "", "example.com:443", yes4, []string{"ann"}},
		{"SOCKS4a, 0.0.0.255", "\x04\x01\x01\xbb\x00\x00\x00\xff\x00a\x00", false, "", "a:443", yes4, nil},
		{"SOCKS4 to 0.0.0.0 is no 4a", "\x04\x01\x01\xbb\x00\x00\x00\x00\x00", false, "", "0.0.0.0:443", yes4, nil},
		{
			"longest", "\x04\x01\x01\xbb\x00\x00\x00\x01" + strings.Repeat("u", 255) + "\x00" + strings.Repeat("n", 255) + "\x00",
			false, "", strings.Repeat("n", 255) + ":443", yes4,
			[]string{strings.Repeat("u", 255)},
		},
	} {
		for cutName, cuts := range map[string][]byte{"at once": nil, "bytes": {1}, "pieces": {3, 0, 7}} {
			t.Run(test.name+"/"+cutName, func(t *testing.T) {
				c := &scripted{segments: segments([]byte(test.input+"early data"), cuts)}
				s := &Server{Request: relay.Request{Listener: "here:1080"}}
				if test.users {
					s.Users = users(t, map[string]string{"ann": "secret"})
				}
				p, err := s.Handshake(t.Context(), c)
				must(t, err)
				want := relay.Request{Network: "tcp", Addr: test.addr, User: test.user, Client: c.RemoteAddr(), Listener: "here:1080"}
				if test.label != nil {
					want.Label = relay.Label(test.label...)
				}
				if diff := cmp.Diff(want, p.Request()); diff != "" {
					t.Errorf("request (-want +got):\n%s", diff)
				}
				conn, err := p.Accept()
				must(t, err)
				if got := string(c.written); got != test.answer {
					t.Errorf("answered %q, want %q", got, test.answer)
				}
				ahead, raw := chain.Raw(conn)
				if raw != net.Conn(c) {
					t.Errorf("the raw conn is a %T", raw)
				}
				rest, err := io.ReadAll(raw)
				if got := string(ahead) + string(rest); err != nil || got != "early data" {
					t.Errorf("%q is left, %v", got, err)
				}
			})
		}
	}
}

// TestUnread gives the server a conn whose first bytes were read by others.
func TestUnread(t *testing.T) {
	c := &scripted{segments: [][]byte{[]byte(toV4[:5]), []byte(toV4[5:] + "early")}}
	p, err := new(Server).Handshake(t.Context(), chain.Unread(c, []byte(hello)))
	must(t, err)
	conn, err := p.Accept()
	must(t, err)
	if got, err := io.ReadAll(conn); err != nil || string(got) != "early" {
		t.Errorf("read %q, %v", got, err)
	}
	// More than fits the buffer.
	early := strings.Repeat("early", 1000)
	c = &scripted{segments: [][]byte{[]byte(" data")}}
	p, err = new(Server).Handshake(t.Context(), chain.Unread(c, []byte(hello+toV4+early)))
	must(t, err)
	conn, err = p.Accept()
	must(t, err)
	if got, err := io.ReadAll(conn); err != nil || string(got) != early+" data" {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	if got := string(c.written); got != "\x05\x00"+granted {
		t.Errorf("answered %q", got)
	}
}

// TestRejections sends each kind of dial error to a client.
func TestRejections(t *testing.T) {
	for err, code := range map[error]ReplyCode{
		relay.ErrBlocked: 2, syscall.ENETUNREACH: 3, syscall.EHOSTUNREACH: 4, syscall.ECONNREFUSED: 5,
		syscall.ETIMEDOUT: 6, errors.ErrUnsupported: 7, syscall.EAFNOSUPPORT: 8, errors.New("what"): 1,
	} {
		for input, want := range map[string]string{
			hello + toV4:                           "\x05\x00" + no(code),
			"\x04\x01\x00\x50\xc0\x00\x02\x01\x00": no4,
		} {
			c := &scripted{segments: segments([]byte(input), nil)}
			got := (&Server{Relay: refusing(err)}).ServeConn(t.Context(), c)
			if !errors.Is(got, err) {
				t.Errorf("%v: ServeConn returned %v", err, got)
			}
			if got := string(c.written); got != want || !c.closed.Load() {
				t.Errorf("%v: answered %q, want %q; closed: %t", err, got, want, c.closed.Load())
			}
		}
	}
}

// TestServeCarries lets bytes through a Server, half-close included.
func TestServeCarries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New()
		listen(t, n, "target", ":80", echo)
		client, server := testnet.Pipe(0)
		done := make(chan error, 1)
		go func() { done <- (&Server{Relay: via(n.Host("server"))}).ServeConn(t.Context(), server) }()
		_, err := client.Write([]byte(hello + "\x05\x01\x00\x03\x06target\x00\x50" + "early "))
		must(t, err)
		buf := make([]byte, 12)
		_, err = io.ReadFull(client, buf)
		must(t, err)
		if got := string(buf); got != "\x05\x00"+granted {
			t.Errorf("answered %q", got)
		}
		_, err = client.Write([]byte("and late"))
		must(t, err)
		must(t, chain.CloseWrite(client))
		if got, err := io.ReadAll(client); err != nil || string(got) != "early and late" {
			t.Errorf("read %q, %v", got, err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		must(t, client.Close())
	})
}

// TestBadClients checks who is told of what.
func TestBadClients(t *testing.T) {
	type bad struct {
		listener string
		err      error
	}
	var told []bad
	s := &Server{
		Relay:   &relay.Relay{Trace: &relay.Trace{BadClient: func(l string, err error) { told = append(told, bad{l, err}) }}},
		Request: relay.Request{Listener: "here:1080"},
		Users:   users(t, map[string]string{"ann": "secret"}),
	}
	for input, want := range map[string]error{
		"\x05\x01\x02\x01\x03ann\x05wrong": socks5.UserAuthFailed,
		hello:                              socks5.NoSupportedAuth,
		"GET / HTTP/1.1\r\n":               errNotSOCKS,
		"":                                 io.ErrUnexpectedEOF,
	} {
		told = nil
		err := s.ServeConn(t.Context(), &scripted{segments: segments([]byte(input), nil)})
		if len(told) != 1 || told[0].listener != "here:1080" || told[0].err != err || !errors.Is(err, want) {
			t.Errorf("%q: told of %v, returned %v, want %v", input, told, err, want)
		}
		for _, secret := range []string{"ann", "wrong"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error holds %q: %v", secret, err)
			}
		}
	}
	// The end of the program is not the client's fault.
	told = nil
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := &scripted{segments: segments([]byte(hello), nil)}
	if err := s.ServeConn(ctx, c); !errors.Is(err, context.Canceled) || len(told) != 0 || !c.closed.Load() {
		t.Errorf("error %v, told of %v, closed: %t", err, told, c.closed.Load())
	}
	c = &scripted{}
	if err := new(Server).ServeConn(t.Context(), c); err == nil || !c.closed.Load() {
		t.Errorf("without a relay: error %v, closed: %t", err, c.closed.Load())
	}
}

// TestNoReset makes sure that a refusal reaches a client that has sent more.
func TestNoReset(t *testing.T) {
	for range 30 {
		client, server := testnet.TCPPair(t)
		_, err := client.Write([]byte("\x05\x01\x80" + strings.Repeat("more", 1000)))
		must(t, err)
		done := make(chan error, 1)
		go func() {
			_, err := (&Server{Limit: 5 * time.Second}).Handshake(t.Context(), server)
			done <- err
		}()
		if got, err := io.ReadAll(client); err != nil || string(got) != "\x05\xff" {
			t.Errorf("read %q, %v", got, err)
		}
		must(t, client.Close())
		if err := <-done; !errors.Is(err, socks5.NoSupportedAuth) {
			t.Error(err)
		}
	}
}

// TestLabels: a listener that does not isolate by user asks for no names, and takes none.
func TestLabels(t *testing.T) {
	apart := relay.Request{Isolate: relay.ByClient}
	for input, want := range map[string]string{
		"\x05\x02\x00\x02" + toV4:                  "\x05\x00",
		"\x05\x01\x02\x01\x03ann\x06secret" + toV4: "\x05\xff",
		"\x04\x01\x00\x50\xc0\x00\x02\x01ann\x00":  "",
	} {
		c := &scripted{segments: segments([]byte(input), nil)}
		p, err := (&Server{Request: apart}).Handshake(t.Context(), c)
		if got := string(c.written); got != want {
			t.Errorf("%q: answered %q, want %q", input, got, want)
		}
		if refused := want == "\x05\xff"; (err != nil) != refused {
			t.Errorf("%q: %v", input, err)
		}
		if err == nil && p.Request().Label != "" {
			t.Errorf("%q has the label %s", input, p.Request().Label)
		}
	}
}
