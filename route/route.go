// Package route decides where requests go: rules in the order of the file, the
// first that fits wins, and a request that none fits is blocked.
//
// What rules compare is the one form of a target ([ParseTarget]), so that no
// spelling slips past one. Nothing here touches the network or waits: names are not
// looked up, and lists and databases are in memory.
//
//	ads := route.NewList("ads")
//	contents, err := route.ParseList(data, route.ListOptions{})
//	ads.Set(contents)
//	names, err := route.NewNames(".corp.example")
//	t := route.Table{
//		{If: route.Match{Lists: []*route.List{ads}}, Via: "block", Place: "byway.toml:7"},
//		{If: route.Match{Names: names}, To: office, Via: "office", Place: "byway.toml:10"},
//		{To: paris, Via: "paris", Place: "byway.toml:14"},
//	}
package route

import (
	"context"
	"slices"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/relay"
)

// A Rule leads the requests that it fits one way.
type Rule struct {
	// If says which requests the rule fits; the zero Match is for all of them.
	If Match

	// Not takes requests out again: the rule fits none that fits one of these.
	Not []Match

	// Lookup, if not nil, resolves names for the conditions of If and Not that are
	// about addresses (a chain.Resolver, which does so at its far end). What is dialled
	// then is the address that the rule was asked about.
	Lookup *Lookup

	// To is where: a dialer and the name by which people know it. A Rule without
	// a dialer blocks.
	To chain.Dialer

	// Via is the chain's name, "direct" or "block".
	Via string

	// Block is what a client gets that the rule blocks.
	Block relay.Block

	// Place is where the rule stands, file:line.
	Place string
}

// Always reports whether r has no conditions.
func (r *Rule) Always() bool { return r.If.isZero() && len(r.Not) == 0 }

// IsAboutNames reports whether r says which names it fits, by patterns or lists. One that
// does not may fit a name as it fits all others.
func (r *Rule) IsAboutNames() bool { return r.If.Names != nil || r.If.Lists != nil }

// Concerns reports whether r can fit a request of network ("tcp" or "udp"). It is false
// only where that follows from network alone.
func (r *Rule) Concerns(network string) bool {
	if r.If.Network != "" && r.If.Network != network {
		return false
	}
	return !slices.ContainsFunc(r.Not, func(m Match) bool {
		others := m
		others.Network = ""
		return others.isZero() && (m.Network == "" || m.Network == network)
	})
}

// fits is of the rule with its exceptions.
func (r *Rule) fits(q *question) answer {
	q.lookup, q.absent = r.Lookup, nil
	a := r.If.fits(q)
	for i := 0; i < len(r.Not) && a != no; i++ {
		a = min(a, yes-r.Not[i].fits(q))
	}
	return a
}

// Table is a list of rules. It is a relay.Router; an empty one blocks everything.
type Table []Rule

// Route returns the decision of the first rule that fits now.
func (t Table) Route(_ context.Context, r relay.Request) relay.Decision {
	d, _ := t.Decide(r, time.Now())
	return d
}

// Decide is [Table.Route] at a time of choice. It also returns the index of the
// rule that decided, or -1 if none did.
//
// A request is blocked, too, if its target has no one form, or if a rule depends
// on what is not there yet, such as a list that was never fetched.
func (t Table) Decide(r relay.Request, at time.Time) (relay.Decision, int) {
	q := question{request: &r, at: at}
	target, err := ParseTarget(r.Addr)
	if err != nil {
		return relay.Decision{Via: viaBlock, Rule: err.Error()}, -1
	}
	q.target = target
	return t.decide(&q, 0)
}

// decide begins at rule from.
func (t Table) decide(q *question, from int) (relay.Decision, int) {
	for i := from; i < len(t); i++ {
		rule := &t[i]
		a := rule.fits(q)
		switch {
		case a == yes:
			d := rule.decision()
			d.Addr = q.dial(rule)
			return d, i
		case a == maybe && q.absent == nil:
			return t.ask(q, i), i
		case a == maybe:
			return rule.blocked(q), i
		}
	}
	return relay.Decision{Via: viaBlock, Rule: NoRule}, -1
}

// DecideName decides for a bare name or address, as a DNS listener asks for it: r's
// Addr has no port, and its network does not count. The decision blocks if requests
// for the name are blocked whatever their port and network; otherwise it is that of
// the first rule by which there is a way.
func (t Table) DecideName(r relay.Request, at time.Time) (relay.Decision, int) {
	q := question{request: &r, at: at, noPort: true, noNetwork: true}
	target, err := ParseHost(r.Addr)
	if err != nil {
		return relay.Decision{Via: viaBlock, Rule: err.Error()}, -1
	}
	q.target = target
	for i := range t {
		rule := &t[i]
		switch a := rule.fits(&q); {
		case a == maybe && q.absent != nil:
			return rule.blocked(&q), i
		case a == yes, a == maybe && rule.To != nil:
			d := rule.decision()
			d.Addr = target.Dial
			return d, i
		}
	}
	return relay.Decision{Via: viaBlock, Rule: NoRule}, -1
}

// MayCarry reports whether a rule that may fit r, whose target is not known yet,
// leads to a dialer that carries r's network. It is of relay.Scout.
func (t Table) MayCarry(_ context.Context, r relay.Request) bool {
	q := question{request: &r, at: time.Now(), noTarget: true, noPort: true}
	for i := range t {
		rule := &t[i]
		a := rule.fits(&q)
		if a != no && rule.To != nil && chain.Carries(rule.To, r.Network) {
			return true
		}
		if a == yes {
			return false
		}
	}
	return false
}

// NoRule is what stands for the rule in a decision that none has made.
const NoRule = "no route fits"

const viaBlock = "block"

func (r *Rule) decision() relay.Decision {
	return relay.Decision{Dialer: r.To, Via: r.Via, Rule: r.Place, Block: r.Block}
}

// blocked is the decision where it is not known whether r fits.
func (r *Rule) blocked(q *question) relay.Decision {
	return relay.Decision{Via: viaBlock, Rule: r.Place + ": list " + q.absent.name + " was not fetched yet"}
}
