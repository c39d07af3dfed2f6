package chain_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
)

func TestWeights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		src := rand.New(rand.NewPCG(1, 2))
		members := w.members("a", "b", "c")
		members[0].Weight, members[1].Weight, members[2].Weight = 1, 2, 7
		c := w.chain(chain.Group("g", chain.GroupOptions{Strategy: chain.Weighted, Rand: src.Float64}, members...))
		count := make(map[string]int)
		const n = 20000
		for range n {
			count[w.via(t.Context(), c)]++
		}
		for name, share := range map[string]float64{"a": 0.1, "b": 0.2, "c": 0.7} {
			if got := float64(count[name]) / n; got < share-0.01 || got > share+0.01 {
				t.Errorf("%s: %.3f of the tunnels, want %.2f", name, got, share)
			}
		}
	})
}

func TestRoundRobin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.group(chain.GroupOptions{Strategy: chain.RoundRobin}, "a", "b", "c", "d")
		for range 6 {
			w.via(t.Context(), c)
		}
		expect(t, "order", w.askedSince(), "a b c d a b")
		w.set("c", fake{refuses: true})
		count := make(map[string]int)
		for range 9 {
			count[w.via(t.Context(), c)]++
		}
		if count["a"] != 3 || count["b"] != 3 || count["d"] != 3 {
			if count["d"] != 4 && count["d"] != 3 { // the first found c dead
				t.Errorf("shares %v", count)
			}
		}
	})
}

func TestLeastUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		members := w.members("a", "b")
		members[1].Weight = 2
		c := w.chain(chain.Group("g", chain.GroupOptions{Strategy: chain.LeastUsed}, members...))
		leases := make([]chain.Lease, 9)
		count := make(map[string]int)
		for i := range leases {
			count[w.via(chain.WithLease(t.Context(), &leases[i]), c)]++
		}
		if count["a"] != 3 || count["b"] != 6 || member(c, "b").Live != 6 {
			t.Errorf("shares %v; %+v", count, member(c, "b"))
		}
		for i := range leases {
			leases[i].Release()
			leases[i].Release()
		}
		if a, b := member(c, "a").Live, member(c, "b").Live; a != 0 || b != 0 {
			t.Errorf("live after all: %d, %d", a, b)
		}
		w.via(chain.WithLease(t.Context(), &leases[0]), c) // a released lease holds nothing
		w.askedSince()
		for range 4 { // without a lease, the longest unused
			w.via(t.Context(), c)
		}
		if got := w.askedSince(); got != "a b a b" && got != "b a b a" {
			t.Errorf("order %s", got)
		}
		if a, b := member(c, "a").Live, member(c, "b").Live; a != 0 || b != 0 {
			t.Errorf("live at last: %d, %d", a, b)
		}
	})
}

func TestSticky(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 2000
		w := newWorld(t)
		names := []string{"a", "b", "c", "d", "e"}
		of := func(c *chain.Chain) []string {
			at := make([]string, n)
			for i := range at {
				id := chain.Identity{User: fmt.Sprint("u", i), Client: "same", Key: "same", Target: "same"}
				at[i] = w.via(chain.WithIdentity(t.Context(), id), c)
			}
			return at
		}
		o := chain.GroupOptions{Strategy: chain.Sticky, By: chain.ByUser, Rand: half}
		all, less := of(w.group(o, names...)), of(w.group(o, "d", "b", "a", "e"))
		moved, count := 0, make(map[string]int)
		for i := range all {
			count[all[i]]++
			if all[i] != less[i] {
				moved++
				if all[i] != "c" {
					t.Fatalf("%s went from %s to %s without need", fmt.Sprint("u", i), all[i], less[i])
				}
			}
		}
		for _, name := range names {
			if count[name] < n/5-80 || count[name] > n/5+80 {
				t.Errorf("%s has %d of %d", name, count[name], n)
			}
		}
		if moved != count["c"] {
			t.Errorf("%d moved of c's %d", moved, count["c"])
		}
		c := w.group(o, names...)
		w.set("c", fake{refuses: true})
		for i, at := range of(c) { // a dead member is as one that went
			if at != less[i] {
				t.Fatalf("u%d: %s, want %s", i, at, less[i])
			}
		}
		w.set("c", fake{})
		time.Sleep(time.Second)
		for i, at := range of(c) {
			if at != all[i] {
				t.Fatalf("u%d: %s, want %s again", i, at, all[i])
			}
		}
	})
}

func TestStickyWeights(t *testing.T) {
	w := newWorld(t)
	members := w.members("a", "b")
	members[1].Weight = 3
	c := w.chain(chain.Group("g", chain.GroupOptions{Strategy: chain.Sticky, By: chain.ByKey}, members...))
	const n = 4000
	b := 0
	for i := range n {
		if w.via(chain.WithIdentity(t.Context(), chain.Identity{Key: fmt.Sprint(i)}), c) == "b" {
			b++
		}
	}
	if b < n*3/4-100 || b > n*3/4+100 {
		t.Errorf("b, of weight 3 to 1, has %d of %d", b, n)
	}
}

func TestStickyBy(t *testing.T) {
	w := newWorld(t)
	names := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	for by, id := range map[chain.By]func(string) chain.Identity{
		chain.ByTarget: func(s string) chain.Identity { return chain.Identity{Target: s} },
		chain.ByClient: func(s string) chain.Identity { return chain.Identity{Client: s} },
		chain.ByUser:   func(s string) chain.Identity { return chain.Identity{User: s} },
		chain.ByKey:    func(s string) chain.Identity { return chain.Identity{Key: s} },
	} {
		c := w.group(chain.GroupOptions{Strategy: chain.Sticky, By: by}, names...)
		seen := make(map[string]bool)
		for i := range 100 {
			ctx := chain.WithIdentity(t.Context(), id(fmt.Sprint(i)))
			first := w.via(ctx, c)
			seen[first] = true
			expect(t, "again", w.via(ctx, c), first)
		}
		if len(seen) != len(names) {
			t.Errorf("By %d: only %d members", by, len(seen))
		}
	}
}

func TestIdentityAndLeaseTogether(t *testing.T) {
	id := chain.Identity{Key: "k", User: "u"}
	var l chain.Lease
	for _, ctx := range []context.Context{
		chain.WithLease(chain.WithIdentity(t.Context(), id), &l),
		chain.WithIdentity(chain.WithLease(t.Context(), &l), id),
	} {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		if chain.IdentityOf(ctx) != id || chain.LeaseOf(ctx) != &l {
			t.Error("one hides the other")
		}
	}
	if (chain.IdentityOf(t.Context()) != chain.Identity{}) || chain.LeaseOf(t.Context()) != nil {
		t.Error("something of nothing")
	}
}
