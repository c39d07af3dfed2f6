package route

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
)

// A Shadow is a rule that no request comes to.
type Shadow struct{ Rule, By int } // indices; By fits all that Rule does, and comes first

// Shadowed returns the rules that a single earlier one leaves nothing to, so far as
// that can be told from their conditions.
func (t Table) Shadowed() []Shadow {
	var all []Shadow
	for i := range t {
		for j := range i {
			if t[j].covers(&t[i]) {
				all = append(all, Shadow{i, j})
				break
			}
		}
	}
	return all
}

// covers reports whether r surely fits all that other does.
func (r *Rule) covers(other *Rule) bool {
	for i := range r.Not {
		if !slices.ContainsFunc(other.Not, func(m Match) bool { return m.covers(&r.Not[i]) }) {
			return false
		}
	}
	if other.Lookup != nil && r.Lookup == nil && r.If.asksAddresses() {
		return false
	}
	return r.If.covers(&other.If)
}

// asksAddresses reports whether a target's address may count.
func (m *Match) asksAddresses() bool { return m.CIDRs != nil || m.Countries != nil || m.Lists != nil }

func (m *Match) covers(o *Match) bool {
	return (m.Names == nil || o.Names != nil && m.Names.covers(o.Names)) &&
		within(o.Lists, m.Lists, func(a, b *List) bool { return a == b }) &&
		m.CIDRs.covers(o.CIDRs) && m.Clients.covers(o.Clients) &&
		(m.Countries == nil || o.Countries != nil && within(o.Countries.Codes, m.Countries.Codes, same)) &&
		within(o.Ports, m.Ports, func(a, b Ports) bool { return b.From <= a.From && a.To <= b.To }) &&
		(m.Network == "" || m.Network == o.Network) &&
		within(o.Listeners, m.Listeners, same) && within(o.Users, m.Users, same) &&
		(m.Hours == nil || reflect.DeepEqual(m.Hours, o.Hours))
}

func same(a, b string) bool { return a == b }

// within reports whether each of some is in one of all; nil stands for everything.
func within[T any](some, all []T, in func(a, b T) bool) bool {
	if all == nil {
		return true
	}
	return some != nil && !slices.ContainsFunc(some, func(a T) bool {
		return !slices.ContainsFunc(all, func(b T) bool { return in(a, b) })
	})
}

func (c *CIDRs) covers(o *CIDRs) bool {
	if c == nil {
		return true
	}
	return o != nil && within(o.all, c.all, func(a, b netip.Prefix) bool { return b.Bits() <= a.Bits() && b.Contains(a.Addr()) })
}

func (n *Names) covers(o *Names) bool {
	for _, pattern := range o.all {
		if !slices.Contains(n.all, pattern) && !n.coversPattern(pattern) {
			return false
		}
	}
	return true
}

// coversPattern is about the pattern of one name, and of all below one.
func (n *Names) coversPattern(pattern string) bool {
	name, itself, others := strings.TrimPrefix(pattern, "full:"), true, false
	for prefix, alsoItself := range map[string]bool{".": true, "domain:": true, "*.": false} {
		if rest, ok := strings.CutPrefix(pattern, prefix); ok {
			name, itself, others = rest, alsoItself, true
		}
	}
	name, err := ParseName(name)
	if err != nil { // another kind of pattern
		return false
	}
	return (!itself || n.names.has(name)) && (!others || n.names.hasBelow(name))
}

// hasBelow reports whether all names below the canonical one are surely in n.
func (n *names) hasBelow(name string) bool {
	// No entry can be this name, but only about it as one below others.
	if found, _ := n.set.ask("*." + name); found {
		return true
	}
	return slices.ContainsFunc(n.keywords, func(k string) bool { return strings.Contains(name, k) })
}
