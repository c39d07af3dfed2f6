package names

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/byway-proxy/byway/internal/testnet"
)

// zoneOf answers as a server does that knows a few names.
func zoneOf(m *dns.Msg) *dns.Msg {
	records := map[string][]string{
		"both.example. A":             {"both.example. 300 IN A 192.0.2.7"},
		"both.example. AAAA":          {"both.example. 300 IN AAAA 2001:db8::7", "both.example. 300 IN AAAA 2001:db8::8"},
		"old.example. A":              {"old.example. 300 IN A 192.0.2.8"},
		"alias.example. A":            {"alias.example. 300 IN CNAME old.example.", "old.example. 300 IN A 192.0.2.8"},
		"7.2.0.192.in-addr.arpa. PTR": {"7.2.0.192.in-addr.arpa. 300 IN PTR Both.example."},
	}[m.Question[0].Name+" "+dns.TypeToString[m.Question[0].Qtype]]
	r := says(dns.RcodeSuccess, "", "")(m)
	switch {
	case strings.HasPrefix(m.Question[0].Name, "no."):
		r.Rcode = dns.RcodeNameError
	case strings.HasPrefix(m.Question[0].Name, "fails."):
		r.Rcode = dns.RcodeServerFailure
	}
	for _, text := range records {
		r.Answer = append(r.Answer, record(text))
	}
	return r
}

// newClient returns a client on a network of its own.
func newClient(t *testing.T, server string, more func(*ClientConfig)) (*Client, *site) {
	t.Helper()
	n := testnet.New()
	c := ClientConfig{Server: server, Dial: n.Host("here").DialContext, Cache: 10}
	if more != nil {
		more(&c)
	}
	client, err := NewClient(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client, &site{t: t, net: n}
}

// all returns the addresses of a name as they come.
func (c *Client) all(t *testing.T, name string) (string, error) {
	t.Helper()
	found, failed := c.Lookup(t.Context(), name)
	var all []string
	for some := range found {
		for _, a := range some {
			all = append(all, a.String())
		}
	}
	return strings.Join(all, " "), failed()
}

// plain runs a server of plain DNS at example.com: UDP and TCP.
func (s *site) plain(say func(udp bool) func(*dns.Msg) *dns.Msg) (udp, tcp *far) {
	s.t.Helper()
	udp = &far{say: say(true)}
	p, err := s.net.Host("example.com").ListenPacket(":53")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = p.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := p.ReadFrom(buf)
			if err != nil {
				return
			}
			if out := udp.hear(buf[:n]); out != nil {
				_, _ = p.WriteTo(out, from)
			}
		}
	}()
	return udp, s.far("example.com", say(false))
}

// TestClient looks names up by each protocol.
func TestClient(t *testing.T) {
	cert, trust := certificate(t)
	for _, server := range []string{"https://example.com/dns-query", "tls://example.com", "tcp://example.com", "udp://example.com"} {
		t.Run(server, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log told
				c, s := newClient(t, server, func(c *ClientConfig) { c.TLS, c.Trace = trust, log.trace() })
				f := &far{say: zoneOf}
				if strings.HasPrefix(server, "udp") {
					f, _ = s.plain(func(bool) func(*dns.Msg) *dns.Msg { return zoneOf })
				} else {
					s.encrypted(f, cert)
				}
				for range 2 {
					for name, want := range map[string]string{
						"both.example": "2001:db8::7 2001:db8::8 192.0.2.7", "Old.Example.": "192.0.2.8", "alias.example": "192.0.2.8",
						"localhost": "::1 127.0.0.1", "x.LocalHost.": "::1 127.0.0.1",
					} {
						if got, err := c.all(t, name); got != want {
							t.Errorf("%s: %s, %v; want %s", name, got, err, want)
						}
					}
					for _, name := range []string{"no.example", "hidden.onion", "x.invalid", "nothing.example", `a\.b`, strings.Repeat("a", 64), ""} {
						got, err := c.all(t, name)
						if wrong := (*net.DNSError)(nil); got != "" || !errors.As(err, &wrong) || !wrong.IsNotFound {
							t.Errorf("%s: %q, %v", name, got, err)
						}
					}
				}
				if got, err := c.all(t, "fails.example"); got != "" || !errors.Is(err, errNoAnswer) {
					t.Errorf("SERVFAIL: %q, %v", got, err)
				}
				if name, err := c.Name(t.Context(), netip.MustParseAddr("192.0.2.7")); name != "Both.example" {
					t.Errorf("PTR: %q, %v", name, err)
				}
				asked := f.count()
				for _, m := range f.asked {
					if name := m.Question[0].Name; strings.HasSuffix(name, "onion.") || strings.HasSuffix(name, "localhost.") {
						t.Errorf("asked for %s", name)
					}
				}
				if _, _ = c.all(t, "both.example"); f.count() != asked {
					t.Error("what was known was asked for again")
				}
				c.Forget()
				if _, _ = c.all(t, "both.example"); f.count() == asked {
					t.Error("what was to be forgotten is known")
				}
				if all := log.take(); len(all) > 0 {
					t.Errorf("told %q", all)
				}
			})
		})
	}
}

// TestClientWaits has addresses come as soon as they are there, those of IPv4 a little later.
func TestClientWaits(t *testing.T) {
	for _, test := range []struct{ four, six, first, second time.Duration }{
		{10, 20, 20, 20},
		{10, 200, 60, 200},
		{200, 10, 10, 200},
	} {
		synctest.Test(t, func(t *testing.T) {
			c, s := newClient(t, "tcp://example.com", nil)
			s.far("example.com", func(m *dns.Msg) *dns.Msg {
				time.Sleep(map[uint16]time.Duration{dns.TypeA: test.four, dns.TypeAAAA: test.six}[m.Question[0].Qtype] * time.Millisecond)
				return zoneOf(m)
			})
			began := time.Now()
			found, failed := c.Lookup(t.Context(), "both.example")
			var came []time.Duration
			for range found {
				came = append(came, time.Since(began))
			}
			want := []time.Duration{test.first * time.Millisecond, test.second * time.Millisecond}
			if !slices.Equal(came, want) || failed() != nil {
				t.Errorf("came after %v, want %v; %v", came, want, failed())
			}
		})
	}
}

// TestClientLoss sends a question by UDP again that was lost, asks by TCP for what was cut
// short, and hears nobody else.
func TestClientLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := newClient(t, "udp://example.com", nil)
		var lost atomic.Int32
		udp, tcp := s.plain(func(udp bool) func(*dns.Msg) *dns.Msg {
			return func(m *dns.Msg) *dns.Msg {
				r := zoneOf(m)
				switch {
				case udp && lost.Add(1) <= 2:
					return nil
				case udp:
					r.Truncated, r.Answer = true, nil
				}
				return r
			}
		})
		began := time.Now()
		if got, err := c.all(t, "old.example"); got != "192.0.2.8" || time.Since(began) != time.Second {
			t.Errorf("%s, %v after %v", got, err, time.Since(began))
		}
		if udp.count() != 4 || tcp.count() != 2 {
			t.Errorf("asked %d times by UDP and %d times by TCP", udp.count(), tcp.count())
		}
	})
	synctest.Test(t, func(t *testing.T) {
		c, s := newClient(t, "udp://example.com", nil)
		s.plain(func(bool) func(*dns.Msg) *dns.Msg {
			return func(m *dns.Msg) *dns.Msg {
				r := zoneOf(m)
				switch m.Question[0].Name {
				case "forged.example.":
					r.Id++
					r.Answer = append(r.Answer, record("forged.example. 300 IN A 192.0.2.66"))
				case "other.example.":
					r.Question[0].Name = "old.example."
				}
				return r
			}
		})
		for _, name := range []string{"forged.example", "other.example"} {
			began := time.Now()
			if got, err := c.all(t, name); got != "" || !errors.Is(err, errNoAnswer) || time.Since(began) != questionLimit {
				t.Errorf("%s: %s, %v after %v", name, got, err, time.Since(began))
			}
		}
	})
}

// TestClientEnds gives look-ups up, when their caller does and at Close. The server's failure is
// told of, once.
func TestClientEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log told
		c, s := newClient(t, "tcp://example.com", func(c *ClientConfig) { c.Trace = log.trace() })
		s.net.BlackHole("example.com:53")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		found, failed := c.Lookup(ctx, "old.example")
		for range found {
			t.Error("an address came")
		}
		if took := time.Since(began); took != time.Second || !errors.Is(failed(), context.DeadlineExceeded) {
			t.Errorf("%v after %v", failed(), took)
		}
		if got, err := c.all(t, "both.example"); got != "" || !errors.Is(err, errNoAnswer) {
			t.Errorf("%q, %v", got, err)
		}
		if all := log.take(); len(all) != 1 || !strings.HasPrefix(all[0], "tcp://example.com fails") {
			t.Errorf("told %q", all)
		}
		found, _ = c.Lookup(t.Context(), "old.example")
		synctest.Wait()
		began = time.Now()
		_ = c.Close()
		for range found {
			t.Error("an address came")
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("Close took %v", took)
		}
		c.Forget()
		if got, err := c.all(t, "old.example"); got != "" || err == nil {
			t.Errorf("after Close: %q, %v", got, err)
		}
	})
}
