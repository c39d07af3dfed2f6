package configs

import (
	"fmt"
	"slices"
	"strings"
)

// A way is what a list of chains or groups refers to by name.
type way struct {
	kind  string // hop, chain or group
	at    string // its path in the file
	names []string
	list  string // the key of names
}

// ways are all that have a name, by it.
type ways map[string]*way

// named collects what has a name, and fails for names that are taken.
func (c *Client) named(d *decoder) (w ways, chains []string) {
	w = make(ways)
	add := func(name string, one way) {
		if first := w[name]; first != nil {
			if first.kind != one.kind { // else unique says so
				d.fail(join(one.at, "name"), "is taken already by a %s, on line %d; choose another", first.kind, d.line(join(first.at, "name")))
			}
			return
		}
		if name != "" {
			w[name] = &one
		}
	}
	for i, h := range c.Hops {
		add(h.Name, way{kind: "hop", at: at("hop", i)})
	}
	for i, ch := range c.Chains {
		add(ch.Name, way{"chain", at("chain", i), ch.Hops, "hops"})
		chains = append(chains, ch.Name)
	}
	for i, g := range c.Groups {
		add(g.Name, way{"group", at("group", i), g.Members, "members"})
		chains = append(chains, g.Name)
	}
	return w, chains
}

// check fails for names that nothing has, and for circles.
func (w ways) check(d *decoder) {
	known := make([]string, 0, len(w))
	for name := range w {
		known = append(known, name)
	}
	slices.Sort(known)
	for _, one := range w {
		for i, name := range one.names {
			if name == "" || w[name] != nil {
				continue
			}
			advice := orElse(name, known, fmt.Sprintf("add a [[hop]] with name = %q", name))
			n, _ := d.find(at(join(one.at, one.list), i))
			d.errs = append(d.errs, d.errorAt(n.value, d.label(one.at), fmt.Errorf("hop %q is not defined; %s", name, advice)))
		}
	}
	done := make(map[string]bool)
	for _, name := range known {
		w.circle(d, name, nil, done)
	}
}

// circle fails where what is reached from name leads back. open is the way to it.
func (w ways) circle(d *decoder, name string, open []string, done map[string]bool) {
	one := w[name]
	if one == nil || done[name] {
		return
	}
	open = append(open, name)
	for i, next := range one.names {
		k := slices.Index(open, next)
		switch {
		case k < 0:
			w.circle(d, next, open, done)
		case k == len(open)-1:
			d.fail(at(join(one.at, one.list), i), "%q leads to itself; remove it", next)
		default:
			d.fail(at(join(one.at, one.list), i), "%q leads back to here, by %s; break the circle", next, strings.Join(open[k:], " > "))
		}
	}
	done[name] = true
}

// reserved fails for names that a route may say instead.
func (d *decoder) reserved(name, path string) {
	if name == Direct || name == Block {
		d.fail(join(path, "name"), "%q is what a route may say instead of a chain; choose another", name)
	}
}

// onceEach fails for a name that stands in a list already.
func (d *decoder) onceEach(names []string, path string) {
	for i, name := range names {
		if name != "" && slices.Contains(names[:i], name) {
			d.fail(at(path, i), "%q stands there twice; remove one", name)
		}
	}
}

func (ch *Chain) check(d *decoder, path string) {
	d.reserved(ch.Name, path)
	only := func(key string, mode Mode) {
		if d.has(join(path, key)) && ch.Mode != mode && !d.failed[join(path, "mode")] {
			d.fail(join(path, key), "is of no use to mode %q; it is for %q", ch.Mode, mode)
		}
	}
	only("least", ModeDynamic)
	only("draw", ModeRandom)
	only("per", ModeRandom)
	least, draw, spares := join(path, "least"), join(path, "draw"), join(path, "spares")
	of := len(ch.Hops)
	switch {
	case of == 0 || d.failed[join(path, "hops")]:
	case ch.Mode == ModeDynamic && d.has(least) && !d.failed[least] && (ch.Least < 1 || int(ch.Least) > of):
		d.fail(least, "%d of %d hops cannot be had; write a number from 1 to %d", ch.Least, of, of)
	case ch.Mode == ModeRandom && !d.has(draw):
		d.fail(path, "draw is missing; add draw = ..., how many of the hops a tunnel passes")
	case ch.Mode == ModeRandom && !d.failed[draw] && (ch.Draw < 1 || int(ch.Draw) > of):
		d.fail(draw, "%d of %d hops cannot be drawn; write a number from 1 to %d", ch.Draw, of, of)
	}
	if ch.Mode == ModeRandom {
		d.onceEach(ch.Hops, join(path, "hops"))
		if d.has(spares) && ch.Spares > 0 {
			d.fail(spares, "is of no use to mode %q, in which the last hop is seldom the same; remove it", ch.Mode)
		}
	}
	if ch.DNS != "" && !isTarget(ch.DNS) {
		d.fail(join(path, "dns"), `%q is not host:port; write it like "9.9.9.9:53"`, ch.DNS)
	}
}

// Heads returns the hops that can be the first on the way that has the name: those
// that this machine reaches itself. A name that is not defined has none.
func (c *Client) Heads(name string) []string {
	var heads []string
	seen := make(map[string]bool)
	var visit func(name string)
	all := func(names []string) {
		for _, n := range names {
			visit(n)
		}
	}
	visit = func(name string) {
		if seen[name] {
			return
		}
		seen[name] = true
		for i := range c.Hops {
			if c.Hops[i].Name == name {
				heads = append(heads, name)
			}
		}
		for i := range c.Chains {
			if ch := &c.Chains[i]; ch.Name == name {
				all(ch.Hops[:ch.mayLead()])
			}
		}
		for i := range c.Groups {
			if g := &c.Groups[i]; g.Name == name {
				all(g.Members)
			}
		}
	}
	visit(name)
	return heads
}

// mayLead returns how many of the hops, from the first on, can be the first of a tunnel.
func (ch *Chain) mayLead() int {
	n := len(ch.Hops)
	switch ch.Mode {
	case ModeDynamic:
		return max(n-max(int(ch.Least), 1)+1, 0)
	case ModeRandom:
		return n
	}
	return min(n, 1)
}

// first fails for hops that are about how this machine reaches them, and can stand
// behind others.
func (c *Client) first(d *decoder, path string, ch *Chain) {
	for i, name := range ch.Hops {
		alone := ch.Mode == ModeRandom && ch.Draw == 1
		if alone || i == 0 && ch.Mode != ModeRandom {
			continue
		}
		at := at(join(path, "hops"), i)
		for _, head := range c.Heads(name) {
			j := slices.IndexFunc(c.Hops, func(h Hop) bool { return h.Name == head })
			h := &c.Hops[j]
			who := fmt.Sprintf("hop %q", head)
			if head != name {
				who = fmt.Sprintf("%q begins with hop %q, which", name, head)
			}
			before, advice := fmt.Sprintf("%q before it", ch.Hops[max(i-1, 0)]), "put it first"
			if ch.Mode == ModeRandom {
				before, advice = "what is drawn before it", "take it out"
			}
			if h.OverUnix() {
				d.fail(at, "%s is reached by a unix socket of this machine, and %s is not on this machine's side; %s", who, before, advice)
			} else if keys := h.reaching(); len(keys) > 0 {
				d.fail(at, "%s has %s, for hops that this machine reaches itself; %s, or remove that", who, listed(keys), advice)
			}
		}
	}
}
