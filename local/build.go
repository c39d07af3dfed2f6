package local

import (
	"fmt"
	"slices"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/route"
)

// A Path is one way that traffic can take, for people.
type Path struct {
	From  string   // the rule or forward, file:line
	To    string   // "direct", "block" or the chain's name
	Hops  []string // the names of the chain's hops
	Reach string   // how hop 1 is reached: its address and who resolves its name

	Forward *configs.Forward // if it is the way of one, and of no rule
}

// Direct reports whether traffic leaves from here without a hop.
func (p Path) Direct() bool { return p.To == configs.Direct }

// plan is what a configuration comes to, before anything is listened on.
type plan struct {
	chains map[string]*chain.Chain
	table  route.Table
	paths  []Path
	ways   []relay.Decision // of the forwards, in their order
	notes  []string         // what is asked for, and done without
}

func (p *plan) close() {
	for _, c := range p.chains {
		_ = c.Close()
	}
}

// build makes chains and rules over base. Errors have their place in the file.
func build(c *configs.Client, base chain.Dialer) (*plan, error) {
	p := &plan{chains: make(map[string]*chain.Chain)}
	byName := make(map[string]int)
	hops := make([]chain.Hop, len(c.Hops))
	for i, h := range c.Hops {
		built, err := buildHop(c, i)
		if err != nil {
			return nil, err
		}
		hops[i], byName[h.Name] = built, i
	}
	reach := make(map[string]Path)
	for i, ch := range c.Chains {
		path, err := p.chain(c, i, base, hops, byName)
		if err != nil {
			p.close()
			return nil, err
		}
		reach[ch.Name] = path
	}
	if err := p.rules(c, base, reach); err != nil {
		p.close()
		return nil, err
	}
	if err := p.forwards(c, base, reach); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// rules makes the table of the routes.
func (p *plan) rules(c *configs.Client, base chain.Dialer, reach map[string]Path) error {
	for i, r := range c.Routes {
		table := fmt.Sprintf("route[%d]", i)
		d, path, err := p.way(c, table, r.To, base, reach)
		if err != nil {
			return err
		}
		p.table = append(p.table, route.Rule{To: d, Via: r.To, Place: path.From})
		p.paths = append(p.paths, path)
	}
	return nil
}

// way returns the dialer that is named by the key "to" of a table, nil for
// [configs.Block], and what there is to say of it.
func (p *plan) way(c *configs.Client, table, to string, base chain.Dialer, reach map[string]Path) (chain.Dialer, Path, error) {
	place := c.Errorf(table, "here")
	path, d := Path{To: to}, chain.Dialer(nil)
	switch to {
	case configs.Block:
	case configs.Direct:
		d = base
	default:
		ch, ok := p.chains[to]
		if !ok {
			return nil, Path{}, c.Errorf(table+".to", "chain %q is not defined", to)
		}
		d, path = ch, reach[to]
	}
	path.From = fmt.Sprintf("%s:%d", place.File, place.Line)
	return d, path, nil
}

// chain makes chain i over base, as its first hop wants that.
func (p *plan) chain(c *configs.Client, i int, base chain.Dialer, hops []chain.Hop, byName map[string]int) (Path, error) {
	ch := &c.Chains[i]
	through := make([]chain.Hop, len(ch.Hops))
	for j, name := range ch.Hops {
		at, ok := byName[name]
		if !ok {
			return Path{}, c.Errorf(fmt.Sprintf("chain[%d].hops[%d]", i, j), "hop %q is not defined", name)
		}
		through[j] = hops[at]
	}
	var first int
	var lacks error
	if len(ch.Hops) > 0 { // without, chain.New says what is wrong
		var err error
		first = byName[ch.Hops[0]]
		if base, lacks, err = baseOf(c, first, base); err != nil {
			return Path{}, err
		}
	}
	if last := len(through) - 1; last >= 0 && ch.Spares > 0 {
		through[last] = chain.Spare(through[last], chain.SpareOptions{Max: int(ch.Spares)})
	}
	built, err := chain.New(base, through...)
	if err != nil {
		return Path{}, c.Errorf(fmt.Sprintf("chain[%d]", i), "%w", err)
	}
	if lacks != nil {
		p.note(fmt.Sprintf("hop %q: %v; the system's own is used", ch.Hops[0], lacks))
	}
	p.chains[ch.Name] = built
	return Path{To: ch.Name, Hops: built.Hops(), Reach: reachOf(&c.Hops[first], lacks)}, nil
}

// note keeps a text, once.
func (p *plan) note(text string) {
	if !slices.Contains(p.notes, text) {
		p.notes = append(p.notes, text)
	}
}
