package local

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"slices"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/internal/sockets"
	"github.com/byway-proxy/byway/local/lists"
	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/route"
)

// A Path is one way that traffic can take, for people.
type Path struct {
	From  string   // the rule, forward or other table, file:line
	To    string   // "direct", "block" or the name of the chain or group
	Hops  []string // the chain's hops, by name; groups and chains tell what they consist of
	Heads []Head   // the hops that can be hop 1

	Names   string           // who resolves the names of targets, if it leads direct
	Always  bool             // whether the rule fits all requests that come to it
	UDP     UDP              // what becomes of UDP that comes to the rule
	Forward *configs.Forward // if it is the way of one, and of no rule
	DNS     *configs.DNS     // if it is the way to the servers of one, and of no rule
	List    *configs.List    // if it is the way by which one is fetched, and of no rule
	Lookup  bool             // whether it is the way by which names are looked up for a rule, besides the rule's own
}

// UDP is what becomes of UDP on a rule's way.
type UDP int8

// What becomes of UDP.
const (
	UDPNone    UDP = iota // none comes to the rule, or the rule blocks; also that of all ways but a rule's
	UDPCarried            // it goes the rule's way, unless a hop then turns out to offer none
	UDPRefused            // not every hop carries it, so it goes nowhere
)

// udpOf tells what becomes of UDP that comes to r.
func udpOf(r *route.Rule) UDP {
	switch {
	case r.To == nil || !r.Concerns("udp"):
		return UDPNone
	case chain.Carries(r.To, "udp"):
		return UDPCarried
	}
	return UDPRefused
}

// A Head is a hop that is reached from this machine, and not through another.
type Head struct {
	Name  string
	Reach string // its address, by which way it is reached, and who resolves its name
}

// Direct reports whether traffic leaves from here without a hop.
func (p Path) Direct() bool { return p.To == configs.Direct }

// plan is what a configuration comes to, before anything is listened on.
type plan struct {
	config  *configs.Client
	limits  configs.Limits
	files   map[string][sha256.Size]byte // what hops were made of, by path
	pauses  *pauses
	sockets *sockets.Activated // that were handed over, and nobody has taken so far
	chains  map[string]*chain.Chain
	direct  chain.Dialer        // of what goes direct
	lookups map[string]*lookups // by the chain that rules have names looked up by
	table   route.Table
	paths   []Path
	lists   map[string]*route.List
	sources []*lists.Source  // of the lists from URLs
	asides  []Path           // by which lists are fetched and names looked up
	ways    []relay.Decision // of the forwards, in their order
	dns     []relay.Decision // of the [[dns]] tables, in theirs
	notes   []string         // what is asked for, and done without
}

// A closer is what a plan keeps open.
type closer interface {
	Dialing() int // how many dial by it, or are about to be answered
	Close() error
}

// without returns what p keeps open that other, which may be nil, does not have as well.
func (p *plan) without(other *plan) (all []closer) {
	for name, c := range p.chains {
		if other == nil || other.chains[name] != c {
			all = append(all, c)
		}
	}
	if d, ok := p.direct.(*direct); ok && (other == nil || other.direct != p.direct) {
		all = append(all, d)
	}
	return all
}

// close closes what other, which may be nil, does not have as well.
func (p *plan) close(other *plan) {
	for _, c := range p.without(other) {
		_ = c.Close()
	}
}

// build makes chains and rules over base. What is the same in old, which may be nil, is
// taken from there. Errors have their place in the file.
func build(c *configs.Client, base chain.Dialer, old *plan, log *slog.Logger) (*plan, error) {
	p := &plan{config: c, limits: limitsOf(c.Limits, openFiles()), chains: make(map[string]*chain.Chain)}
	p.pauses = new(pauses)
	if old != nil {
		p.pauses = old.pauses
	}
	if err := p.build(base, old, log); err != nil {
		p.close(old)
		return nil, err
	}
	return p, nil
}

func (p *plan) build(base chain.Dialer, old *plan, log *slog.Logger) error {
	c := p.config
	if err := noStandIns(c); err != nil {
		return err
	}
	b, err := newBuilder(c, base, p.note)
	if err != nil {
		return err
	}
	for i := range b.hops {
		b.hops[i].Paused = p.pauses.of(b.hops[i].Name)
	}
	p.files = digests(c)
	reach := make(map[string]Path)
	for _, name := range b.targets() {
		ch, path, err := b.chain(name)
		if err != nil {
			return err
		}
		if same := old.chain(name, p); same != nil {
			_ = ch.Close()
			ch = same
		}
		p.chains[name], reach[name] = ch, path
	}
	if p.direct, err = newDirect(p, base, old, log); err != nil {
		return err
	}
	if err := p.rules(c, reach, old, log); err != nil {
		return err
	}
	if err := p.forwards(c, reach); err != nil {
		return err
	}
	if err := p.dnsWays(c, reach); err != nil {
		return err
	}
	p.paths = append(p.paths, p.asides...)
	return nil
}

// way returns the dialer that is named by the key "to" of a table, nil for
// [configs.Block], and what there is to say of it.
func (p *plan) way(c *configs.Client, table, to string, reach map[string]Path) (chain.Dialer, Path, error) {
	place := c.Errorf(table, "here")
	path, d := Path{To: to}, chain.Dialer(nil)
	switch to {
	case configs.Block:
	case configs.Direct:
		d, path.Names = p.direct, ResolverOf(c)
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

// note keeps a text, once.
func (p *plan) note(text string) {
	if !slices.Contains(p.notes, text) {
		p.notes = append(p.notes, text)
	}
}
