package names

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

func TestTTL(t *testing.T) {
	const soa = "example. 900 IN SOA a.example. b.example. 1 2 3 4 "
	for _, c := range []struct {
		name      string
		say       func(*dns.Msg) *dns.Msg
		first     string
		ttl, left time.Duration // of the answer; for how long it is kept
	}{
		{"an address", says(dns.RcodeSuccess, addressOfA, ""), "192.0.2.7", 300 * time.Second, 300 * time.Second},
		{"none kept", says(dns.RcodeSuccess, "a.example. 0 IN A 192.0.2.7", ""), "192.0.2.7", 0, 0},
		{"a TTL below zero", says(dns.RcodeSuccess, "a.example. 2147483648 IN A 192.0.2.7", ""), "192.0.2.7", 0, 0},
		{"an endless one", says(dns.RcodeSuccess, "a.example. 2147483647 IN A 192.0.2.7", ""), "192.0.2.7", 2147483647 * time.Second, mostTTL},
		{"no name", says(dns.RcodeNameError, "", soa+"60"), "NXDOMAIN", 0, 60 * time.Second},
		{"no address", says(dns.RcodeSuccess, "", soa+"60"), "NOERROR", 0, 60 * time.Second},
		{"no name for long", says(dns.RcodeNameError, "", "example. 9000 IN SOA a.example. b.example. 1 2 3 4 9000"), "NXDOMAIN", 0, mostNoTTL},
		{"no name, the SOA's own TTL", says(dns.RcodeNameError, "", soa+"9000"), "NXDOMAIN", 0, 900 * time.Second},
		{"no name and no SOA", says(dns.RcodeNameError, "", ""), "NXDOMAIN", 0, 0},
		{"a failure", says(dns.RcodeServerFailure, "", soa+"60"), "SERVFAIL", 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, nil, "tcp://far")
				f := s.far("far", c.say)
				s.want("a.example.", c.first, c.ttl)
				if c.left > 0 {
					time.Sleep(c.left - time.Second)
					want := time.Duration(0)
					if c.ttl > 0 {
						want = time.Second
					}
					s.want("A.example.", c.first, want)
				}
				if f.count() != 1 {
					t.Errorf("asked %d times", f.count())
				}
				time.Sleep(time.Second)
				s.want("a.example.", c.first, c.ttl)
				if f.count() != 2 {
					t.Errorf("asked %d times, want 2: nothing is kept for longer", f.count())
				}
			})
		})
	}
}

// TestKeys keeps answers apart that servers give by DO and CD.
func TestKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, nil, "tcp://far")
		f := s.far("far", says(dns.RcodeSuccess, addressOfA, ""))
		for i := range 8 {
			q := questionFor("a.example.", dns.TypeA)
			q.CheckingDisabled = i&1 != 0
			if i&2 != 0 {
				q.SetEdns0(udpSize, true)
			}
			s.say(q, i&4 != 0)
		}
		if f.count() != 4 {
			t.Errorf("asked %d times, want 4", f.count())
		}
	})
}

// TestStale answers with what was so of late when all servers fail, for a day.
func TestStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, nil, "tcp://far")
		var dead atomic.Bool
		f := s.far("far", func(m *dns.Msg) *dns.Msg {
			if dead.Load() {
				return says(dns.RcodeServerFailure, "", "")(m)
			}
			return says(dns.RcodeSuccess, addressOfA, "")(m)
		})
		s.want("a.example.", "192.0.2.7", 300*time.Second)
		dead.Store(true)
		time.Sleep(300 * time.Second)
		s.want("a.example.", "192.0.2.7", staleTTL)
		s.want("a.example.", "192.0.2.7", staleTTL)
		if f.count() != 2 {
			t.Errorf("asked %d times, want 2: it failed just now", f.count())
		}
		time.Sleep(staleTTL)
		s.want("a.example.", "192.0.2.7", staleTTL)
		if f.count() != 3 {
			t.Errorf("asked %d times, want 3", f.count())
		}
		s.want("b.example.", "SERVFAIL", 0)
		time.Sleep(staleFor)
		s.want("a.example.", "SERVFAIL", 0)
		dead.Store(false)
		s.want("a.example.", "192.0.2.7", 300*time.Second)
	})
}

// TestOnce asks once for all who ask the same at the time.
func TestOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, func(c *Config) { c.Cache = 0 }, "tcp://far")
		f := s.far("far", func(m *dns.Msg) *dns.Msg {
			time.Sleep(time.Second)
			return says(dns.RcodeSuccess, addressOfA, "")(m)
		})
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { s.want("a.example.", "192.0.2.7", 300*time.Second) })
		}
		wg.Wait()
		if f.count() != 1 {
			t.Errorf("asked %d times", f.count())
		}
	})
}

// TestCrowd refuses questions beyond the limits at once, and no answers that are known.
func TestCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, nil, "tcp://far")
		var wait atomic.Bool
		s.far("far", func(m *dns.Msg) *dns.Msg {
			if wait.Load() {
				return nil
			}
			return says(dns.RcodeSuccess, addressOfA, "")(m)
		})
		s.want("a.example.", "192.0.2.7", 300*time.Second)
		wait.Store(true)
		var wg sync.WaitGroup
		ask := func(client byte, n int) {
			for i := range n {
				b, _ := questionFor(fmt.Sprintf("x%d.y%d.example.", i, client), dns.TypeA).Pack()
				wg.Add(1)
				s.answer(b, &net.UDPAddr{IP: net.IPv4(127, 0, 0, client), Port: 1024 + i}, true, func([]byte) {}, wg.Done)
			}
		}
		waiting := func(want int) {
			t.Helper()
			synctest.Wait()
			s.crowd.mu.Lock()
			defer s.crowd.mu.Unlock()
			if s.crowd.all != want {
				t.Errorf("%d questions wait, want %d", s.crowd.all, want)
			}
		}
		ask(2, perClient+10)
		waiting(perClient)
		ask(3, perClient-1)
		waiting(atOnce - 1)
		ask(4, 2)
		waiting(atOnce)
		began := time.Now()
		s.want("a.example.", "192.0.2.7", 300*time.Second)
		s.want("one.more.example.", "SERVFAIL", 0)
		if took := time.Since(began); took != 0 {
			t.Errorf("took %v", took)
		}
		wg.Wait()
		waiting(0)
		if len(s.crowd.clients) > 0 {
			t.Errorf("clients who have gone are remembered: %v", s.crowd.clients)
		}
	})
}

// TestBounds drops what is used least.
func TestBounds(t *testing.T) {
	c := newCache(3)
	now := time.Now()
	keys := []key{{name: "a."}, {name: "b."}, {name: "c."}, {name: "d."}}
	small := &answer{records: []dns.RR{record("a. 60 IN A 192.0.2.7")}}
	for i := range keys {
		keys[i].kind = dns.TypeA
		if i == 3 {
			c.get(keys[0], now)
		}
		c.put(keys[i], small, now)
	}
	for i, want := range []bool{true, false, true, true} {
		if got := c.get(keys[i], now) != nil; got != want {
			t.Errorf("%s is kept: %v, want %v", keys[i].name, got, want)
		}
	}
	large := &answer{}
	for range 100 {
		large.records = append(large.records, small.records...)
	}
	c.put(keys[1], large, now)
	c.put(keys[2], large, now)
	if c.size > c.bytes || c.used.Len() != len(c.by) || c.get(keys[2], now) == nil {
		t.Errorf("%d bytes in %d answers, of which %d are found", c.size, c.used.Len(), len(c.by))
	}
}
