package chain_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
)

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
	for name := range w.hops {
		w.set(name, fake{})
	}
	if got := w.via(t.Context(), c); strings.Contains(got, " ") {
		t.Errorf("seed %d: all is well, and yet %s", seed, got)
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
