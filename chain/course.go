package chain

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"
)

// DynamicOptions are the options of a chain that skips dead hops.
type DynamicOptions struct {
	// Least is how many hops a tunnel must pass; 0 means 1. With 1, the last hop
	// is reached without any other when all others are dead, and so sees who comes.
	Least int

	// Rand returns numbers in [0, 1) to several goroutines; nil means math/rand/v2.
	Rand func() float64
}

// Dynamic returns a chain as one hop, as [Sequence] does, in which a hop that is
// dead is skipped (proxychains' dynamic_chain): by the request that finds it
// dead, and then by all, for 1 s, doubling to 5 minutes, until a dial through it
// succeeds. The last hop is never skipped, and the target never reached without.
//
// A try takes half of what is left of ctx, so that a silent hop leaves time for
// the path without it; the path without any other hop has all of it.
func Dynamic(name string, o DynamicOptions, hops ...Hop) Hop {
	return Hop{Name: name, Wrap: func(next Dialer) (Dialer, error) {
		least := max(o.Least, 1)
		if len(hops) < least {
			return nil, fmt.Errorf("%d hops are no choice of %d", len(hops), least)
		}
		return newCourse(placeOf(next, name), next, hops, o.Rand, dynamic{least})
	}}
}

// RandomOptions are the options of a chain that draws its hops.
type RandomOptions struct {
	// Hops is how many hops a tunnel passes; it is required.
	Hops int

	// PerIdentity draws once for each [Identity].Key, the empty one included,
	// and not for each tunnel.
	PerIdentity bool

	// Rand returns numbers in [0, 1) to several goroutines; nil means math/rand/v2.
	Rand func() float64
}

// Random returns a chain of so many of the hops as one hop, drawn at random and
// in random order for each tunnel, or each identity. A hop that fails is left
// out for 1 s, doubling to 5 minutes, and another drawn in its place, within the
// same request too; never are there fewer hops.
//
// The draw of an identity lasts as long as the dialer. Who draws a dead hop gets
// another for that time, and keeps the others.
func Random(name string, o RandomOptions, hops ...Hop) Hop {
	return Hop{Name: name, Wrap: func(next Dialer) (Dialer, error) {
		if o.Hops <= 0 || o.Hops > len(hops) {
			return nil, fmt.Errorf("%d hops can't be drawn of %d", o.Hops, len(hops))
		}
		if o.Rand == nil {
			o.Rand = rand.Float64
		}
		d := drawn{n: o.Hops, perIdentity: o.PerIdentity, salt: bitsOf(o.Rand), rnd: o.Rand}
		return newCourse(placeOf(next, name), next, hops, o.Rand, d)
	}}
}

func bitsOf(rnd func() float64) uint64 { return mix(uint64(rnd() * (1 << 53))) }

// A course is a chain that chooses its hops anew for each tunnel.
type course struct {
	clock
	at     place
	scope  scope
	next   Dialer
	hops   []Hop
	health []health
	rnd    func() float64
	plan   plan
	paths  paths
}

// A plan chooses the hops of a tunnel, by their indices.
type plan interface {
	// seed returns the number that stands for the tunnel.
	seed(ctx context.Context) uint64

	// draw appends the hops to route: none of those in out, which failed within
	// the request, and none that is marked if that can be. It returns none if it
	// can't.
	draw(route []uint16, c *course, seed uint64, out *set, now int64) []uint16

	// stays reports whether the hop can't be left out.
	stays(c *course, hop int) bool

	// spare reports whether there is another way, after so many have failed.
	spare(c *course, route []uint16, failed int) bool
}

func newCourse(at place, next Dialer, hops []Hop, rnd func() float64, p plan) (Dialer, error) {
	switch {
	case next == nil:
		return nil, errors.New("no dialer that reaches the first hop")
	case len(hops) == 0:
		return nil, errors.New("no hops: an empty chain is not a way to go direct")
	case len(hops) > 1<<16-1:
		return nil, errors.New("too many hops")
	}
	if rnd == nil {
		rnd = rand.Float64
	}
	c := &course{
		clock: clock{time.Now()}, at: at, next: next, hops: hops, rnd: rnd, plan: p,
		health: make([]health, len(hops)),
	}
	for i, h := range hops { // so that none is found to be wrong later
		l, err := wrap(next, h, at.nth(i+1, len(hops), h.Name))
		if err != nil {
			return nil, fmt.Errorf("hop %d %s: %w", i+1, h.Name, err)
		}
		if err := l.Close(); err != nil {
			return nil, fmt.Errorf("hop %d %s: %w", i+1, h.Name, err)
		}
	}
	return c, nil
}

// DialContext opens a connection by way of hops that are alive.
func (c *course) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	var (
		buf      [8]uint16
		out      set
		failures []failure
		seed     = c.plan.seed(ctx)
	)
	for ctx.Err() == nil {
		began := c.now()
		route := c.plan.draw(buf[:0], c, seed, &out, began)
		if len(route) == 0 {
			return nil, c.at.join(failures)
		}
		trials := c.begin(route, began)
		conn, err := c.try(ctx, route, len(failures), network, addr)
		if err == nil {
			c.proved(route, failures, began)
			c.end(route, &trials)
			return conn, nil
		}
		f, final := c.failed(ctx, route, failures, began, err)
		c.end(route, &trials)
		if f.verdict >= answered {
			return nil, err
		}
		if failures = append(failures, f); final {
			return nil, c.at.join(failures)
		}
		out.add(f.hop)
	}
	if len(failures) == 0 {
		return nil, c.at.over(ctx)
	}
	return nil, c.at.join(failures)
}

// begin claims the trials of those hops of route that are due for one.
func (c *course) begin(route []uint16, now int64) (trials set) {
	for _, i := range route {
		if trial, _ := c.health[i].begin(now); trial {
			trials.add(int(i))
		}
	}
	return trials
}

func (c *course) end(route []uint16, trials *set) {
	for _, i := range route {
		if trials.has(int(i)) {
			c.health[i].trial.Store(false)
		}
	}
}

// try dials by one route.
func (c *course) try(ctx context.Context, route []uint16, failed int, network, addr string) (net.Conn, error) {
	lease := LeaseOf(ctx)
	if by, ok := ctx.Deadline(); ok && c.plan.spare(c, route, failed) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(by)/2)
		defer cancel()
	}
	p, err := c.path(route)
	if err != nil {
		return nil, err
	}
	defer c.paths.release(p)
	for _, i := range route {
		c.health[i].live.Add(1)
	}
	conn, err := p.chain.DialContext(ctx, network, addr)
	for _, i := range route {
		if err == nil {
			lease.hold(&c.health[i].live)
		} else {
			c.health[i].live.Add(-1)
		}
	}
	return conn, err
}

// Close closes what the hops keep open. Dials go on to work.
func (c *course) Close() error { return c.paths.close() }

// Members tells how the hops are.
func (c *course) Members() []MemberStatus {
	all := make([]MemberStatus, len(c.hops))
	for i := range c.hops {
		all[i] = c.health[i].status(c.hops[i].Name, c.clock)
	}
	return all
}

// Groups tells of c and of the groups in its hops, for each path that is in use.
func (c *course) Groups() []GroupStatus {
	return append([]GroupStatus{{Name: c.at.name, Members: c.Members()}}, c.paths.groups()...)
}
