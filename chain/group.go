package chain

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// A Strategy is how a group chooses the member for a tunnel. Members that are
// marked dead are left out as long as there are others.
type Strategy int

// The strategies.
const (
	First      Strategy = iota // the first in order: the others are spares
	RoundRobin                 // one after the other
	Weighted                   // at random, by weight
	Fastest                    // the one of least latency, see GroupOptions.Tolerance
	LeastUsed                  // the one with the fewest tunnels (see Lease) by weight, the longest unused of several
	Sticky                     // the same for the same GroupOptions.By, by weight
	Race                       // in order, but the next starts after the p95 of the one before
)

// By is what a sticky group goes by: a field of [Identity], and its Key always, as
// two identities have no pick in common.
type By int

// The fields. Without a Target in the identity, it is the address dialled.
const (
	ByTarget By = iota
	ByClient
	ByUser
	ByKey
)

// A Member is one of a group.
type Member struct {
	Hop    Hop
	Weight int // for Weighted, LeastUsed and Sticky; 0 means 1
}

// GroupOptions are the options of a group. The zero value is an ordered failover
// that learns from real traffic alone.
type GroupOptions struct {
	Strategy Strategy
	By       By // for Sticky

	// Tolerance is by how much a member must be faster before Fastest changes to
	// it; 0 means 50 ms. Latency is that of probes if there are any, since only
	// they measure all members by one target, else that of real traffic.
	Tolerance time.Duration

	// Probe is what members are probed with; without a Target they are not.
	Probe Probe

	// Rand returns numbers in [0, 1) to several goroutines; nil means math/rand/v2.
	Rand func() float64
}

// Group returns a hop that each tunnel passes by way of one of the members. All
// are built over the same next. Their names, which must differ, are for people
// and, with Sticky, for the choice. An empty group is an error when it is built.
//
// If a member fails, the next one is tried in the same request, each once, those
// marked dead at last; never next itself. What the exit says of the target (it
// refuses, a rule forbids it) is returned at once. A member that is silent for
// too long (three times the p95 of its opens, 1 s at least; 2 s where nothing is
// known; its share of what is left of ctx at most) gets company by the next: the
// first to succeed wins, and the others are cut off.
//
// A member is marked dead at once when it fails by itself, or is overtaken while
// silent for too long; when it says that the target can't be reached and another
// reaches it, three times in a row. After 1 s, doubling to 5 minutes, give or
// take a fifth, one real dial is the trial, or a probe if there are any.
//
// The dialer also has Members() []MemberStatus; see [Chain.Groups]. It starts
// probing at the first dial, and ends that when closed.
func Group(name string, o GroupOptions, members ...Member) Hop {
	return Hop{Name: name, Wrap: func(next Dialer) (Dialer, error) {
		g, err := newGroup(placeOf(next, name), next, o, members)
		if err != nil {
			return nil, err
		}
		return g, nil
	}}
}

type group struct {
	GroupOptions
	clock
	at      place
	scope   scope
	members []*member
	turn    atomic.Uint64 // of RoundRobin; the count of picks of LeastUsed
	current atomic.Int32  // of Fastest
	used    atomic.Int64  // when it was last dialled

	probes  context.Context // done when closed
	stop    context.CancelFunc
	start   sync.Once
	probing sync.WaitGroup
	closing sync.Mutex // orders start before Close, or never
}

type member struct {
	health
	*layer
	name   string
	hash   uint64
	weight float64
	woken  chan struct{} // has one when it was marked
}

func newGroup(at place, next Dialer, o GroupOptions, members []Member) (*group, error) {
	switch {
	case next == nil:
		return nil, errors.New("no dialer that reaches the group")
	case len(members) == 0:
		return nil, errors.New("the group is empty: that is no way to go direct")
	case o.Strategy < First || o.Strategy > Race || o.By < ByTarget || o.By > ByKey:
		return nil, errors.New("no such strategy")
	}
	if o.Rand == nil {
		o.Rand = rand.Float64
	}
	if o.Tolerance <= 0 {
		o.Tolerance = 50 * time.Millisecond
	}
	if err := o.Probe.prepare(); err != nil {
		return nil, err
	}
	g := &group{GroupOptions: o, clock: clock{time.Now()}, at: at}
	seen := make(map[string]bool)
	for i, m := range members {
		var (
			l   *layer
			err error
		)
		switch {
		case seen[m.Hop.Name]:
			err = errors.New("another member has that name")
		case m.Weight < 0:
			err = errors.New("its weight is below 0")
		default:
			l, err = wrap(next, m.Hop, at.member(m.Hop.Name).in(&g.scope, i+1))
		}
		if err != nil {
			_ = g.Close()
			return nil, fmt.Errorf("member %s: %w", m.Hop.Name, err)
		}
		seen[m.Hop.Name] = true
		g.members = append(g.members, &member{
			layer: l, name: m.Hop.Name, hash: hashOf(m.Hop.Name), weight: float64(max(m.Weight, 1)),
			woken: make(chan struct{}, 1),
		})
	}
	g.probes, g.stop = context.WithCancel(context.Background())
	return g, nil
}

// Close ends the probing and closes what members keep open. Dials go on to work.
func (g *group) Close() error {
	if g.stop != nil {
		g.closing.Lock()
		g.stop()
		g.closing.Unlock()
		g.probing.Wait()
	}
	var errs []error
	for _, m := range g.members {
		errs = append(errs, m.Close())
	}
	return errors.Join(errs...)
}

// Members tells how the members are.
func (g *group) Members() []MemberStatus {
	all := make([]MemberStatus, len(g.members))
	for i, m := range g.members {
		all[i] = m.status(m.name, g.clock)
	}
	return all
}

// Groups tells of g and of the groups in its members.
func (g *group) Groups() []GroupStatus {
	all := []GroupStatus{{Name: g.at.name, Members: g.Members()}}
	for _, m := range g.members {
		all = append(all, m.Groups()...)
	}
	return all
}

// mark takes note that m failed by itself.
func (g *group) mark(m *member, now, began int64, err error) {
	if m.mark(now, began, err, g.Rand) {
		m.wake()
	}
}

// doubt takes note that m may have failed.
func (g *group) doubt(m *member, now, began int64, err error) {
	if m.strike(now, began, err, g.Rand) {
		m.wake()
	}
}

func (m *member) wake() {
	select {
	case m.woken <- struct{}{}:
	default:
	}
}
