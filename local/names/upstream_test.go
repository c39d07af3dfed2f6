package names

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/byway-proxy/byway/chain"
)

// TestUpstreams asks by each protocol. What arrives has nothing of the client's in it.
func TestUpstreams(t *testing.T) {
	cert, trust := certificate(t)
	for upstream, encrypted := range map[string]bool{
		"https://example.com/dns-query": true, "tls://example.com": true, "tcp://example.com": false,
	} {
		t.Run(upstream, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, func(c *Config) { c.TLS = trust }, upstream)
				f := &far{say: says(dns.RcodeSuccess, addressOfA, "")}
				s.encrypted(f, cert)
				s.net.SetDelay("here", "example.com", 50*time.Millisecond)
				q := questionFor("A.Example.", dns.TypeA)
				q.CheckingDisabled, q.AuthenticatedData = true, true
				q.SetEdns0(4000, true)
				opt := q.IsEdns0()
				opt.Option = append(opt.Option,
					&dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: net.IPv4(203, 0, 113, 0)},
					&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0123456789abcdef"})
				r := s.say(q, true)
				if len(r.Answer) != 1 || r.Question[0].Name != "A.Example." || r.IsEdns0() == nil || r.AuthenticatedData != encrypted {
					t.Fatalf("answered %v", r)
				}
				got := f.asked[0]
				if opt := got.IsEdns0(); opt == nil || !opt.Do() || opt.UDPSize() != udpSize {
					t.Errorf("asked with %v", got)
				} else if len(opt.Option) > 1 || len(opt.Option) == 1 && opt.Option[0].Option() != dns.EDNS0PADDING {
					t.Errorf("passed on options %v", opt.Option)
				}
				if !got.RecursionDesired || !got.CheckingDisabled || got.AuthenticatedData || got.Question[0].Name != "a.example." {
					t.Errorf("asked %v", got)
				}
				if padded := f.sizes[0]%block == 0; padded != encrypted {
					t.Errorf("asked with %d bytes", f.sizes[0])
				}
				web := strings.HasPrefix(upstream, "https")
				if web && got.Id != 0 {
					t.Errorf("asked with the ID %d", got.Id)
				}
				if ttl, want := r.Answer[0].Header().Ttl, map[bool]uint32{true: 200, false: 300}[web]; ttl != want {
					t.Errorf("the TTL is %d, want %d", ttl, want)
				}
				_ = s.say(questionFor("other.example.", dns.TypeA), true)
				if dials := s.net.Dials(); len(dials) != 1 {
					t.Errorf("dialled %v for two questions", dials)
				}
			})
		})
	}
}

// encrypted runs f at example.com, by all protocols.
func (s *site) encrypted(f *far, cert tls.Certificate) {
	s.t.Helper()
	at := func(port string) net.Listener {
		l, err := s.net.Host("example.com").Listen(port)
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { _ = l.Close(); f.cut() })
		return l
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}}
	go f.serve(at(":53"))
	go f.serve(tls.NewListener(at(":853"), config))
	web := &http.Server{Handler: f, TLSConfig: config.Clone(), ErrorLog: log.New(io.Discard, "", 0)}
	l := at(":443")
	go func() { _ = web.ServeTLS(l, "", "") }()
	s.t.Cleanup(func() { _ = web.Close() })
}

// TestCertificates refuses servers that can't prove who they are, and asks them nothing.
func TestCertificates(t *testing.T) {
	cert, _ := certificate(t)
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, nil, "https://example.com/dns-query", "tls://example.com")
		f := &far{say: says(dns.RcodeSuccess, addressOfA, "")}
		s.encrypted(f, cert)
		s.want("a.example.", "SERVFAIL", 0)
		if f.count() > 0 {
			t.Error("a server was asked whose certificate is anybody's")
		}
	})
}

// TestFailover asks the next server when one fails, and remembers which one did.
func TestFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, func(c *Config) { c.Cache = 0 }, "tcp://hole", "tcp://refused", "tcp://lame", "tcp://good")
		s.net.BlackHole("hole:53")
		lame := s.far("lame", says(dns.RcodeRefused, "", ""))
		s.far("good", says(dns.RcodeSuccess, addressOfA, ""))
		took := func(want time.Duration) {
			t.Helper()
			began := time.Now()
			s.want("a.example.", "192.0.2.7", 300*time.Second)
			if got := time.Since(began); got != want {
				t.Errorf("took %v, want %v", got, want)
			}
		}
		took(questionLimit / 4)
		took(0)
		time.Sleep(failedFor)
		took(questionLimit / 4)
		if lame.count() != 3 {
			t.Errorf("the lame one was asked %d times, want 3: it is no dead one", lame.count())
		}
	})
}

// TestDeadline gives up in time when no server answers.
func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, nil, "tcp://hole", "tcp://silent")
		s.net.BlackHole("hole:53")
		s.far("silent", func(*dns.Msg) *dns.Msg { return nil })
		began := time.Now()
		s.want("a.example.", "SERVFAIL", 0)
		if took := time.Since(began); took != questionLimit {
			t.Errorf("took %v, want %v", took, questionLimit)
		}
	})
}

// TestBogus passes on that DNSSEC failed, and asks nobody who may not look.
func TestBogus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, nil, "tcp://strict", "tcp://lax")
		strict := s.far("strict", func(m *dns.Msg) *dns.Msg {
			r := says(dns.RcodeServerFailure, "", "")(m)
			r.SetEdns0(udpSize, false)
			r.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeDNSBogus}}
			return r
		})
		lax := s.far("lax", says(dns.RcodeSuccess, addressOfA, ""))
		s.want("a.example.", "SERVFAIL", 0)
		if strict.count() != 1 || lax.count() != 0 {
			t.Errorf("asked %d and %d", strict.count(), lax.count())
		}
	})
}

// TestPipelining has answers come in any order on one conn.
func TestPipelining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, nil, "tcp://far")
		s.far("far", func(m *dns.Msg) *dns.Msg {
			name := m.Question[0].Name
			time.Sleep(time.Duration('z'-name[0]) * 10 * time.Millisecond)
			return says(dns.RcodeSuccess, name+" 60 IN A 192.0.2."+map[byte]string{'a': "1", 'm': "2", 'y': "3"}[name[0]], "")(m)
		})
		began := time.Now()
		var wg sync.WaitGroup
		for name, want := range map[string]string{"a.example.": "192.0.2.1", "m.example.": "192.0.2.2", "y.example.": "192.0.2.3"} {
			wg.Go(func() { s.want(name, want, time.Minute) })
		}
		wg.Wait()
		if took := time.Since(began); took != 250*time.Millisecond {
			t.Errorf("took %v", took)
		}
		if dials := s.net.Dials(); len(dials) != 1 {
			t.Errorf("dialled %v", dials)
		}
	})
}

// TestWornConns asks again where a conn died of age, and keeps none that is of no use.
func TestWornConns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, func(c *Config) { c.Cache = 0 }, "tcp://far")
		var silent atomic.Bool
		f := s.far("far", func(m *dns.Msg) *dns.Msg {
			if silent.Load() {
				return nil
			}
			return says(dns.RcodeSuccess, addressOfA, "")(m)
		})
		asks := func(dials int) {
			t.Helper()
			s.want("a.example.", "192.0.2.7", 300*time.Second)
			if got := len(s.net.Dials()); got != dials {
				t.Errorf("%d dials, want %d", got, dials)
			}
		}
		asks(1)
		asks(1)
		f.cut()
		asks(2)
		time.Sleep(idleConn - time.Second)
		asks(2)
		time.Sleep(idleConn + time.Second)
		if live := s.config.Relay.Live(); live != 0 {
			t.Errorf("%d idle conns are kept", live)
		}
		asks(3)
		silent.Store(true)
		s.want("a.example.", "SERVFAIL", 0)
		silent.Store(false)
		asks(4) // the silent one is given up
	})
}

// TestHostileServer believes nothing that does not answer the question, and outlives all of it.
func TestHostileServer(t *testing.T) {
	for name, say := range map[string]func(*dns.Msg) *dns.Msg{
		"another name": func(m *dns.Msg) *dns.Msg {
			r := says(dns.RcodeSuccess, addressOfA, "")(m)
			r.Question = []dns.Question{{Name: "b.example.", Qtype: dns.TypeA, Qclass: dns.ClassINET}}
			return r
		},
		"another ID": func(m *dns.Msg) *dns.Msg {
			r := says(dns.RcodeSuccess, addressOfA, "")(m)
			r.Id++
			return r
		},
		"a question": func(m *dns.Msg) *dns.Msg { return m },
		"cut short": func(m *dns.Msg) *dns.Msg {
			r := says(dns.RcodeSuccess, addressOfA, "")(m)
			r.Truncated = true
			return r
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, nil, "tcp://far")
				s.far("far", say)
				s.want("a.example.", "SERVFAIL", 0)
			})
		})
	}
}

// TestWay dials by the one decision, unresolved, as the listener, and counts with the relay.
func TestWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []string
		s := newSite(t, func(c *Config) {
			way := c.Way.Dialer
			c.Way.Dialer = chain.DialerFunc(func(ctx context.Context, network, addr string) (net.Conn, error) {
				id := chain.IdentityOf(ctx)
				asked = append(asked, network+" "+addr+" "+id.Key)
				return way.DialContext(ctx, network, addr)
			})
		}, "tcp://names.example:5300")
		l, err := s.net.Host("names.example").Listen(":5300")
		if err != nil {
			t.Fatal(err)
		}
		f := &far{say: says(dns.RcodeSuccess, addressOfA, "")}
		go f.serve(l)
		t.Cleanup(func() { _ = l.Close(); f.cut() })
		s.want("a.example.", "192.0.2.7", 300*time.Second)
		if len(asked) != 1 || !strings.HasPrefix(asked[0], "tcp names.example:5300 ") || !strings.Contains(asked[0], "here:53") {
			t.Errorf("dialled %q", asked)
		}
		if s.config.Relay.Live() != 1 {
			t.Error("the relay does not know of the conn")
		}
		s.config.Relay.NewIdentity()
		s.Forget()
		s.want("a.example.", "192.0.2.7", 300*time.Second)
		if len(asked) != 2 || asked[0] == asked[1] || f.count() != 2 {
			t.Errorf("a new identity has what the one before had: %q", asked)
		}
		synctest.Wait()
		if live := s.config.Relay.Live(); live != 1 {
			t.Errorf("%d conns are kept", live)
		}
	})
}
