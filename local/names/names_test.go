package names

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// certificate is one for example.com, and the config that trusts it.
func certificate(t *testing.T) (tls.Certificate, *tls.Config) {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return s.TLS.Certificates[0], &tls.Config{RootCAs: roots}
}

// A far is a DNS server beyond the chain.
type far struct {
	say func(*dns.Msg) *dns.Msg // nil is not answered

	mu    sync.Mutex
	asked []*dns.Msg
	sizes []int
	conns []net.Conn
}

func (f *far) hear(b []byte) []byte {
	m := new(dns.Msg)
	if err := m.Unpack(b); err != nil {
		panic(err)
	}
	f.mu.Lock()
	f.asked, f.sizes = append(f.asked, m), append(f.sizes, len(b))
	f.mu.Unlock()
	r := f.say(m)
	if r == nil {
		return nil
	}
	out, err := r.Pack()
	if err != nil {
		panic(err)
	}
	return out
}

func (f *far) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.asked)
}

// serve answers on each conn of l, each question in a goroutine of its own.
func (f *far) serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		f.mu.Lock()
		f.conns = append(f.conns, c)
		f.mu.Unlock()
		go func() {
			var mu sync.Mutex
			defer c.Close()
			for {
				b, err := readMessage(c)
				if err != nil {
					return
				}
				go func() {
					if out := f.hear(b); out != nil {
						mu.Lock()
						defer mu.Unlock()
						_, _ = c.Write(framed(out))
					}
				}()
			}
		}()
	}
}

// cut ends all conns.
func (f *far) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.conns {
		_ = chain.Abort(c)
	}
	f.conns = nil
}

func (f *far) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	if r.Method != http.MethodPost || r.Header.Get("Content-Type") != mediaType || r.Header.Get("User-Agent") != "" || r.Header.Get("Idempotency-Key") != "" {
		http.Error(w, "", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Age", "100")
	_, _ = w.Write(f.hear(b))
}

func readMessage(c net.Conn) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(c, b)
	return b, err
}

func framed(b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

// says answers with records in a zone file's form, and m's question.
func says(rcode int, answer, authority string) func(*dns.Msg) *dns.Msg {
	return func(m *dns.Msg) *dns.Msg {
		r := new(dns.Msg)
		r.SetRcode(m, rcode)
		r.AuthenticatedData = true
		if answer != "" {
			r.Answer = append(r.Answer, record(answer))
		}
		if authority != "" {
			r.Ns = append(r.Ns, record(authority))
		}
		return r
	}
}

func record(s string) dns.RR {
	rr, err := dns.NewRR(s)
	if err != nil {
		panic(err)
	}
	return rr
}

const addressOfA = "a.example. 300 IN A 192.0.2.7"

// A site is a server of ours, and the network beyond it.
type site struct {
	t   *testing.T
	net *testnet.Network
	*Server
}

// newSite runs a server that asks upstreams; more may change what it is made of.
func newSite(t *testing.T, more func(*Config), upstreams ...string) *site {
	t.Helper()
	n := testnet.New()
	r := &relay.Relay{}
	c := Config{
		Relay: r, Way: relay.Decision{Dialer: n.Host("here"), Via: "way"}, Upstreams: upstreams, Cache: 100, Listener: "here:53",
		Blocked: func(name string, _ net.Addr) bool { return name == "bad.example" },
	}
	if more != nil {
		more(&c)
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := r.Shutdown(ctx); err != nil {
			t.Errorf("conns outlive Close: %v", err)
		}
	})
	return &site{t, n, s}
}

// far runs a DNS server over TCP at host.
func (s *site) far(host string, say func(*dns.Msg) *dns.Msg) *far {
	s.t.Helper()
	f := &far{say: say}
	l, err := s.net.Host(host).Listen(":53")
	if err != nil {
		s.t.Fatal(err)
	}
	go f.serve(l)
	s.t.Cleanup(func() {
		_ = l.Close()
		f.cut()
	})
	return f
}

func questionFor(name string, kind uint16) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(name, kind)
	return m
}

var client = &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4000}

// say asks s, by UDP or TCP, and waits for the answer; nil if there is none.
func (s *site) say(m *dns.Msg, udp bool) *dns.Msg {
	s.t.Helper()
	b, err := m.Pack()
	if err != nil {
		s.t.Fatal(err)
	}
	out := s.sayBytes(b, udp)
	if out == nil {
		return nil
	}
	r := new(dns.Msg)
	if err := r.Unpack(out); err != nil {
		s.t.Fatal(err)
	}
	if r.Id != m.Id || !r.Response {
		s.t.Errorf("answered %v to %v", r, m)
	}
	return r
}

func (s *site) sayBytes(b []byte, udp bool) (out []byte) {
	done := make(chan struct{})
	s.answer(b, client, udp, func(b []byte) { out = b }, func() { close(done) })
	<-done
	return out
}

// gets asks for an address and returns it and its TTL, or the code in place of it.
func (s *site) gets(name string) (string, time.Duration) {
	s.t.Helper()
	r := s.say(questionFor(name, dns.TypeA), true)
	if len(r.Answer) != 1 {
		return dns.RcodeToString[r.Rcode], 0
	}
	a, ok := r.Answer[0].(*dns.A)
	if !ok {
		s.t.Fatalf("answered %v", r)
	}
	return a.A.String(), seconds(a.Hdr.Ttl)
}

func (s *site) want(name, want string, ttl time.Duration) {
	s.t.Helper()
	if got, left := s.gets(name); got != want || left != ttl {
		s.t.Errorf("%s: %s for %v, want %s for %v", name, got, left, want, ttl)
	}
}
