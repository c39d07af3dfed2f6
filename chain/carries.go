package chain

import (
	"net"
	"slices"
)

// A Carrier is a dialer that knows, before there is a target, which networks it
// carries.
type Carrier interface {
	// Carries reports whether a dial of network may succeed. It dials nothing.
	Carries(network string) bool
}

// Carries reports whether d may carry network. All carry "tcp"; of "udp" a dialer
// has to say so itself, by being a [Carrier] or a *net.Dialer: one that is silent
// is taken for one that does not.
func Carries(d Dialer, network string) bool {
	switch d := d.(type) {
	case nil:
		return false
	case Carrier:
		return d.Carries(network)
	case *net.Dialer:
		return network == "tcp" || network == "udp"
	}
	return network == "tcp"
}

// Carries reports whether every hop of c may carry network.
func (c *Chain) Carries(network string) bool { return c != nil && Carries(c.top, network) }

// Carries asks the hop.
func (l *layer) Carries(network string) bool { return Carries(l.Dialer, network) }

// Carries asks what leads to the hop.
func (r *reach) Carries(network string) bool { return Carries(r.next, network) }

// Carries asks the hop.
func (s *spares) Carries(network string) bool { return Carries(s.Preparer, network) }

// Carries reports whether a member may: the others are passed over.
func (g *group) Carries(network string) bool {
	return slices.ContainsFunc(g.members, func(m *member) bool { return Carries(m.layer, network) })
}

// Carries reports whether there is a choice of hops that all may.
func (c *course) Carries(network string) bool {
	var out set
	for i, can := range c.carries(network) {
		if !can {
			out.add(i)
		}
	}
	if last := len(c.hops) - 1; out.has(last) && c.plan.stays(c, last) {
		return false
	}
	return len(c.plan.draw(nil, c, 0, &out, c.now())) > 0
}

// carries tells of each hop whether it may when it is the only one. A hop carries
// over another what both carry.
func (c *course) carries(network string) []bool {
	can := make([]bool, len(c.hops))
	for i, h := range c.hops {
		if l, err := wrap(c.next, h, c.at); err == nil {
			can[i] = l.Carries(network)
			_ = l.Close()
		}
	}
	return can
}

// Carries asks a dialer made for nobody.
func (p *perIdentity) Carries(network string) bool {
	d, err := p.make()
	if err != nil {
		return false
	}
	defer func() { _ = closeDialer(d) }()
	return Carries(d, network)
}
