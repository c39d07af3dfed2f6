package names

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/byway-proxy/byway/internal/testnet"
)

// told collects what a trace is told.
type told struct {
	mu  sync.Mutex
	all []string
}

func (l *told) trace() *Trace {
	add := func(s string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.all = append(l.all, s)
	}
	return &Trace{
		Failed: func(server string, err error) { add(server + " fails: " + err.Error()) },
		Works:  func(server string) { add(server + " works") },
	}
}

func (l *told) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.all
	l.all = nil
	return all
}

// TestTrace tells of each way to fail, once, and of the end of it. Neither secrets nor names
// that were asked for are told.
func TestTrace(t *testing.T) {
	cert, trust := certificate(t)
	for _, one := range []struct {
		upstream, want string
		wrong          func(*site, *far)
	}{
		{"tcp://gone", "tcp://gone fails: ", nil},
		{"tcp://silent", "tcp://silent fails: context deadline exceeded", func(s *site, _ *far) { s.far("silent", func(*dns.Msg) *dns.Msg { return nil }) }},
		{"tcp://lame", "tcp://lame fails: it answers REFUSED", func(s *site, _ *far) { s.far("lame", says(dns.RcodeRefused, "", "")) }},
		{"https://example.com/q?token=sesame", "https://example.com fails: status 400", nil},
		{"tls://lame:53", "tls://lame:53 fails: ", func(s *site, f *far) { s.far("lame", f.say) }}, // it takes the greeting for a question
	} {
		t.Run(one.upstream, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log told
				s := newSite(t, func(c *Config) { c.Trace, c.TLS = log.trace(), trust }, one.upstream)
				f := &far{say: says(dns.RcodeSuccess, addressOfA, "")}
				if one.wrong != nil {
					one.wrong(s, f)
				} else {
					s.statusOnly(cert)
				}
				for i := range 5 {
					s.want(fmt.Sprintf("private%d.example.", i), map[bool]string{true: "REFUSED", false: "SERVFAIL"}[strings.Contains(one.want, "REFUSED")], 0)
				}
				s.Forget()
				_, _ = s.gets("private.example.")
				all := log.take()
				if len(all) != 1 || !strings.HasPrefix(all[0], one.want) || strings.Contains(all[0], "private") || strings.Contains(all[0], "sesame") {
					t.Errorf("told %q, want %q", all, one.want)
				}
			})
		})
	}
}

// statusOnly runs a web server at example.com that answers no question.
func (s *site) statusOnly(cert tls.Certificate) {
	l, err := s.net.Host("example.com").Listen(":443")
	if err != nil {
		s.t.Fatal(err)
	}
	web := &http.Server{TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "", http.StatusBadRequest)
	})}
	go func() { _ = web.ServeTLS(l, "", "") }()
	s.t.Cleanup(func() { _ = web.Close() })
}

// TestTraceOfRecovery tells that a server works again. An answer that a name is broken is none of a
// broken server.
func TestTraceOfRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log told
		var code atomic.Int32
		s := newSite(t, func(c *Config) { c.Trace, c.Cache = log.trace(), 0 }, "tcp://far")
		s.far("far", func(m *dns.Msg) *dns.Msg {
			if code.Load() < 0 {
				return nil
			}
			return says(int(code.Load()), "", "")(m)
		})
		for _, step := range []struct {
			code int
			want []string
		}{
			{dns.RcodeServerFailure, nil},
			{dns.RcodeSuccess, nil},
			{-1, []string{"tcp://far fails: context deadline exceeded"}},
			{-1, nil},
			{dns.RcodeServerFailure, nil},
			{dns.RcodeNameError, []string{"tcp://far works"}},
			{dns.RcodeNotImplemented, []string{"tcp://far fails: it answers NOTIMP"}},
			{dns.RcodeSuccess, []string{"tcp://far works"}},
		} {
			code.Store(int32(step.code))
			_, _ = s.gets("a.example.")
			if got := log.take(); !slices.Equal(got, step.want) {
				t.Errorf("after %s: told %q, want %q", dns.RcodeToString[step.code], got, step.want)
			}
			time.Sleep(time.Minute)
		}
	})
}

// TestAliases keeps names back that stand for names that are kept back, from the cache as well.
func TestAliases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, func(c *Config) {
			c.Listed = func(name string, client net.Addr) bool {
				return name == "tracker.example" && client.(*net.UDPAddr).IP.Equal(net.IPv4(127, 0, 0, 1))
			}
		}, "tcp://far")
		s.far("far", func(m *dns.Msg) *dns.Msg {
			r := says(dns.RcodeSuccess, "", "")(m)
			add := func(form string) { r.Answer = append(r.Answer, record(fmt.Sprintf(form, m.Question[0].Name))) }
			switch m.Question[0].Name {
			case "alias.example.":
				add("%s 300 IN CNAME b.example.")
				r.Answer = append(r.Answer, record("b.example. 300 IN CNAME Tracker.Example."), record("tracker.example. 300 IN A 192.0.2.1"))
			case "service.example.":
				add("%s 300 IN HTTPS 1 tracker.example. ipv4hint=192.0.2.1")
			case "self.example.":
				add("%s 300 IN HTTPS 1 . alpn=h2")
			case "tree.example.":
				add("%s 300 IN DNAME tracker.example.")
			default:
				add("%s 300 IN CNAME other.example.")
				r.Answer = append(r.Answer, record("other.example. 300 IN A 192.0.2.7"))
			}
			return r
		})
		for range 2 { // the second time it is known
			for _, q := range []struct {
				name string
				kind uint16
				want int
			}{
				{"alias.example.", dns.TypeA, dns.RcodeNameError},
				{"alias.example.", dns.TypeAAAA, dns.RcodeNameError},
				{"service.example.", dns.TypeHTTPS, dns.RcodeNameError},
				{"tree.example.", dns.TypeDNAME, dns.RcodeNameError},
				{"self.example.", dns.TypeHTTPS, dns.RcodeSuccess},
				{"fine.example.", dns.TypeA, dns.RcodeSuccess},
			} {
				r := s.say(questionFor(q.name, q.kind), true)
				if r.Rcode != q.want || q.want == dns.RcodeNameError && len(r.Answer) > 0 {
					t.Errorf("%s: %v", q.name, r)
				}
			}
		}
		b, _ := questionFor("alias.example.", dns.TypeA).Pack()
		done := make(chan []byte, 1)
		s.answer(b, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2)}, true, func(b []byte) { done <- b }, func() {})
		r := new(dns.Msg)
		if err := r.Unpack(<-done); err != nil || len(r.Answer) != 3 {
			t.Errorf("a client that no rule is about gets %v", r)
		}
	})
}

// TestTiedConn is the conformance of the conns to servers.
func TestTiedConn(t *testing.T) {
	testnet.TestConn(t, func(t *testing.T) (a, b net.Conn) {
		one, other := testnet.Pipe(0)
		return tie(t.Context(), one), other
	})
}
