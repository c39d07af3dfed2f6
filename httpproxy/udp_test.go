package httpproxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/datagram"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

// flowing is a handler that carries requests for flows by r.
func flowing(r *relay.Relay) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		p, err := ConnectUDP(w, req, relay.Request{}, ConnectOptions{ProxyStatus: "test"})
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_ = r.Serve(req.Context(), p)
	}
}

// TestFlowsConform runs the suite of datagrams on flows by HTTP/1.1, both ends being ours.
func TestFlowsConform(t *testing.T) {
	ends := make(chan net.Conn)
	srv := serveTLS(t, testnet.Listen(t), false, func(w http.ResponseWriter, r *http.Request) {
		p, err := ConnectUDP(w, r, relay.Request{}, ConnectOptions{})
		if err != nil {
			panic(err)
		}
		conn, err := p.Accept()
		if err != nil {
			return
		}
		ends <- conn
	})
	d := wrap(t, HopTLS(srv.l.Addr().String(), HopOptions{TLS: trust(testCert())}), &net.Dialer{})
	testnet.TestDatagrams(t, func(t *testing.T) (a, b net.Conn, longest int) {
		got := make(chan net.Conn, 1)
		go func() { got <- <-ends }()
		a, err := d.DialContext(t.Context(), "udp", "target.example:443")
		if err != nil {
			t.Fatal(err)
		}
		return a, <-got, datagram.Max
	})
}

// TestFlowRequest is what a hop sends, byte for byte.
func TestFlowRequest(t *testing.T) {
	got := upgradeRequest("paris.example.org", "/.well-known/masque/udp/192.0.2.6/443/", "Basic dTpw")
	const want = "GET /.well-known/masque/udp/192.0.2.6/443/ HTTP/1.1\r\nHost: paris.example.org\r\nConnection: Upgrade\r\n" +
		"Upgrade: connect-udp\r\nCapsule-Protocol: ?1\r\nProxy-Authorization: Basic dTpw\r\n\r\n"
	if string(got) != want {
		t.Errorf("sent %q", got)
	}
	for _, test := range []struct{ addr, name, want string }{
		{"paris.example.org:443", "", "paris.example.org"},
		{"paris.example.org:8443", "", "paris.example.org:8443"},
		{"[2001:db8::1]:443", "", "[2001:db8::1]:443"},
		{"192.0.2.1:443", "paris.example.org", "paris.example.org"},
	} {
		o := HopOptions{TLS: &tls.Config{ServerName: test.name}}
		if got := o.Host(test.addr); got != test.want {
			t.Errorf("the authority of %s is %q", test.addr, got)
		}
	}
}

// TestUDPTarget: what is taken for a request for a flow.
func TestUDPTarget(t *testing.T) {
	const path = "/.well-known/masque/udp/192.0.2.6/443/"
	for name, test := range map[string]struct {
		head string
		want string
	}{
		"one":              {"GET " + path + " HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: connect-udp\r\n\r\n", "192.0.2.6:443"},
		"in other case":    {"GET " + path + " HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, upgrade\r\nUpgrade: Connect-UDP\r\n\r\n", "192.0.2.6:443"},
		"no upgrade":       {"GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n", ""},
		"no Connection":    {"GET " + path + " HTTP/1.1\r\nHost: a\r\nUpgrade: connect-udp\r\n\r\n", ""},
		"another protocol": {"GET " + path + " HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", ""},
		"several":          {"GET " + path + " HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: connect-udp, x\r\n\r\n", ""},
		"a POST":           {"POST " + path + " HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: connect-udp\r\n\r\n", ""},
		"HTTP/1.0":         {"GET " + path + " HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: connect-udp\r\n\r\n", ""},
		"a query":          {"GET " + path + "?x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: connect-udp\r\n\r\n", ""},
		"another path":     {"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: connect-udp\r\n\r\n", ""},
	} {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(test.head)))
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := UDPTarget(r); got != test.want || ok != (test.want != "") {
			t.Errorf("%s: %q, %v", name, got, ok)
		}
	}
}

// TestFlowTargets that are none are refused before anything is dialled.
func TestFlowTargets(t *testing.T) {
	h := flowing(&relay.Relay{Router: direct(testnet.NoDial(t))})
	for _, target := range []string{"a%20b/53", "a/0", "a/x", "fe80::1%25eth0/53", "a%2Fb/53"} {
		r := httptest.NewRequest(http.MethodGet, "/.well-known/masque/udp/"+target+"/", nil)
		r.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"connect-udp"}}
		w := httptest.NewRecorder()
		if h(w, r); w.Code != http.StatusBadRequest {
			t.Errorf("%s: status %d", target, w.Code)
		}
	}
}

// TestFlowRefusals: what a hop answers, what is made of it, and what is remembered.
func TestFlowRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		answer string
		phase  chain.Phase
		errno  syscall.Errno
		learnt bool
	}{
		"a page":           {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", chain.PhaseAuth, 0, true},
		"200 of a CONNECT": {"HTTP/1.1 200 OK\r\n\r\n", chain.PhaseAuth, 0, true},
		"not found":        {"HTTP/1.1 404 Not Found\r\n\r\n", chain.PhaseAuth, 0, true},
		"not implemented":  {"HTTP/1.1 501 Not Implemented\r\n\r\n", chain.PhaseConnect, 0, true},
		"credentials":      {"HTTP/1.1 407 x\r\n\r\n", chain.PhaseAuth, 0, false},
		"refused":          {"HTTP/1.1 502 x\r\nProxy-Status: a; error=connection_refused\r\n\r\n", chain.PhaseConnect, syscall.ECONNREFUSED, false},
		"not allowed":      {"HTTP/1.1 403 x\r\nProxy-Status: a; error=http_request_denied\r\n\r\n", chain.PhaseConnect, syscall.EACCES, false},
		"another protocol": {"HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n", chain.PhaseConnect, 0, false},
		"garbage":          {"\x05\x00", chain.PhaseConnect, 0, false},
		"an end":           {"", chain.PhaseConnect, syscall.ECONNRESET, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := wrap(t, HopTLS("hop1:443", HopOptions{TLS: trust(testCert())}), saying(t, test.answer))
				conn, err := d.DialContext(t.Context(), "udp", "target.example:53")
				var e *chain.Error
				if conn != nil || !errors.As(err, &e) || e.Phase != test.phase || test.errno != 0 && !errors.Is(err, test.errno) {
					t.Errorf("got %v, want phase %s, errno %v", err, test.phase, test.errno)
				}
				if chain.Carries(d, "udp") == test.learnt {
					t.Errorf("that it carries no UDP is learnt: %v", !test.learnt)
				}
				time.Sleep(time.Hour)
				if !chain.Carries(d, "udp") {
					t.Error("it is not asked again")
				}
			})
		})
	}
}

// saying dials a TLS server that answers each request so, and closes.
func saying(t *testing.T, answer string) chain.Dialer {
	n := testnet.New()
	l, err := n.Host("hop1").Listen(":443")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			conn := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{testCert()}, NextProtos: []string{"http/1.1"}})
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				_, _ = io.WriteString(conn, answer)
			}
			_ = conn.Close()
		}
	}()
	return n.Host("client")
}

// TestFlowLimits: a proxy that does not answer is given up.
func TestFlowLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New()
		l, err := n.Host("hop1").Listen(":443")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			if raw, err := l.Accept(); err == nil {
				_ = tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{testCert()}}).HandshakeContext(context.Background())
				_, _ = io.Copy(io.Discard, raw)
				_ = raw.Close()
			}
		}()
		d := wrap(t, HopTLS("hop1:443", HopOptions{TLS: trust(testCert()), ReplyLimit: 4 * time.Second}), n.Host("client"))
		began := time.Now()
		_, err = d.DialContext(t.Context(), "udp", "target.example:53")
		if e := (*chain.Error)(nil); !errors.As(err, &e) || e.Phase != chain.PhaseConnect || time.Since(began) != 4*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}
