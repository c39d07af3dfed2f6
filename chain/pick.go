package chain

import "math"

// A set of small numbers. Those below 64 take no memory of their own.
type set struct {
	low  uint64
	more []uint64
}

func (s *set) has(i int) bool {
	if i < 64 {
		return s.low>>i&1 != 0
	}
	w := i/64 - 1
	return w < len(s.more) && s.more[w]>>(i%64)&1 != 0
}

func (s *set) add(i int) {
	if i < 64 {
		s.low |= 1 << i
		return
	}
	for w := i/64 - 1; w >= len(s.more); {
		s.more = append(s.more, 0)
	}
	s.more[i/64-1] |= 1 << (i % 64)
}

// A choice is the state of choosing for one tunnel.
type choice struct {
	id    Identity
	addr  string
	tried set
	last  int // tried; -1 at first
	now   int64
	any   bool // the marked ones too
}

// may reports whether c leaves member i.
func (g *group) may(c *choice, i int) bool {
	return !c.tried.has(i) && (c.any || g.members[i].usable(c.now, !g.Probe.on()))
}

// pick chooses the next member, and whether this is its trial. There must be
// one that was not tried.
func (g *group) pick(c *choice) (i int, trial bool) {
	for {
		c.any = false
		i := g.choose(c)
		if i < 0 {
			c.any = true
			i = g.choose(c)
		}
		trial, ok := false, true
		if !c.any {
			trial, ok = g.members[i].begin(c.now)
		}
		if ok {
			c.tried.add(i)
			c.last = i
			return i, trial
		}
		// Another took the trial since: choose again.
	}
}

// choose returns a member that c leaves, or -1.
func (g *group) choose(c *choice) int {
	switch g.Strategy {
	case RoundRobin:
		return g.inTurn(c)
	case Weighted:
		return g.draw(c)
	case Fastest:
		return g.fastest(c)
	case LeastUsed:
		return g.leastUsed(c)
	case Sticky:
		return g.rendezvous(c)
	}
	return g.following(c, 0)
}

// following returns the first that c leaves from i on, and around.
func (g *group) following(c *choice, i int) int {
	for range g.members {
		if i >= len(g.members) {
			i = 0
		}
		if g.may(c, i) {
			return i
		}
		i++
	}
	return -1
}

// inTurn gives each of those left its turn: that of a dead one is not its
// neighbour's alone.
func (g *group) inTurn(c *choice) int {
	if c.last >= 0 {
		return g.following(c, c.last+1)
	}
	n := 0
	for i := range g.members {
		if g.may(c, i) {
			n++
		}
	}
	if n == 0 {
		return -1
	}
	k := int((g.turn.Add(1) - 1) % uint64(n))
	for i := range g.members {
		if g.may(c, i) {
			if k == 0 {
				return i
			}
			k--
		}
	}
	return g.following(c, 0) // one was marked since
}

func (g *group) draw(c *choice) int {
	var total float64
	for i, m := range g.members {
		if g.may(c, i) {
			total += m.weight
		}
	}
	r, last := g.Rand()*total, -1
	for i, m := range g.members {
		if !g.may(c, i) {
			continue
		}
		last = i
		if r -= m.weight; r < 0 {
			break
		}
	}
	return last
}

// fastest stays with the current member until another is faster by more than
// the tolerance, which together with smoothing keeps it from flapping.
func (g *group) fastest(c *choice) int {
	best := -1
	var least int64
	for i := range g.members {
		if l := g.slowness(i); g.may(c, i) && (best < 0 || l < least) {
			best, least = i, l
		}
	}
	cur := int(g.current.Load())
	if best < 0 || best == cur {
		return best
	}
	if g.may(c, cur) && g.slowness(cur)-least <= int64(g.Tolerance) {
		return cur
	}
	if !c.any && c.last < 0 {
		g.current.CompareAndSwap(int32(cur), int32(best))
	}
	return best
}

// slowness is the latency of a member. One that was never measured comes first
// by far if traffic must do that, and last if a probe will.
func (g *group) slowness(i int) int64 {
	switch l := g.members[i].latency.Load(); {
	case l != 0:
		return l
	case g.Probe.on():
		return math.MaxInt64
	}
	return math.MinInt64 / 2
}

func (g *group) leastUsed(c *choice) int {
	best := -1
	var least float64
	var longest int64
	for i, m := range g.members {
		if !g.may(c, i) {
			continue
		}
		load, pick := float64(m.live.Load())/m.weight, m.lastPick.Load()
		if best < 0 || load < least || load == least && pick < longest {
			best, least, longest = i, load, pick
		}
	}
	if best >= 0 {
		g.members[best].lastPick.Store(int64(g.turn.Add(1)))
	}
	return best
}

// rendezvous chooses by the highest of the members' own numbers for the key
// (Thaler and Ravishankar 1998; by weight as Schindelhauer and Schomaker 2005), so
// that a member which comes or goes moves its share and nothing else.
func (g *group) rendezvous(c *choice) int {
	key := hashOf(c.key(g.By))
	if g.By != ByKey {
		key = mix(key ^ hashOf(c.id.Key)) // what one identity got says nothing of another's
	}
	best := -1
	var highest float64
	for i, m := range g.members {
		if !g.may(c, i) {
			continue
		}
		// In (0, 1); -weight/ln is then the greater for the greater weight.
		u := (float64(mix(m.hash^key)>>11) + 0.5) / (1 << 53)
		if score := -m.weight / math.Log(u); best < 0 || score > highest {
			best, highest = i, score
		}
	}
	return best
}

func (c *choice) key(by By) string {
	switch by {
	case ByClient:
		return c.id.Client
	case ByUser:
		return c.id.User
	case ByKey:
		return c.id.Key
	}
	if c.id.Target != "" {
		return c.id.Target
	}
	return c.addr
}

// hashOf is FNV-1a: the same in each run, so that what is sticky stays so.
func hashOf(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return mix(h)
}

// mix spreads each bit over all (the finalizer of SplitMix64).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
