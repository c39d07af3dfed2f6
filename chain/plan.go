package chain

import "context"

// dynamic is the plan of all hops that are alive, in order, the last at any rate.
type dynamic struct{ least int }

func (dynamic) seed(context.Context) uint64   { return 0 }
func (dynamic) stays(c *course, hop int) bool { return hop == len(c.hops)-1 }

func (d dynamic) spare(_ *course, route []uint16, _ int) bool { return len(route) > d.least }

func (d dynamic) draw(route []uint16, c *course, _ uint64, out *set, now int64) []uint16 {
	last := len(c.hops) - 1
	n := 1
	for i := range last {
		if !out.has(i) && c.health[i].usable(now, true) {
			n++
		}
	}
	want := d.least - n // of the marked ones
	for i := range last {
		switch {
		case out.has(i):
		case c.health[i].usable(now, true):
			route = append(route, uint16(i))
		case want > 0:
			want--
			route = append(route, uint16(i))
		}
	}
	if route = append(route, uint16(last)); len(route) < d.least {
		return nil
	}
	return route
}

// drawn is the plan of n hops at random: those of the highest numbers for the
// tunnel's or the identity's seed. So the draws of identities need no memory,
// and one hop's failure changes nothing but that hop.
type drawn struct {
	n           int
	perIdentity bool
	salt        uint64
	rnd         func() float64
}

func (d drawn) seed(ctx context.Context) uint64 {
	if d.perIdentity {
		return mix(d.salt ^ hashOf(IdentityOf(ctx).Key))
	}
	return bitsOf(d.rnd)
}

func (drawn) stays(*course, int) bool { return false }

func (d drawn) spare(c *course, _ []uint16, failed int) bool { return len(c.hops)-failed > d.n }

func (d drawn) draw(route []uint16, c *course, seed uint64, out *set, now int64) []uint16 {
	var in set
	for pass := range 2 { // the marked ones in the second, if they must be
		for len(route) < d.n {
			best, highest := -1, uint64(0)
			for i := range c.hops {
				if in.has(i) || out.has(i) || pass == 0 && !c.health[i].usable(now, true) {
					continue
				}
				if score := mix(seed + uint64(i)); best < 0 || score > highest {
					best, highest = i, score
				}
			}
			if best < 0 {
				break
			}
			in.add(best)
			route = append(route, uint16(best))
		}
	}
	if len(route) < d.n {
		return nil
	}
	return route
}
