//go:build interop

package interop

import (
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/byway-proxy/byway/internal/testnet"
)

// refusal asks byway for target by a protocol, and wants it refused with that
// reply, after which byway hangs up.
func refusal(t *testing.T, b *byway, scheme, target string, want replyError) {
	t.Helper()
	c, err := peer{scheme: scheme, addr: b.addr}.direct()(t.Context(), target)
	if err == nil {
		_ = c.Close()
	}
	var got replyError
	if !errors.As(err, &got) || got != want {
		t.Errorf("%s: %v, want the reply %d", scheme, err, want)
	}
}

// silent returns a loopback address that takes conns and says nothing.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, c); _ = c.Close() }()
		}
	}()
	return l.Addr().String()
}

// TestDeadHops has a chain end early. The client gets the reply that fits, and the
// log says which hop failed, and in which phase.
func TestDeadHops(t *testing.T) {
	d, err := dante()
	d = need(t, d, err)
	s, err := squid()
	s = need(t, s, err)
	e, err := egress()
	e = need(t, e, err)
	dead := func(scheme string) peer { return peer{name: "dead", scheme: scheme, addr: testnet.Refusing(t)} }
	deadTLS := dead("https")
	deadTLS.pin = e.pin
	stranger := e
	stranger.name, stranger.pin = "stranger", "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	for _, c := range []struct {
		name        string
		chain       []peer
		socks, http replyError
		says        string
	}{
		{"hop 1 of 1", []peer{dead("socks5")}, 1, 502, `hop 1/1 dead-1: dial: connection refused`},
		{"hop 1 of 2", []peer{dead("socks5"), d}, 1, 502, `hop 1/2 dead-1: dial: connection refused`},
		{"hop 2, behind dante", []peer{d, dead("socks5")}, 1, 502, `hop 2/2 dead-2: dial: connection refused`},
		{"hop 2 by http, behind dante", []peer{d, dead("http")}, 1, 502, `hop 2/2 dead-2: dial: connection refused`},
		{"hop 2 by https, behind dante", []peer{d, deadTLS}, 1, 502, `hop 2/2 dead-2: dial: connection refused`},
		{"hop 2, behind squid", []peer{s, dead("socks5")}, 1, 502, `hop 2/2 dead-2: dial: `},
		{"hop 2, behind the egress", []peer{e, dead("socks5")}, 1, 502, `hop 2/2 dead-2: dial: `},
		{"hop 3", []peer{d, e, dead("socks5")}, 1, 502, `hop 3/3 dead-3: dial: `},
		{"a pin that is another's", []peer{d, stranger}, 1, 502, `hop 2/2 stranger-2: tls: `},
		{"HTTP to a SOCKS proxy", []peer{e, d.as("mistaken", "http")}, 1, 502, `hop 2/2 mistaken-2: connect: `},
		{"TLS to a SOCKS proxy", []peer{d.as("mistaken", "https")}, 1, 502, `hop 1/1 mistaken-1: tls: `},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := runChain(t, c.chain...)
			refusal(t, b, "socks5", "127.0.0.1:9", c.socks)
			refusal(t, b, "http", "127.0.0.1:9", c.http)
			b.awaitLine(t, `msg=failed .*via=default error="`+c.says)
		})
	}
}

// TestSilentHop has a hop that takes the conn and then says nothing: a time limit
// ends it.
func TestSilentHop(t *testing.T) {
	p := peer{name: "silent", scheme: "socks5", addr: silent(t)}
	text, files := chainConfig(p)
	b := runByway(t, text+"dial = \"1s\"\n", files)
	began := time.Now()
	refusal(t, b, "socks5", "127.0.0.1:9", 6)
	refusal(t, b, "http", "127.0.0.1:9", 504)
	if took := time.Since(began); took < 2*time.Second || took > 10*time.Second {
		t.Errorf("two dials with a limit of 1 s took %v", took)
	}
	b.awaitLine(t, `msg=failed .*via=default error="hop 1/1 silent-1: .*timed out`)
}

// TestDeadTarget has the last hop say that the target refuses. Each has its own
// words, which must come to the client as well as its protocol has any.
func TestDeadTarget(t *testing.T) {
	for _, c := range []struct {
		get         member
		socks, http replyError
	}{
		{dante, 5, 502},
		{armon, 5, 502},
		{microsocks, 5, 502},
		{egress, 5, 502},
		{squid, 4, 502},     // it says 503
		{tinyproxy, 4, 502}, // it says 500
		{openssh, 1, 502},   // it hangs up
		{dante4a, 1, 502},   // SOCKS4 has one code for all
	} {
		p, err := c.get()
		p = need(t, p, err)
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			b := runChain(t, p)
			target := testnet.Refusing(t)
			refusal(t, b, "socks5", target, c.socks)
			refusal(t, b, "http", target, c.http)
			b.awaitLine(t, fmt.Sprintf(`msg=failed .*via=default error="hop 1/1 %s-1: connect: `, p.name))
		})
	}
}

// TestNoRoute blocks what no rule lets out, and goes no way around.
func TestNoRoute(t *testing.T) {
	b := runByway(t, "[[listen]]\naddress = \"127.0.0.1:0\"\n", nil)
	refusal(t, b, "socks5", "127.0.0.1:9", 2)
	refusal(t, b, "socks4a", "127.0.0.1:9", 91)
	refusal(t, b, "http", "127.0.0.1:9", 403)
}
