package local

import (
	"fmt"
	"strings"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/configs"
)

// A builder makes hops of what a configuration names: hops, chains and groups, in each
// other. Package configs has found circles and misplaced hops; it refuses them
// nonetheless, as it is what stands between a mistake and a leak.
type builder struct {
	c      *configs.Client
	base   chain.Dialer
	hops   []chain.Hop
	heads  map[int]*head  // by index of the hop
	named  map[string]any // *configs.Hop, *configs.Chain or *configs.Group
	places map[string]int // the index of each in its list
	open   []string       // what is being made
	note   func(string)   // takes what is asked for, and done without
}

// A head is a hop that this machine reaches itself.
type head struct {
	hop   chain.Hop
	reach string
}

// A spot is where a name stands.
type spot struct {
	at     string // in the file
	first  bool   // nothing is ever before it
	spares int    // to be kept, if it is the last
}

func newBuilder(c *configs.Client, base chain.Dialer, note func(string)) (*builder, error) {
	b := &builder{c: c, base: base, heads: make(map[int]*head), named: make(map[string]any), places: make(map[string]int), note: note}
	for i := range c.Hops {
		built, err := buildHop(c, i)
		if err != nil {
			return nil, err
		}
		b.hops = append(b.hops, built)
		b.named[c.Hops[i].Name], b.places[c.Hops[i].Name] = &c.Hops[i], i
	}
	for i := range c.Chains {
		b.named[c.Chains[i].Name], b.places[c.Chains[i].Name] = &c.Chains[i], i
	}
	for i := range c.Groups {
		b.named[c.Groups[i].Name], b.places[c.Groups[i].Name] = &c.Groups[i], i
	}
	return b, nil
}

// targets returns the names that a route may lead to.
func (b *builder) targets() []string {
	var all []string
	for i := range b.c.Chains {
		all = append(all, b.c.Chains[i].Name)
	}
	for i := range b.c.Groups {
		all = append(all, b.c.Groups[i].Name)
	}
	return all
}

// chain makes a chain of the chain or group called name, and what there is to say of it.
func (b *builder) chain(name string) (*chain.Chain, Path, error) {
	var (
		hops []chain.Hop
		err  error
		path = Path{To: name}
	)
	at := fmt.Sprintf("group[%d]", b.places[name])
	ch, ok := b.named[name].(*configs.Chain)
	if ok {
		at = fmt.Sprintf("chain[%d]", b.places[name])
	}
	names := []string{name}
	if ok && ch.Mode == configs.ModeStrict {
		names = ch.Hops
		hops, err = b.inOrder(ch, spot{first: true})
	} else {
		hops = make([]chain.Hop, 1)
		hops[0], err = b.hop(name, spot{at: at, first: true, spares: defaultSpares})
	}
	if err != nil {
		return nil, Path{}, err
	}
	for _, n := range names {
		path.Hops = append(path.Hops, b.describe(n))
	}
	built, err := chain.New(boundBase{b.base}, hops...)
	if err != nil {
		return nil, Path{}, b.c.Errorf(at, "%w", err)
	}
	for _, name := range b.c.Heads(name) {
		h, err := b.head(b.places[name])
		if err != nil {
			return nil, Path{}, err
		}
		path.Heads = append(path.Heads, Head{Name: name, Reach: h.reach})
	}
	return built, path, nil
}

// defaultSpares are those of a group that a route leads to.
const defaultSpares = 8

// hop makes the hop that stands for name at a spot.
func (b *builder) hop(name string, s spot) (chain.Hop, error) {
	for i, other := range b.open {
		if other == name {
			return chain.Hop{}, b.c.Errorf(s.at, "%q leads back to here, by %s", name, strings.Join(b.open[i:], " > "))
		}
	}
	b.open = append(b.open, name)
	defer func() { b.open = b.open[:len(b.open)-1] }()
	switch one := b.named[name].(type) {
	case *configs.Hop:
		return b.single(b.places[name], s)
	case *configs.Chain:
		return b.within(one, s)
	case *configs.Group:
		return b.group(one, s)
	}
	return chain.Hop{}, b.c.Errorf(s.at, "hop %q is not defined", name)
}

func (b *builder) single(i int, s spot) (chain.Hop, error) {
	h := b.hops[i]
	if one := &b.c.Hops[i]; one.OverUnix() || !baseFor(one).IsZero() {
		if !s.first {
			return chain.Hop{}, b.c.Errorf(s.at, "hop %q is one that this machine reaches itself, and may stand behind others", h.Name)
		}
		head, err := b.head(i)
		if err != nil {
			return chain.Hop{}, err
		}
		h = head.hop
	}
	if s.spares > 0 {
		h = chain.Spare(h, chain.SpareOptions{Max: s.spares})
	}
	return h, nil
}

// head returns hop i as one that is reached from here.
func (b *builder) head(i int) (*head, error) {
	if h := b.heads[i]; h != nil {
		return h, nil
	}
	d, lacks, err := baseOf(b.c, i, b.base)
	if err != nil {
		return nil, err
	}
	if lacks != nil {
		b.note(fmt.Sprintf("hop %q: %v; the system's own is used", b.c.Hops[i].Name, lacks))
	}
	h := &head{hop: b.hops[i], reach: reachOf(&b.c.Hops[i], lacks)}
	if !baseFor(&b.c.Hops[i]).IsZero() {
		h.hop = bound(h.hop, d)
	}
	b.heads[i] = h
	return h, nil
}

// inOrder makes the hops of a chain, at whose beginning or end others may be.
func (b *builder) inOrder(ch *configs.Chain, s spot) ([]chain.Hop, error) {
	through := make([]chain.Hop, len(ch.Hops))
	for j, name := range ch.Hops {
		at := spot{at: fmt.Sprintf("chain[%d].hops[%d]", b.places[ch.Name], j), first: s.first && j == 0}
		switch {
		case ch.Mode == configs.ModeRandom:
			at.first = s.first && ch.Draw == 1
		case j == len(ch.Hops)-1:
			at.spares = int(ch.Spares)
		}
		h, err := b.hop(name, at)
		if err != nil {
			return nil, err
		}
		if ch.Mode == configs.ModeRandom || j == len(ch.Hops)-1 { // it can be the last
			h = asking(h, ch.DNS)
		}
		through[j] = h
	}
	return through, nil
}

// within makes a hop of a chain.
func (b *builder) within(ch *configs.Chain, s spot) (chain.Hop, error) {
	hops, err := b.inOrder(ch, s)
	if err != nil {
		return chain.Hop{}, err
	}
	switch ch.Mode {
	case configs.ModeDynamic:
		return chain.Dynamic(ch.Name, chain.DynamicOptions{Least: int(ch.Least)}, hops...), nil
	case configs.ModeRandom:
		return chain.Random(ch.Name, chain.RandomOptions{Hops: int(ch.Draw), PerIdentity: ch.Per == configs.PerIdentity}, hops...), nil
	}
	return chain.Sequence(ch.Name, hops...), nil
}

// group makes a hop of a group.
func (b *builder) group(g *configs.Group, s spot) (chain.Hop, error) {
	members := make([]chain.Member, len(g.Members))
	for i, name := range g.Members {
		at := s
		at.at = fmt.Sprintf("group[%d].members[%d]", b.places[g.Name], i)
		h, err := b.hop(name, at)
		if err != nil {
			return chain.Hop{}, err
		}
		members[i].Hop = h
		if i < len(g.Weights) {
			members[i].Weight = int(g.Weights[i])
		}
	}
	return chain.Group(g.Name, chain.GroupOptions{
		Strategy:  strategies[g.Strategy],
		By:        bys[g.By],
		Tolerance: g.Tolerance,
		Probe: chain.Probe{
			Target: g.Probe.Target, Status: int(g.Probe.Status), Every: g.Probe.Interval, Limit: g.Probe.Timeout,
		},
	}, members...), nil
}

var strategies = map[configs.Strategy]chain.Strategy{
	configs.StrategyFirst: chain.First, configs.StrategyRoundRobin: chain.RoundRobin, configs.StrategyRandom: chain.Weighted,
	configs.StrategyFastest: chain.Fastest, configs.StrategyLeastUsed: chain.LeastUsed, configs.StrategySticky: chain.Sticky,
	configs.StrategyRace: chain.Race,
}

var bys = map[configs.By]chain.By{
	configs.ByTarget: chain.ByTarget, configs.ByClient: chain.ByClient, configs.ByUser: chain.ByUser, configs.ByIdentity: chain.ByKey,
}

// describe tells people what a name stands for.
func (b *builder) describe(name string) string {
	each := func(names []string, sep string) string {
		said := make([]string, len(names))
		for i, n := range names {
			said[i] = b.describe(n)
		}
		return strings.Join(said, sep)
	}
	switch one := b.named[name].(type) {
	case *configs.Chain:
		switch one.Mode {
		case configs.ModeDynamic:
			return fmt.Sprintf("%s (%d or more of %s)", name, one.Least, each(one.Hops, " > "))
		case configs.ModeRandom:
			return fmt.Sprintf("%s (%d of %s, at random for each %s)", name, one.Draw, each(one.Hops, " | "), one.Per)
		}
		return fmt.Sprintf("%s (%s)", name, each(one.Hops, " > "))
	case *configs.Group:
		how := string(one.Strategy)
		if one.Strategy == configs.StrategySticky {
			how += " by " + string(one.By)
		}
		return fmt.Sprintf("%s (%s of %s)", name, how, each(one.Members, " | "))
	}
	return name
}
