package chain_test

import (
	"context"
	"errors"
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

// TestNestedPlaces: the number is that of the whole chain, the name tells the rest.
func TestNestedPlaces(t *testing.T) {
	build := func(w *world) []*chain.Chain {
		inner := chain.Sequence("s", w.hop("a"), w.hop("b"))
		return []*chain.Chain{
			w.chain(w.hop("x"), inner, w.hop("z")),
			w.chain(inner),
			w.chain(w.hop("x"), chain.Group("g", chain.GroupOptions{}, chain.Member{Hop: inner}), w.hop("z")),
		}
	}
	auth := fake{phase: chain.PhaseAuth, err: errors.New("rejected")}
	refuses := fake{refuses: true}
	for _, test := range []struct {
		broken string
		is     fake
		want   [3]string
	}{
		{"a", auth, [3]string{"hop 2/3 s/a: auth: rejected", "hop 1/2 s/a: auth: rejected", "hop 2/3 g/s/a: auth: rejected"}},
		{"b", auth, [3]string{"hop 2/3 s/b: auth: rejected", "hop 2/2 s/b: auth: rejected", "hop 2/3 g/s/b: auth: rejected"}},
		{"a", refuses, [3]string{"hop 2/3 s/a: dial: connection refused", "hop 1/2 s/a: dial: connection refused", "hop 2/3 g/s/a: dial: connection refused"}},
		{"b", refuses, [3]string{"hop 2/3 s/b: dial: connection refused", "hop 2/2 s/b: dial: connection refused", "hop 2/3 g/s/b: dial: connection refused"}},
		{"z", refuses, [3]string{"hop 3/3 z: dial: connection refused", "a-b", "hop 3/3 z: dial: connection refused"}},
		{"x", auth, [3]string{"hop 1/3 x: auth: rejected", "a-b", "hop 1/3 x: auth: rejected"}},
	} {
		w := newWorld(t)
		w.set(test.broken, test.is)
		for i, c := range build(w) {
			expect(t, fmt.Sprintf("%s broken, chain %d", test.broken, i), w.via(t.Context(), c), test.want[i])
		}
	}
}

// TestGroupsOfChains: a member that is a chain fails over as a whole.
func TestGroupsOfChains(t *testing.T) {
	w := newWorld(t)
	pool := chain.Group("pool", chain.GroupOptions{}, w.members("b", "c")...)
	c := w.chain(chain.Group("g", chain.GroupOptions{},
		chain.Member{Hop: chain.Sequence("one", w.hop("a"), pool)},
		chain.Member{Hop: chain.Sequence("two", w.hop("d"), w.hop("e"))}), w.hop("z"))
	expect(t, "well", w.via(t.Context(), c), "a-b-z")
	w.set("b", fake{refuses: true})
	expect(t, "the inner group fails over", w.via(t.Context(), c), "a-c-z")
	w.set("c", fake{phase: chain.PhaseTLS, err: errOdd})
	expect(t, "the outer group fails over", w.via(t.Context(), c), "d-e-z")
	if m := member(c, "one"); m.Alive {
		t.Errorf("%+v", m)
	}
	if all := c.Groups(); len(all) != 2 || all[0].Name != "g" || all[1].Name != "g/one/pool" {
		t.Errorf("groups %+v", all)
	}
}

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

// TestRandomTrees dials through trees of combinators of hops that fail at random.
// The base is asked for what may come first, and nothing else; a conn has come
// through a whole path; and nothing is left open.
func TestRandomTrees(t *testing.T) {
	for seed := range uint64(300) {
		synctest.Test(t, func(t *testing.T) { randomTree(t, seed) })
	}
}

func FuzzTrees(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) {
		synctest.Test(t, func(t *testing.T) { randomTree(t, seed) })
	})
}

var moods = []fake{
	{},
	{},
	{},
	{takes: 100 * ms},
	{silent: true},
	{refuses: true},
	{phase: chain.PhaseAuth, err: errOdd},
	{phase: chain.PhaseConnect, err: errOdd},
	{phase: chain.PhaseTLS, err: errOdd, takes: ms},
}

func randomTree(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 5))
	w := newWorld(t)
	b := &builder{w: w, rnd: rnd}
	root, first, last := b.tree(3)
	w.first = first
	c := w.chain(root)
	for range 20 {
		for name := range w.hops {
			w.set(name, moods[rnd.IntN(len(moods))])
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		id := chain.Identity{Key: fmt.Sprint(rnd.IntN(5)), User: fmt.Sprint(rnd.IntN(5))}
		conn, err := c.DialContext(chain.WithIdentity(ctx, id), "tcp", "target:443")
		cancel()
		if err == nil {
			via := conn.(*counted).via
			if len(via) == 0 || !first[via[0]] || !last[via[len(via)-1]] {
				t.Errorf("seed %d: by way of %v", seed, via)
			}
			_ = conn.Close()
		} else if e := (*chain.Error)(nil); !errors.As(err, &e) || e.Hop == 0 || e.Err == nil {
			t.Errorf("seed %d: error %v", seed, err)
		}
		time.Sleep(time.Duration(rnd.IntN(5000)) * ms)
	}
	_ = c.Close() // ends the probes that are under way
	w.nothingOpen()
	for _, g := range c.Groups() {
		for _, m := range g.Members {
			if m.Live != 0 {
				t.Errorf("seed %d: %s/%s has %d", seed, g.Name, m.Name, m.Live)
			}
		}
	}
}

type builder struct {
	w   *world
	rnd *rand.Rand
	n   int
}

// tree returns a hop, and which hops may be first in it, and which last.
func (b *builder) tree(depth int) (h chain.Hop, first, last map[string]bool) {
	b.n++
	name := fmt.Sprint("h", b.n)
	kind := b.rnd.IntN(5)
	if depth == 0 || kind == 0 {
		b.w.set(name, fake{})
		only := map[string]bool{name: true}
		return b.w.hop(name), only, only
	}
	var hops []chain.Hop
	first, last = make(map[string]bool), make(map[string]bool)
	add := func(to, from map[string]bool) {
		for k := range from {
			to[k] = true
		}
	}
	n := 1 + b.rnd.IntN(3)
	for i := range n {
		h, f, l := b.tree(depth - 1)
		hops = append(hops, h)
		if i == 0 || kind != 1 {
			add(first, f)
		}
		if i == n-1 || kind > 2 {
			add(last, l)
		}
	}
	switch kind {
	case 1:
		return chain.Sequence(name, hops...), first, last
	case 2:
		return chain.Dynamic(name, chain.DynamicOptions{}, hops...), first, last
	case 3:
		return chain.Random(name, chain.RandomOptions{Hops: 1 + b.rnd.IntN(n), PerIdentity: b.rnd.IntN(2) == 0}, hops...), first, last
	}
	var members []chain.Member
	for _, h := range hops {
		members = append(members, chain.Member{Hop: h, Weight: b.rnd.IntN(3)})
	}
	o := chain.GroupOptions{Strategy: chain.Strategy(b.rnd.IntN(7)), By: chain.By(b.rnd.IntN(4))}
	if b.rnd.IntN(3) == 0 {
		o.Probe.Target = "probe:80"
		o.Probe.Every = time.Second
	}
	return chain.Group(name, o, members...), first, last
}
