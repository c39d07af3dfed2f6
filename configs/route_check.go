package configs

import (
	"fmt"
	"slices"
	"time"
)

// checkRoutes checks the rules and the lists that they name.
func (c *Client) checkRoutes(d *decoder, ways []string) {
	lists := elements(c.Lists, func(l List) string { return l.Name })
	d.names("list", lists)
	for i := range c.Lists {
		c.Lists[i].check(d, at("list", i), ways)
	}
	for i := range c.Routes {
		r, path := &c.Routes[i], at("route", i)
		r.check(d, path, ways)
		r.checkLookup(d, path, ways)
		c.checkMatch(d, &r.Match, path, lists)
		for j := range r.Not {
			n, place := &r.Not[j], at(join(path, "not"), j)
			if n.isZero() && !d.failed[place] && !d.failed[join(path, "not")] {
				d.fail(place, "has no condition, and so takes everything out; give it one, or remove it")
			}
			if n.Timezone == "" {
				n.Timezone = r.Timezone
			}
			c.checkMatch(d, n, place, lists)
		}
	}
}

// isZero reports whether m has no condition that narrows it.
func (m *Match) isZero() bool {
	return m.Domains == nil && m.Lists == nil && m.CIDRs == nil && m.Countries == nil && m.Ports == nil && m.Network == "" &&
		m.Listeners == nil && m.Users == nil && m.Clients == nil && m.Times == nil && m.Weekdays == nil
}

func (r *Route) check(d *decoder, path string, ways []string) {
	d.way(r.To, join(path, "to"), append([]string{Direct, Block}, ways...))
	if d.has(join(path, "block")) && r.To != Block && r.To != "" {
		d.fail(join(path, "block"), "is for routes to %q, and this one goes to %q; remove it", Block, r.To)
	}
}

// checkLookup checks the key by which names are resolved for a rule.
func (r *Route) checkLookup(d *decoder, path string, ways []string) {
	place := join(path, "lookup")
	if !d.has(place) || d.failed[place] {
		return
	}
	asks := func(m Match) bool { return m.CIDRs != nil || m.Countries != nil || m.Lists != nil }
	switch {
	case r.Lookup == Direct || r.Lookup == Block:
		d.fail(place, "%q is no chain, and names are not looked up from here to decide; name a chain", r.Lookup)
	case !slices.Contains(ways, r.Lookup):
		d.fail(place, "chain %q is not defined; %s", r.Lookup, orElse(r.Lookup, ways, fmt.Sprintf("add a [[chain]] with name = %q", r.Lookup)))
	case !asks(r.Match) && !slices.ContainsFunc(r.Not, asks):
		d.fail(place, "stands without cidr, country and list; remove it")
	}
}

// way fails if to is none of known, which begin with what may stand for a chain.
func (d *decoder) way(to, path string, known []string) {
	if to == "" || slices.Contains(known, to) {
		return
	}
	builtin := fmt.Sprintf("%q", Direct)
	if slices.Contains(known, Block) {
		builtin += fmt.Sprintf(" or %q", Block)
	}
	d.fail(path, "chain %q is not defined; %s", to,
		orElse(to, known, fmt.Sprintf("add a [[chain]] with name = %q, or write %s", to, builtin)))
}

func (c *Client) checkMatch(d *decoder, m *Match, path string, lists []string) {
	for key, n := range map[string]int{
		"domain": len(m.Domains), "list": len(m.Lists), "cidr": len(m.CIDRs), "country": len(m.Countries), "port": len(m.Ports),
		"listener": len(m.Listeners), "user": len(m.Users), "client": len(m.Clients), "time": len(m.Times), "weekday": len(m.Weekdays),
	} {
		if at := join(path, key); n == 0 && d.has(at) && !d.failed[at] {
			d.fail(at, "is empty, so the route would never fit; give it a value, or remove it")
		}
	}
	for i, name := range m.Lists {
		if name != "" && !slices.Contains(lists, name) {
			d.fail(at(join(path, "list"), i), "list %q is not defined; %s", name,
				orElse(name, lists, fmt.Sprintf("add a [[list]] with name = %q", name)))
		}
	}
	listeners := elements(c.Listeners, func(l Listener) string { return l.Address })
	for i, address := range m.Listeners {
		if address != "" && !slices.Contains(listeners, address) {
			d.fail(at(join(path, "listener"), i), "no [[listen]] has the address %q; %s", address,
				orElse(address, listeners, "write one as it stands there"))
		}
	}
	if m.Countries != nil && c.Geo.Database == "" && !d.has("geo.database") {
		d.fail(join(path, "country"), "there is no database of countries; add [geo] with database = \"country.mmdb\"")
	}
	zone := join(path, "timezone")
	if _, err := time.LoadLocation(m.Timezone); err != nil && d.has(zone) {
		d.fail(zone, `%q is not known here; write a name such as "Europe/Paris"`, m.Timezone)
	}
	if d.has(zone) && m.Times == nil && m.Weekdays == nil && !d.has(join(path, "not")) {
		d.fail(zone, "stands without time and weekday; remove it")
	}
}

func (l *List) check(d *decoder, path string, ways []string) {
	if l.URL == "" {
		if l.File == "" && !d.has(join(path, "url")) && !d.failed[join(path, "file")] {
			d.fail(path, "has neither file nor url; add one")
		}
		if d.failed[join(path, "url")] {
			return
		}
		for _, key := range []string{"via", "interval", "sha256", "minisign", "max_shrink"} {
			if d.has(join(path, key)) {
				d.fail(join(path, key), "is for a list from a url, and this one has none; remove it")
			}
		}
		return
	}
	if !d.has(join(path, "via")) {
		d.fail(path, "via is missing; name the chain by which the list is fetched, or write via = %q", Direct)
	}
	d.way(l.Via, join(path, "via"), append([]string{Direct}, ways...))
}
