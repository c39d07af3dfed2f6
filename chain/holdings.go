package chain

import "errors"

// ErrPaused is the error of a hop that is not dialled for the time being.
var ErrPaused = errors.New("paused")

// Holdings tell what a dialer keeps open for dials to come.
type Holdings struct {
	Spares   int // tunnels kept ready
	Sessions int // connections that carry many tunnels
}

func (h *Holdings) add(other Holdings) {
	h.Spares += other.Spares
	h.Sessions += other.Sessions
}

// HoldingsOf tells what d keeps open, by its method Holdings, if it has that.
func HoldingsOf(d Dialer) Holdings {
	if h, ok := d.(interface{ Holdings() Holdings }); ok {
		return h.Holdings()
	}
	return Holdings{}
}

// Holdings tells what the hops keep open.
func (c *Chain) Holdings() (all Holdings) {
	for _, l := range c.layers {
		all.add(l.Holdings())
	}
	return all
}

// Holdings is of [HoldingsOf].
func (l *layer) Holdings() Holdings { return HoldingsOf(l.Dialer) }

// Holdings is of [HoldingsOf].
func (s *spares) Holdings() Holdings {
	all := HoldingsOf(s.Preparer)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.pools {
		all.Spares += len(p.ready)
	}
	return all
}

// Holdings is of [HoldingsOf].
func (p *perIdentity) Holdings() (all Holdings) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range p.m {
		all.add(HoldingsOf(one.Dialer))
	}
	return all
}

// Holdings is of [HoldingsOf].
func (g *group) Holdings() (all Holdings) {
	for _, m := range g.members {
		all.add(m.Holdings())
	}
	return all
}

// Holdings is of [HoldingsOf].
func (c *course) Holdings() (all Holdings) {
	c.paths.mu.Lock()
	var built []*Chain
	for _, p := range c.paths.all {
		built = append(built, p.chain)
	}
	c.paths.mu.Unlock()
	for _, one := range built {
		all.add(one.Holdings())
	}
	return all
}
