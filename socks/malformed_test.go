package socks

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
)

const forever = 10 * time.Second // until the limit, that is

// TestMalformed sends what no good client would. The client keeps its end
// open; gone is how long the server takes to be rid of it.
func TestMalformed(t *testing.T) {
	request := func(command, addrType byte, addr string) string {
		return hello + "\x05" + string([]byte{command}) + "\x00" + string([]byte{addrType}) + addr
	}
	name := func(name string) string {
		return request(1, 3, string([]byte{byte(len(name))})+name+"\x00\x50")
	}
	ok := "\x05\x00"
	login := "\x05\x01\x02"
	for _, test := range []struct {
		name, input string
		users       bool
		answer      string
		gone        time.Duration
	}{
		{"silence", "", false, "", forever},
		{"HTTP", "GET / HTTP/1.1\r\n\r\n", false, "", 0},
		{"TLS", "\x16\x03\x01\x02\x00\x01", false, "", 0},
		{"SOCKS6", "\x06\x01\x00", false, "", 0},

		{"half a greeting", "\x05", false, "", forever},
		{"a method short", "\x05\x02\x00", false, "", forever},
		{"no methods", "\x05\x00", false, "\x05\xff", lingerTime},
		{"other methods", "\x05\x02\x01\x03", false, "\x05\xff", lingerTime},
		{"no password offered", hello, true, "\x05\xff", lingerTime},
		{"no password offered, pipelined", hello + toV4, true, "\x05\xff", lingerTime},

		{"no auth message", login, true, "\x05\x02", forever},
		{"half an auth message", login + "\x01\x03an", true, "\x05\x02", forever},
		{"no password length", login + "\x01\x03ann", true, "\x05\x02", forever},
		{"half a password", login + "\x01\x03ann\x06sec", true, "\x05\x02", forever},
		{"wrong password", login + "\x01\x03ann\x05wrong", true, "\x05\x02\x01\x01", lingerTime},
		{"unknown user", login + "\x01\x03bob\x06secret", true, "\x05\x02\x01\x01", lingerTime},
		{"empty user", login + "\x01\x00\x06secret", true, "\x05\x02\x01\x01", lingerTime},
		{"empty password", login + "\x01\x03ann\x00", true, "\x05\x02\x01\x01", lingerTime},
		{"wrong auth version", login + "\x05\x03ann\x06secret", true, "\x05\x02\x01\x01", lingerTime},
		{"wrong password, pipelined", login + "\x01\x03ann\x05wrong" + toV4, true, "\x05\x02\x01\x01", lingerTime},

		{"no request", hello, false, ok, forever},
		{"half a request", hello + toV4[:9], false, ok, forever},
		{"a name short", name("example.com")[:20], false, ok, forever},
		{"wrong version", hello + "\x04" + toV4[1:], false, ok + no(1), lingerTime},
		{"BIND", request(2, 1, "\x00\x00\x00\x00\x00\x00"), false, ok + no(7), lingerTime},
		{"UDP ASSOCIATE", request(3, 1, "\x00\x00\x00\x00\x00\x00"), false, ok + no(7), lingerTime},
		{"RESOLVE", request(0xF0, 3, "\x01a\x00\x00"), false, ok + no(7), lingerTime},
		{"RESOLVE_PTR", request(0xF1, 1, "\x01\x02\x03\x04\x00\x00"), false, ok + no(7), lingerTime},
		{"command 0", request(0, 1, "\x01\x02\x03\x04\x00\x50"), false, ok + no(7), lingerTime},
		{"address type 0", request(1, 0, ""), false, ok + no(8), lingerTime},
		{"address type 2", request(1, 2, "\x01\x02\x03\x04\x00\x50"), false, ok + no(8), lingerTime},
		{"address type 5", request(1, 5, "\x01\x02\x03\x04\x00\x50"), false, ok + no(8), lingerTime},
		{"address type 255", request(1, 255, "\x01\x02\x03\x04\x00\x50"), false, ok + no(8), lingerTime},
		{"port 0", request(1, 1, "\x01\x02\x03\x04\x00\x00"), false, ok + no(1), lingerTime},
		{"empty name", name(""), false, ok + no(1), lingerTime},
		{"NUL", name("a\x00b"), false, ok + no(1), lingerTime},
		{"space", name("a b"), false, ok + no(1), lingerTime},
		{"CRLF", name("a\r\nb"), false, ok + no(1), lingerTime},
		{"slash", name("a/b"), false, ok + no(1), lingerTime},
		{"at", name("a@b"), false, ok + no(1), lingerTime},
		{"port in name", name("a:80"), false, ok + no(1), lingerTime},
		{"brackets", name("[::1]"), false, ok + no(1), lingerTime},
		{"non-ASCII", name("bücher.example"), false, ok + no(1), lingerTime},
		{"empty label", name("a..b"), false, ok + no(1), lingerTime},

		{"half a SOCKS4 request", "\x04\x01\x00\x50\xc0", false, "", forever},
		{"user id without an end", "\x04\x01\x00\x50\xc0\x00\x02\x01ann", false, "", forever},
		{"SOCKS4a without a name", "\x04\x01\x00\x50\x00\x00\x00\x01ann\x00", false, "", forever},
		{"SOCKS4 BIND", "\x04\x02\x00\x50\xc0\x00\x02\x01\x00", false, no4, lingerTime},
		{"SOCKS4 RESOLVE", "\x04\xf0\x00\x00\x00\x00\x00\x01\x00a\x00", false, no4, lingerTime},
		{"SOCKS4 port 0", "\x04\x01\x00\x00\xc0\x00\x02\x01\x00", false, no4, lingerTime},
		{"SOCKS4a empty name", "\x04\x01\x00\x50\x00\x00\x00\x01\x00\x00", false, no4, lingerTime},
		{"SOCKS4a bad name", "\x04\x01\x00\x50\x00\x00\x00\x01\x00a b\x00", false, no4, lingerTime},
		{"long user id", "\x04\x01\x00\x50\xc0\x00\x02\x01" + strings.Repeat("u", 256), false, no4, lingerTime},
		{"long user id with an end", "\x04\x01\x00\x50\xc0\x00\x02\x01" + strings.Repeat("u", 256) + "\x00", false, no4, lingerTime},
		{"long name", "\x04\x01\x00\x50\x00\x00\x00\x01\x00" + strings.Repeat("n", 256) + "\x00", false, no4, lingerTime},
		{"endless user id", "\x04\x01\x00\x50\xc0\x00\x02\x01" + strings.Repeat("u", 64<<10), false, no4, 0},
		{"SOCKS4 where a password is due", "\x04\x01\x00\x50\xc0\x00\x02\x01\x00", true, no4, lingerTime},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := testnet.Pipe(0)
				s := &Server{Relay: via(testnet.NoDial(t))}
				if test.users {
					s.Users = users(t, map[string]string{"ann": "secret"})
				}
				_, err := client.Write([]byte(test.input))
				must(t, err)
				began := time.Now()
				if err := s.ServeConn(t.Context(), server); err == nil {
					t.Error("no error")
				}
				if gone := time.Since(began); gone != test.gone {
					t.Errorf("it took %v to be rid of the client, want %v", gone, test.gone)
				}
				if err := server.Close(); !errors.Is(err, net.ErrClosed) {
					t.Errorf("the conn was not closed: %v", err)
				}
				answer := make([]byte, 64)
				k, _ := io.ReadFull(client, answer)
				// Only where too much is left unread, an RST may come first.
				if got := string(answer[:k]); got != test.answer && test.gone != 0 {
					t.Errorf("answered %q, want %q", got, test.answer)
				}
				must(t, client.Close())
			})
		})
	}
}

// TestRefusalIsRead has a client that reads the refusal and closes, late.
func TestRefusalIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := testnet.Pipe(100 * time.Millisecond)
		began := time.Now()
		done := make(chan time.Duration)
		go func() {
			_ = (&Server{Relay: refusing(net.ErrClosed)}).ServeConn(t.Context(), server)
			done <- time.Since(began)
		}()
		_, err := client.Write([]byte(hello + toV4))
		must(t, err)
		_, err = client.Write([]byte("and early data"))
		must(t, err)
		if got, err := io.ReadAll(client); err != nil || string(got) != "\x05\x00"+no(1) {
			t.Errorf("read %q, %v", got, err)
		}
		must(t, client.Close())
		if took := <-done; took != 300*time.Millisecond {
			t.Errorf("the server waited %v for a client that closes after 300 ms", took)
		}
	})
}

// TestSlowClient feeds a byte a second: the limit is for all together.
func TestSlowClient(t *testing.T) {
	for limit, want := range map[time.Duration]time.Duration{0: 10 * time.Second, 3500 * time.Millisecond: 3500 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			client, server := net.Pipe()
			var clients sync.WaitGroup
			defer clients.Wait()
			clients.Go(func() {
				for _, b := range []byte(hello + toV4) {
					if _, err := client.Write([]byte{b}); err != nil {
						return
					}
					time.Sleep(time.Second)
				}
				t.Error("the client came to the end of its request")
			})
			clients.Go(func() { _, _ = io.Copy(io.Discard, client) })
			began := time.Now()
			_, err := (&Server{Limit: limit}).Handshake(t.Context(), server)
			if took := time.Since(began); !isTimeout(err) || took != want {
				t.Errorf("error %v after %v, want a timeout after %v", err, took, want)
			}
		})
	}
}

// TestDeafClient does not read: net.Pipe has no buffer, so that writes wait.
func TestDeafClient(t *testing.T) {
	for name, test := range map[string]struct {
		input string
		err   error
	}{
		"choice of method": {hello, nil},
		"refusal":          {"\x05\x01\x80", nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				go func() { _, _ = client.Write([]byte(test.input)) }()
				began := time.Now()
				if _, err := new(Server).Handshake(t.Context(), server); err == nil || time.Since(began) != forever {
					t.Errorf("error %v after %v", err, time.Since(began))
				}
			})
		})
	}
	answers := map[string]func(p *pending) error{
		"Accept": func(p *pending) error { _, err := p.Accept(); return err },
		"Reject": func(p *pending) error { return p.Reject(net.ErrClosed) },
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				began := time.Now()
				err := answer(&pending{conn: server, version: 5, limit: time.Second})
				if took := time.Since(began); !isTimeout(err) || took != time.Second {
					t.Errorf("error %v after %v", err, took)
				}
				if _, err := client.Read(make([]byte, 1)); err != io.EOF {
					t.Errorf("the client reads %v, want EOF", err)
				}
			})
		})
	}
}

// TestHandshakeCancelled ends the ctx while a client is silent, and while one is
// waited for after a refusal.
func TestHandshakeCancelled(t *testing.T) {
	for _, input := range []string{"", hello, "\x05\x00"} {
		synctest.Test(t, func(t *testing.T) {
			client, server := testnet.Pipe(0)
			defer client.Close()
			_, err := client.Write([]byte(input))
			must(t, err)
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			began := time.Now()
			_, err = new(Server).Handshake(ctx, server)
			if took := time.Since(began); err == nil || took != 500*time.Millisecond {
				t.Errorf("%q: error %v after %v", input, err, took)
			}
		})
	}
}

// TestAcceptedConnHasNoDeadline makes sure that the limits end with the handshake.
func TestAcceptedConnHasNoDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := testnet.Pipe(0)
		_, err := client.Write([]byte(hello + toV4))
		must(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		p, err := new(Server).Handshake(ctx, server)
		must(t, err)
		time.Sleep(time.Minute) // the dial
		conn, err := p.Accept()
		must(t, err)
		cancel()
		go func() {
			time.Sleep(time.Hour)
			_, _ = client.Write([]byte("late"))
			_ = chain.CloseWrite(client)
		}()
		if got, err := io.ReadAll(conn); err != nil || string(got) != "late" {
			t.Errorf("read %q, %v", got, err)
		}
		must(t, conn.Close())
		must(t, client.Close())
	})
}
