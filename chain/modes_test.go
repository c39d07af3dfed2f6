package chain_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
)

func TestDynamic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.chain(chain.Dynamic("d", chain.DynamicOptions{Rand: half}, w.hop("a"), w.hop("b"), w.hop("c")))
		expect(t, "well", w.via(t.Context(), c), "a-b-c")
		w.askedSince()
		w.set("b", fake{phase: chain.PhaseAuth, err: errOdd})
		expect(t, "b is dead", w.via(t.Context(), c), "a-c")
		w.askedSince()
		expect(t, "b is known to be dead", w.via(t.Context(), c), "a-c")
		expect(t, "asked", w.askedSince(), "a c")
		w.set("b", fake{})
		time.Sleep(time.Second)
		expect(t, "b is back", w.via(t.Context(), c), "a-b-c")
		w.set("b", fake{refuses: true}) // as a says
		expect(t, "b is away", w.via(t.Context(), c), "a-c")
		w.set("a", fake{refuses: true}) // as the base says
		expect(t, "only the last", w.via(t.Context(), c), "c")
		w.set("c", fake{phase: chain.PhaseAuth, err: errOdd})
		expect(t, "the last stays", w.via(t.Context(), c), "hop 3/3 d/c: auth: odd")
		w.set("c", fake{refuses: true})
		expect(t, "and is dialled", w.via(t.Context(), c), "hop 3/3 d/c: dial: connection refused")
		time.Sleep(10 * time.Second)
		expect(t, "all dead", w.via(t.Context(), c),
			"hop 1/1 d: dial: all 3 that were tried failed: d/a: dial: connection refused; d/b: dial: connection refused; d/c: dial: connection refused")
		w.nothingOpen()
	})
}

func TestDynamicLeast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.chain(w.hop("x"), chain.Dynamic("d", chain.DynamicOptions{Rand: half, Least: 2}, w.hop("a"), w.hop("b"), w.hop("c")))
		w.set("a", fake{refuses: true})
		expect(t, "two are left", w.via(t.Context(), c), "x-b-c")
		w.set("b", fake{refuses: true})
		expect(t, "one would be left", w.via(t.Context(), c),
			"hop 2/2 d: dial: all 2 that were tried failed: d/b: dial: connection refused; d/a: dial: connection refused")
		w.set("b", fake{})
		expect(t, "a marked one is the last resort", w.via(t.Context(), c), "x-b-c")
		w.set("x", fake{phase: chain.PhaseAuth, err: errOdd})
		expect(t, "x is elsewhere", w.via(t.Context(), c), "hop 1/2 x: auth: odd")
		if !member(c, "b").Alive {
			t.Error("b was marked for x")
		}
	})
}

// TestDynamicSilent leaves time for the path without the silent hop, and finds
// out who is silent: a, or those that a was asked to reach.
func TestDynamicSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.chain(chain.Dynamic("d", chain.DynamicOptions{Rand: half}, w.hop("a"), w.hop("b"), w.hop("c")))
		w.set("a", fake{silent: true})
		by, d := w.took(c, 8*time.Second)
		expect(t, "served", by, "c")
		if d != 6*time.Second { // 4 s for all, 2 s without b
			t.Errorf("took %v", d)
		}
		by, d = w.took(c, 8*time.Second)
		expect(t, "a is known", by, "b-c")
		if d != 0 {
			t.Errorf("took %v", d)
		}
	})
}

// TestDynamicGroupAtTheEnd fails by itself too, so that a is not to blame and the
// group is not reached without it.
func TestDynamicGroupAtTheEnd(t *testing.T) {
	w := newWorld(t)
	w.first = map[string]bool{"a": true}
	w.set("b", fake{refuses: true})
	w.set("p", fake{phase: chain.PhaseAuth, err: errOdd})
	w.set("q", fake{refuses: true})
	g := chain.Group("g", chain.GroupOptions{}, w.members("p", "q")...)
	c := w.chain(chain.Dynamic("d", chain.DynamicOptions{}, w.hop("a"), w.hop("b"), g))
	if got := w.via(t.Context(), c); !strings.Contains(got, "d/g/p: auth: odd") {
		t.Error(got)
	}
}

// TestRandomSilent is the same for drawn hops: the innocent are not marked.
func TestRandomSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var hops []chain.Hop
		for _, n := range []string{"a", "b", "c", "d", "e"} {
			hops = append(hops, w.hop(n))
		}
		c := w.chain(chain.Random("r", chain.RandomOptions{Hops: 2}, hops...))
		w.set("a", fake{phase: chain.PhaseConnect, err: syscall.EHOSTUNREACH})
		for range 50 {
			if by := w.via(t.Context(), c); strings.Contains(by, "a") || len(by) != 3 {
				t.Errorf("by way of %s", by)
			}
		}
		for _, m := range c.Groups()[0].Members {
			if m.Alive != (m.Name != "a") {
				t.Errorf("%+v", m)
			}
		}
	})
}

// TestDynamicTrial: one dial tries what was dead, the others do without.
func TestDynamicTrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.chain(chain.Dynamic("d", chain.DynamicOptions{Rand: half}, w.hop("a"), w.hop("b")))
		w.set("a", fake{phase: chain.PhaseAuth, err: errOdd})
		expect(t, "served", w.via(t.Context(), c), "b")
		time.Sleep(time.Second)
		w.set("a", fake{takes: time.Second, phase: chain.PhaseAuth, err: errOdd})
		w.askedSince()
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() { w.via(t.Context(), c) })
		}
		wg.Wait()
		if got := w.askedSince(); strings.Count(got, "a") != 1 || strings.Count(got, "b") != 5 {
			t.Errorf("asked %s", got)
		}
	})
}

func TestRandomPerTunnel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		src := rand.New(rand.NewPCG(3, 4))
		c := w.chain(chain.Random("r", chain.RandomOptions{Hops: 2, Rand: src.Float64}, w.hop("a"), w.hop("b"), w.hop("c"), w.hop("d")))
		count := make(map[string]int)
		const n = 12000
		for range n {
			count[w.via(t.Context(), c)]++
		}
		if len(count) != 12 {
			t.Errorf("draws: %v", count)
		}
		for way, k := range count {
			if k < n/12-120 || k > n/12+120 {
				t.Errorf("%s was drawn %d times of %d", way, k, n)
			}
		}
		w.set("b", fake{refuses: true})
		w.set("d", fake{phase: chain.PhaseAuth, err: errOdd})
		for range 50 {
			if by := w.via(t.Context(), c); by != "a-c" && by != "c-a" {
				t.Errorf("by way of %s", by)
			}
		}
		w.set("c", fake{phase: chain.PhaseAuth, err: errOdd})
		if got := w.via(t.Context(), c); !strings.Contains(got, "that were tried failed") {
			t.Errorf("fewer hops than drawn: %s", got)
		}
		w.nothingOpen()
	})
}

func TestRandomPerIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var hops []chain.Hop
		for i := range 8 {
			hops = append(hops, w.hop(fmt.Sprint(i)))
		}
		o := chain.RandomOptions{Hops: 3, PerIdentity: true}
		c := w.chain(chain.Random("r", o, hops...))
		draw := func(c *chain.Chain, i int) string {
			return w.via(chain.WithIdentity(t.Context(), chain.Identity{Key: fmt.Sprint(i)}), c)
		}
		const n = 300 // more than are kept built
		all, ways := make([]string, n), make(map[string]bool)
		for i := range n {
			all[i] = draw(c, i)
			ways[all[i]] = true
		}
		if len(ways) < 150 {
			t.Errorf("%d identities have %d draws", n, len(ways))
		}
		w.set("5", fake{refuses: true})
		for i := range n {
			got := draw(c, i)
			kept := 0
			for _, h := range strings.Split(all[i], "-") {
				if h != "5" && strings.Contains(got, h) {
					kept++
				}
			}
			if has := strings.Contains(all[i], "5"); !has && got != all[i] || has && kept != 2 || strings.Contains(got, "5") {
				t.Fatalf("identity %d: %s became %s", i, all[i], got)
			}
		}
		w.set("5", fake{})
		time.Sleep(2 * time.Second) // more than the jitter
		for i := range n {
			expect(t, "back", draw(c, i), all[i])
		}
		other := w.chain(chain.Random("r", o, hops...))
		same := 0
		for i := range n {
			if draw(other, i) == all[i] {
				same++
			}
		}
		if same > n/10 {
			t.Errorf("%d draws of another dialer are the same", same)
		}
	})
}

// TestPathsAreClosed: those that are built and no more kept, in use or not.
func TestPathsAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var (
			mu           sync.Mutex
			built, close int
		)
		counting := func(h chain.Hop) chain.Hop {
			return chain.Hop{Name: h.Name, Wrap: func(next chain.Dialer) (chain.Dialer, error) {
				d, err := h.Wrap(next)
				mu.Lock()
				defer mu.Unlock()
				built++
				return closer{d, func() { mu.Lock(); close++; mu.Unlock() }}, err
			}}
		}
		var hops []chain.Hop
		for i := range 10 {
			w.set(fmt.Sprint(i), fake{takes: time.Second})
			hops = append(hops, counting(w.hop(fmt.Sprint(i))))
		}
		c := w.chain(chain.Random("r", chain.RandomOptions{Hops: 2}, hops...))
		var wg sync.WaitGroup
		for range 500 {
			wg.Go(func() { w.via(t.Context(), c) })
		}
		wg.Wait()
		if n := built - close; n != 2*64 {
			t.Errorf("%d are kept", n)
		}
		_ = c.Close()
		w.via(t.Context(), c)
		if built != close {
			t.Errorf("%d built, %d closed", built, close)
		}
	})
}
