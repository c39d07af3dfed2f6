package httpproxy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

// answers is a proxy on the other end of a pipe that reads one head and answers.
func answers(t *testing.T, answer string, got *string) chain.Dialer {
	return chain.DialerFunc(func(context.Context, string, string) (net.Conn, error) {
		a, b := testnet.Pipe(0)
		done := make(chan struct{})
		go func() {
			defer close(done)
			br := bufio.NewReader(b)
			var head strings.Builder
			for {
				line, err := br.ReadString('\n')
				head.WriteString(line)
				if err != nil || line == "\r\n" {
					break
				}
			}
			if got != nil {
				*got = head.String()
			}
			_, _ = io.WriteString(b, answer)
			_ = chain.CloseWrite(b)
			_, _ = io.Copy(io.Discard, br)
			_ = b.Close()
		}()
		t.Cleanup(func() { _ = a.Close(); <-done })
		return a, nil
	})
}

var long = strings.Repeat("x", maxHead)

// hopAnswers has what proxies and others say to a CONNECT.
var hopAnswers = []struct {
	name, answer string
	phase        chain.Phase // "" means a tunnel
	errno        syscall.Errno
}{
	{"plain", "HTTP/1.1 200 OK\r\n\r\n", "", 0},
	{"HTTP/1.0", "HTTP/1.0 200 Connection established\r\nProxy-agent: tinyproxy\r\n\r\n", "", 0},
	{"no reason", "HTTP/1.1 200\r\n\r\n", "", 0},
	{"another 2xx", "HTTP/1.1 204 x\r\n\r\n", "", 0},
	{"interim", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "", 0},
	{"an empty page", "HTTP/1.1 200 OK\r\nServer: Caddy\r\nContent-Length: 0\r\n\r\n", chain.PhaseAuth, 0},
	{"a page", "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>", chain.PhaseAuth, 0},
	{"a page in chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", chain.PhaseAuth, 0},
	{"a redirect", "HTTP/1.1 308 Permanent Redirect\r\nLocation: /\r\n\r\n", chain.PhaseAuth, 0},
	{"405", "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, HEAD\r\n\r\n", chain.PhaseAuth, 0},
	{"407", "HTTP/1.1 407 x\r\n\r\n", chain.PhaseAuth, 0},
	{"403", "HTTP/1.1 403 x\r\n\r\n", chain.PhaseConnect, syscall.EACCES},
	{"502", "HTTP/1.1 502 x\r\n\r\n", chain.PhaseConnect, syscall.EHOSTUNREACH},
	{"503", "HTTP/1.1 503 x\r\n\r\n", chain.PhaseConnect, syscall.EHOSTUNREACH},
	{"504", "HTTP/1.1 504 x\r\n\r\n", chain.PhaseConnect, syscall.ETIMEDOUT},
	{"501", "HTTP/1.1 501 x\r\n\r\n", chain.PhaseConnect, syscall.EOPNOTSUPP},
	{"418", "HTTP/1.1 418 x\r\n\r\n", chain.PhaseConnect, 0},
	{"token", "HTTP/1.1 502 x\r\nProxy-Status: a; error=connection_refused\r\n\r\n", chain.PhaseConnect, syscall.ECONNREFUSED},
	{"tokens", "HTTP/1.1 502 x\r\nProxy-Status: \"a;error=x, b\"; error=dns_error; details=\"q\\\"; error=y\"\r\n" +
		"Proxy-Status: c; error=connection_refused\r\n\r\n", chain.PhaseConnect, syscall.EHOSTUNREACH},
	{"token of a 404", "HTTP/1.1 404 x\r\nProxy-Status: a; error=destination_not_found\r\n\r\n", chain.PhaseConnect, syscall.EHOSTUNREACH},
	{"101", "HTTP/1.1 101 x\r\n\r\n", chain.PhaseConnect, 0},
	{"not HTTP", "SSH-2.0-OpenSSH_9.2\r\n", chain.PhaseConnect, 0},
	{"HTTP/2", "HTTP/2.0 200 OK\r\n\r\n", chain.PhaseConnect, 0},
	{"bare LF", "HTTP/1.1 200 OK\n\n", chain.PhaseConnect, 0},
	{"folded", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", chain.PhaseConnect, 0},
	{"cut short", "HTTP/1.1 200 OK\r\nA: b", chain.PhaseConnect, syscall.ECONNRESET},
	{"silent end", "", chain.PhaseConnect, syscall.ECONNRESET},
	{"too long", "HTTP/1.1 200 OK\r\nA: " + long + "\r\n\r\n", chain.PhaseConnect, 0},
	{"interim for ever", strings.Repeat("HTTP/1.1 100 Continue\r\nA: "+long[:1000]+"\r\n\r\n", 100), chain.PhaseConnect, 0},
}

func TestHopAnswers(t *testing.T) {
	for _, test := range hopAnswers {
		t.Run(test.name, func(t *testing.T) {
			body := ""
			if test.phase == "" {
				body = "server first\r\n\r\n"
			}
			d := wrap(t, Hop("hop1:3128", HopOptions{User: "u", Password: "p"}), answers(t, test.answer+body, nil))
			conn, err := d.DialContext(t.Context(), "tcp", "target.example:443")
			if test.phase == "" {
				if err != nil {
					t.Fatal(err)
				}
				if got, err := io.ReadAll(conn); err != nil || string(got) != body {
					t.Errorf("read %q, %v", got, err)
				}
				return
			}
			var e *chain.Error
			if !errors.As(err, &e) || e.Phase != test.phase || chain.Errno(err) != test.errno {
				t.Errorf("error %v, errno %v; want phase %s, errno %v", err, chain.Errno(err), test.phase, test.errno)
			}
			if err != nil && strings.Contains(err.Error(), "target") {
				t.Errorf("the error %q names the target", err)
			}
		})
	}
}

func TestHopRequest(t *testing.T) {
	for _, test := range []struct {
		o    HopOptions
		addr string
		want string
	}{
		{HopOptions{}, "example.com:443", "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n"},
		{HopOptions{User: "u", Password: "p"}, "[2001:db8::1]:80", "CONNECT [2001:db8::1]:80 HTTP/1.1\r\n" +
			"Host: [2001:db8::1]:80\r\nProxy-Authorization: Basic dTpw\r\n\r\n"},
	} {
		var got string
		d := wrap(t, Hop("hop1:3128", test.o), answers(t, "HTTP/1.1 200 OK\r\n\r\n", &got))
		if _, err := d.DialContext(t.Context(), "tcp", test.addr); err != nil || got != test.want {
			t.Errorf("sent %q, %v; want %q", got, err, test.want)
		}
	}
}

func TestHopRefusesWithoutDialling(t *testing.T) {
	for _, h := range []chain.Hop{Hop("hop1:3128", HopOptions{}), HopTLS("hop1:443", HopOptions{})} {
		d := wrap(t, h, testnet.NoDial(t))
		if _, err := d.DialContext(t.Context(), "unix", "/run/x.sock"); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: error %v for unix", h.Name, err)
		}
		for _, addr := range []string{"a\r\nb:80", "a b:80", "a", "a:0", "a:x", ":80", "a:80 HTTP/1.1\r\nX: y", "é.example:80", "[::1%eth0]:80"} {
			if conn, err := d.DialContext(t.Context(), "tcp", addr); err == nil {
				_ = conn.Close()
				t.Errorf("%s: dialled %q", h.Name, addr)
			}
			if conn, err := d.DialContext(t.Context(), "udp", addr); err == nil {
				_ = conn.Close()
				t.Errorf("%s: dialled %q for udp", h.Name, addr)
			}
		}
	}
	d := wrap(t, Hop("hop1:3128", HopOptions{}), testnet.NoDial(t))
	if _, err := d.DialContext(t.Context(), "udp", "a.example:53"); !errors.Is(err, errors.ErrUnsupported) || chain.Carries(d, "udp") {
		t.Errorf("error %v for udp by a hop in the clear", err)
	}
	for _, addr := range []string{"", "hop1", ":80"} {
		if _, err := Hop(addr, HopOptions{}).Wrap(testnet.NoDial(t)); err == nil {
			t.Errorf("a hop at %q", addr)
		}
	}
}

// world is an in-memory network with client, hop1 (25 ms away) and a relay on hop1
// that echoes.
func world(t *testing.T) (client chain.Dialer, l net.Listener, r *relay.Relay) {
	n := testnet.New()
	n.SetDelay("client", "hop1", 25*time.Millisecond)
	l, err := n.Host("hop1").Listen(":443")
	if err != nil {
		t.Fatal(err)
	}
	target, err := n.Host("target").Listen(":80")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = target.Close() })
	go testnet.Echo(target)
	r = &relay.Relay{Router: direct(n.Host("hop1"))}
	t.Cleanup(func() {
		_ = r.Close()
		synctest.Wait()
	})
	return n.Host("client"), l, r
}

func took(t *testing.T, what string, want time.Duration, f func() error) {
	t.Helper()
	began := time.Now()
	if err := f(); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if d := time.Since(began); d != want {
		t.Errorf("%s took %v, want %v", what, d, want)
	}
}

func TestRoundTrips(t *testing.T) {
	const rtt = 50 * time.Millisecond
	dial := func(d chain.Dialer) func() error {
		return func() error {
			conn, err := d.DialContext(context.Background(), "tcp", "target:80")
			if err == nil {
				_ = conn.Close()
			}
			return err
		}
	}
	t.Run("h1", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			client, l, r := world(t)
			serve(t, l, &Server{Relay: r})
			d := wrap(t, Hop("hop1:443", HopOptions{}), client)
			took(t, "a tunnel", 2*rtt, dial(d)) // TCP, CONNECT
		})
	})
	t.Run("h2", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			client, l, r := world(t)
			serveTLS(t, l, false, tunnelled(r, ConnectOptions{}))
			d := wrap(t, HopTLS("hop1:443", HopOptions{TLS: trust(testCert())}), client)
			took(t, "a cold tunnel", 3*rtt, dial(d)) // TCP, TLS 1.3, CONNECT
			took(t, "a warm tunnel", rtt, dial(d))
		})
	})
	t.Run("h1 over TLS", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			client, l, r := world(t)
			serveTLS(t, l, true, tunnelled(r, ConnectOptions{}))
			d := wrap(t, HopTLS("hop1:443", HopOptions{TLS: trust(testCert())}), client)
			took(t, "a tunnel", 3*rtt, dial(d))
			took(t, "another tunnel", 3*rtt, dial(d))
		})
	})
}

func TestHopLimits(t *testing.T) {
	silent := func(n int) func(t *testing.T) (chain.Dialer, *atomic.Int32) {
		return func(t *testing.T) (chain.Dialer, *atomic.Int32) {
			var open atomic.Int32
			return chain.DialerFunc(func(ctx context.Context, _, _ string) (net.Conn, error) {
				if n == 0 {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				a, b := testnet.Pipe(0)
				open.Add(1)
				go func() {
					_, _ = io.Copy(io.Discard, b)
					_ = b.Close()
					open.Add(-1)
				}()
				return a, nil
			}), &open
		}
	}
	for _, test := range []struct {
		name  string
		hop   chain.Hop
		next  func(t *testing.T) (chain.Dialer, *atomic.Int32)
		after time.Duration
	}{
		{"dial", Hop("hop1:1", HopOptions{}), silent(0), 10 * time.Second},
		{"dial for TLS", HopTLS("hop1:1", HopOptions{DialLimit: time.Second}), silent(0), time.Second},
		{"TLS", HopTLS("hop1:1", HopOptions{}), silent(1), 10 * time.Second},
		{"reply", Hop("hop1:1", HopOptions{}), silent(1), 20 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				next, open := test.next(t)
				d := wrap(t, test.hop, next)
				began := time.Now()
				_, err := d.DialContext(t.Context(), "tcp", "a:1")
				if chain.Errno(err) != syscall.ETIMEDOUT || time.Since(began) != test.after {
					t.Errorf("error %v after %v", err, time.Since(began))
				}
				ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
				defer cancel()
				began = time.Now()
				if _, err := d.DialContext(ctx, "tcp", "a:1"); err == nil || time.Since(began) != 300*time.Millisecond {
					t.Errorf("error %v, %v after the ctx began", err, time.Since(began))
				}
				synctest.Wait()
				if n := open.Load(); n != 0 {
					t.Errorf("%d conns are still open", n)
				}
			})
		})
	}
}
