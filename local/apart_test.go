package local

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/net/proxy"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/httpproxy"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/socks"
)

// A witness knows for whom conns to a hop were dialled, and who came by which.
type witness struct {
	t *testing.T

	mu      sync.Mutex
	keys    map[string]string          // of the identity, by the conn's local address
	came    map[string]map[string]bool // keys by whose tunnel it was: the first label of its target
	conns   map[string]map[string]bool // conns likewise
	resumed map[string]bool            // a TLS session was
	full    map[string]bool            // the first TLS handshake was one without
}

func newWitness(t *testing.T) *witness {
	return &witness{
		t: t, keys: make(map[string]string), came: make(map[string]map[string]bool), conns: make(map[string]map[string]bool),
		resumed: make(map[string]bool), full: make(map[string]bool),
	}
}

// DialContext is the base of the server under test.
func (w *witness) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err == nil {
		w.mu.Lock()
		w.keys[c.LocalAddr().String()] = chain.IdentityOf(ctx).Key
		w.mu.Unlock()
	}
	return c, err
}

// saw takes note that a tunnel to target came by a conn from there.
func (w *witness) saw(from, target string) {
	who, _, _ := strings.Cut(target, ".")
	w.mu.Lock()
	defer w.mu.Unlock()
	key, ok := w.keys[from]
	if !ok {
		w.t.Errorf("%s came by a conn that the base did not dial", who)
	}
	if w.came[who] == nil {
		w.came[who], w.conns[who] = make(map[string]bool), make(map[string]bool)
	}
	w.came[who][key], w.conns[who][from] = true, true
}

// relay lets any request through, and sees it.
func (w *witness) relay() *relay.Relay {
	far := testnet.Listen(w.t)
	go testnet.Echo(far)
	to := chain.DialerFunc(func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", far.Addr().String())
	})
	r := &relay.Relay{Router: relay.RouterFunc(func(_ context.Context, q relay.Request) relay.Decision {
		w.saw(q.Client.String(), q.Addr)
		return relay.Decision{Dialer: to, Via: "direct"}
	})}
	w.t.Cleanup(func() { _ = r.Close() })
	return r
}

// accept serves conns by f until the test ends, and returns where.
func accept(t *testing.T, f func(net.Conn)) string {
	l := testnet.Listen(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { f(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

func (w *witness) socks() string {
	s := &socks.Server{Relay: w.relay()}
	return accept(w.t, func(c net.Conn) { _ = s.ServeConn(context.Background(), c) })
}

func (w *witness) http() string {
	s := &httpproxy.Server{Relay: w.relay()}
	return accept(w.t, func(c net.Conn) { _ = s.ServeConn(context.Background(), c) })
}

// https serves HTTP/2 or, if told so, 1.1 alone, and returns where and the rest of the hop.
func (w *witness) https(h1 bool) (addr, more string) {
	a := newAuthority(w.t)
	leaf, key := a.sign(w.t, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, "leaf")
	r := w.relay()
	s := &http.Server{
		Protocols: new(http.Protocols),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}}},
		Handler: http.HandlerFunc(func(rw http.ResponseWriter, q *http.Request) {
			from, _ := net.ResolveTCPAddr("tcp", q.RemoteAddr)
			p, err := httpproxy.Connect(rw, q, relay.Request{Client: from}, httpproxy.ConnectOptions{})
			if err != nil {
				return
			}
			who, _, _ := strings.Cut(q.Host, ".")
			w.mu.Lock()
			if w.resumed[who] = w.resumed[who] || q.TLS.DidResume; !w.resumed[who] {
				w.full[who] = true
			}
			w.mu.Unlock()
			_ = r.Serve(q.Context(), p)
		}),
		ErrorLog: log.New(io.Discard, "", 0),
	}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetHTTP2(!h1)
	l := testnet.Listen(w.t)
	go func() { _ = s.ServeTLS(l, "", "") }()
	w.t.Cleanup(func() { _ = s.Close() })
	return l.Addr().String(), fmt.Sprintf("[hop.tls]\nca = %q\n", a.path("ca.pem"))
}

// ssh serves direct-tcpip to a user with a password.
func (w *witness) ssh() (addr, more string) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	host, err := ssh.NewSignerFromKey(key)
	if err != nil {
		w.t.Fatal(err)
	}
	cfg := &ssh.ServerConfig{PasswordCallback: func(_ ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
		if string(password) != "sesame" {
			return nil, errors.New("no")
		}
		return nil, nil
	}}
	cfg.AddHostKey(host)
	addr = accept(w.t, func(c net.Conn) {
		defer c.Close()
		conn, chans, reqs, err := ssh.NewServerConn(c, cfg)
		if err != nil {
			return
		}
		defer conn.Close()
		go ssh.DiscardRequests(reqs)
		for ch := range chans {
			var to struct {
				Host       string
				Port       uint32
				Originator string
				From       uint32
			}
			_ = ssh.Unmarshal(ch.ExtraData(), &to)
			w.saw(c.RemoteAddr().String(), to.Host)
			if tunnel, reqs, err := ch.Accept(); err == nil {
				go ssh.DiscardRequests(reqs)
				go func() {
					_, _ = io.Copy(tunnel, tunnel)
					_ = tunnel.Close()
				}()
			}
		}
	})
	return addr, fmt.Sprintf("[hop.ssh]\npin = %q\n", ssh.FingerprintSHA256(host.PublicKey()))
}

// TestIdentitiesAreKeptApart has apps that call themselves a and b, and a once more after
// a new identity, use every kind of hop: no conn to the hop is dialled for one of them and
// used for another, and no TLS session of one is resumed by another.
func TestIdentitiesAreKeptApart(t *testing.T) {
	for scheme, test := range map[string]struct {
		serve   func(*witness) (addr, more string)
		user    string
		shared  bool // tunnels of one identity share a conn
		resumes bool // it has to dial more than once
	}{
		"socks5":  {serve: func(w *witness) (string, string) { return w.socks(), "" }},
		"socks4a": {serve: func(w *witness) (string, string) { return w.socks(), "" }},
		"http":    {serve: func(w *witness) (string, string) { return w.http(), "" }},
		"https":   {serve: func(w *witness) (string, string) { return w.https(false) }, shared: true},
		"https 1": {serve: func(w *witness) (string, string) { return w.https(true) }, resumes: true},
		"ssh":     {serve: (*witness).ssh, user: "alice:sesame@", shared: true},
	} {
		t.Run(scheme, func(t *testing.T) {
			w := newWitness(t)
			addr, more := test.serve(w)
			scheme, _, _ := strings.Cut(scheme, " ")
			s, err := New(parse(t, oneHop(scheme+"://"+test.user+addr, more)), w, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			open := listenAndServe(t, s)
			for range 3 {
				open("a", "a.example:7")
				open("b", "b.example:7")
			}
			if _, err := s.newIdentity(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			open("a", "later.example:7")
			w.check(test.shared)
			for _, who := range []string{"a", "b", "later"} {
				if scheme == "https" && !w.full[who] {
					t.Errorf("%s began by resuming the TLS session of another", who)
				}
			}
			if test.resumes && !(w.resumed["a"] && w.resumed["b"]) {
				t.Errorf("TLS sessions were resumed by %v alone", w.resumed)
			}
		})
	}
}

// check looks at who came by what.
func (w *witness) check(shared bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	taken := make(map[string]string)
	for _, who := range []string{"a", "b", "later"} {
		if len(w.came[who]) != 1 {
			w.t.Errorf("%s came by conns of %d identities, want one", who, len(w.came[who]))
		}
		for key := range w.came[who] {
			if other, ok := taken[key]; ok {
				w.t.Errorf("%s came by a conn of the identity of %s", who, other)
			}
			taken[key] = who
		}
	}
	if n := len(w.conns["a"]); (n == 1) != shared {
		w.t.Errorf("three tunnels came by %d conns", n)
	}
}

// listenAndServe serves until the test ends, and returns what opens a tunnel as user,
// which stays open as long.
func listenAndServe(t *testing.T, s *Server) (open func(user, target string)) {
	t.Helper()
	addrs, _, err := s.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	var conns []net.Conn
	t.Cleanup(func() {
		for _, c := range conns {
			_ = c.Close()
		}
		cancel()
		<-done
	})
	return func(user, target string) {
		t.Helper()
		d, err := proxy.SOCKS5("tcp", addrs[0].String(), &proxy.Auth{User: user, Password: "x"}, proxy.Direct)
		if err != nil {
			t.Fatal(err)
		}
		c, err := d.Dial("tcp", target)
		if err != nil {
			t.Fatalf("%s to %s: %v", user, target, err)
		}
		conns = append(conns, c)
		_, _ = io.WriteString(c, "x")
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Errorf("%s to %s: %v", user, target, err)
		}
	}
}
