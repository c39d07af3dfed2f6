package socks

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/route"
)

const leg = 25 * time.Millisecond // one way

// line is a client, hops in a row and a target, each leg with the same delay: what
// is further away takes as many legs more.
func line(t *testing.T, hops int) (n *testnet.Network, client chain.Dialer, through []chain.Hop) {
	n = testnet.New()
	names := []string{"client"}
	for k := 1; k <= hops; k++ {
		names = append(names, fmt.Sprintf("hop%d", k))
	}
	names = append(names, "target")
	for i := range len(names) - 1 {
		n.SetDelay(names[i], names[i+1], leg)
	}
	for k := 1; k <= hops; k++ {
		h := n.Host(names[k])
		l, err := h.Listen(":1080")
		if err != nil {
			t.Fatal(err)
		}
		s := &Server{Relay: &relay.Relay{Router: route.Table{{To: h, Via: "direct"}}}}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() { _ = s.ServeConn(t.Context(), c) }()
			}
		}()
		t.Cleanup(func() {
			_ = l.Close()
			_ = s.Relay.Close()
		})
		through = append(through, Hop5(names[k]+":1080", HopOptions{Pipeline: On}))
	}
	l, err := n.Host("target").Listen(":7")
	if err != nil {
		t.Fatal(err)
	}
	go testnet.Echo(l)
	t.Cleanup(func() { _ = l.Close() })
	return n, n.Host("client"), through
}

// TestSpareRoundTrips asserts what a dial costs with and without a spare, in
// chains of one to five hops.
func TestSpareRoundTrips(t *testing.T) {
	const rtt = 2 * leg
	for hops := 1; hops <= 5; hops++ {
		t.Run(fmt.Sprint(hops), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, client, through := line(t, hops)
				last := len(through) - 1
				through[last] = chain.Spare(through[last], chain.SpareOptions{})
				c, err := chain.New(client, through...)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				// Cold: TCP to hop 1; for each hop one flight over its legs and, in it,
				// the TCP handshake over the next leg.
				cold := rtt
				for k := 1; k <= hops; k++ {
					cold += time.Duration(k)*rtt + rtt
				}
				// Warm: the request over all legs to the last hop, and its own way on.
				warm := time.Duration(hops)*rtt + rtt
				for i, want := range []time.Duration{cold, warm, warm} {
					began := time.Now()
					conn, err := c.Dial("tcp", "target:7")
					if err != nil {
						t.Fatal(err)
					}
					if took := time.Since(began); took != want {
						t.Errorf("dial %d took %v, want %v", i, took, want)
					}
					_ = conn.Close()
					time.Sleep(5 * time.Second) // a spare is made meanwhile
				}
			})
		})
	}
}

// TestSparesFollowDemand: none before the first dial and long after the last,
// as many as a burst needs in between, none older than they may be.
func TestSparesFollowDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, client, through := line(t, 1)
		c, err := chain.New(client, chain.Spare(through[0], chain.SpareOptions{}))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		time.Sleep(time.Hour)
		if d := n.Dials(); len(d) != 0 {
			t.Errorf("before demand: %v", d)
		}
		dial := func() {
			conn, err := c.Dial("tcp", "target:7")
			if err != nil {
				t.Error(err)
				return
			}
			_ = conn.Close()
		}
		burst := func() (took time.Duration) {
			began := time.Now()
			for range 6 {
				go dial()
			}
			synctest.Wait()
			for range 40 {
				time.Sleep(leg)
				synctest.Wait()
			}
			return time.Since(began)
		}
		dial()
		time.Sleep(time.Second)
		burst()
		time.Sleep(time.Second)
		before := len(n.Dials())
		burst()
		toHop := 0
		for _, d := range n.Dials()[before:] {
			if d.From == "client" {
				toHop++
			}
		}
		if toHop > 6+1 {
			t.Errorf("a burst of 6 that was met by spares made %d dials", toHop)
		}
		time.Sleep(time.Hour)
		before = len(n.Dials())
		time.Sleep(time.Hour)
		if d := n.Dials()[before:]; len(d) != 0 {
			t.Errorf("long after the last demand: %v", d)
		}
	})
}

// TestDeadSpareIsNoError cuts the spares, once so that it can be seen, once unseen.
func TestDeadSpareIsNoError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New()
		n.SetDelay("client", "hop1", leg)
		h := n.Host("hop1")
		target, err := n.Host("target").Listen(":7")
		if err != nil {
			t.Fatal(err)
		}
		defer target.Close()
		go testnet.Echo(target)
		served := 0
		l, err := h.Listen(":1080")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		s := &Server{Relay: &relay.Relay{Router: route.Table{{To: h, Via: "direct"}}}, Limit: 2 * time.Second}
		defer s.Relay.Close()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				served++
				go func() { _ = s.ServeConn(t.Context(), c) }() // which gives up a spare after 2 s
			}
		}()
		c, err := chain.New(n.Host("client"), chain.Spare(Hop5("hop1:1080", HopOptions{Pipeline: Off}), chain.SpareOptions{}))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for range 5 {
			conn, err := c.Dial("tcp", "target:7")
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.Close()
			time.Sleep(5 * time.Second)
		}
		if served < 6 {
			t.Errorf("%d conns were served: no spare was made", served)
		}
	})
}

// TestSparesAreNotShared: an identity never gets the spare of another.
func TestSparesAreNotShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, client, through := line(t, 1)
		c, err := chain.New(client, chain.Spare(through[0], chain.SpareOptions{}))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for i, key := range []string{"alice", "bob"} {
			ctx := chain.WithIdentity(t.Context(), chain.Identity{Key: key})
			before := len(n.Dials())
			conn, err := c.DialContext(ctx, "tcp", "target:7")
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.Close()
			time.Sleep(time.Second)
			fresh := 0
			for _, d := range n.Dials()[before:] {
				if d.From == "client" {
					fresh++
				}
			}
			if fresh != 2 { // the dial's own, and a spare
				t.Errorf("identity %d: %d dials to the hop", i, fresh)
			}
		}
	})
}
