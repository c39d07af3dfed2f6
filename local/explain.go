package local

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/route"
)

// An Explanation tells where a request would go, and why.
type Explanation struct {
	Decision relay.Decision
	Target   route.Target // the form that rules compare; zero if there is none
	Path     Path         // zero if no rule decided
	Names    string       // who would resolve the target's name; "" for an address
}

// Explain tells where q would go at a time, without any traffic. It asks what the
// relay asks.
func (s *Server) Explain(q relay.Request, at time.Time) Explanation {
	d, i := s.stand.decide(s.now(), q, at)
	e := Explanation{Decision: d}
	e.Target, _ = route.ParseTarget(q.Meant(d).Addr)
	if i >= 0 {
		e.Path = s.now().paths[i]
	}
	if e.Target.Name != "" {
		e.Names = s.resolver(d, e.Path)
	}
	return e
}

// resolver tells who resolves the name of a target.
func (s *Server) resolver(d relay.Decision, p Path) string {
	switch {
	case d.Ask != nil:
		return "the far end of a chain, to decide; never here"
	case d.Dialer == nil:
		return "nobody: it is blocked"
	case d.Via == configs.Direct:
		if c := s.now().config; c.Resolve.Direct != "" {
			return "the DNS server " + ResolverOf(c) + ", asked from here"
		}
		return "this system's resolver"
	case len(p.Hops) == 0:
		return "the far end of " + d.Via + ", never here"
	}
	last := p.Hops[len(p.Hops)-1]
	for i := range s.now().config.Hops {
		if h := &s.now().config.Hops[i]; h.Name == last && strings.HasPrefix(h.URL.Scheme, "socks4") && !strings.HasPrefix(h.URL.Scheme, "socks4a") {
			return "nobody: the last hop, " + last + ", takes no names (SOCKS4), so the request fails"
		}
	}
	return "the last hop, " + last + ", never here"
}

// Lint tells what is in the file and has no effect: rules that an earlier one leaves
// nothing to, and what no rule leads to.
func (s *Server) Lint() []*configs.Error {
	c := s.now().config
	var all []*configs.Error
	warn := func(path, format string, args ...any) { all = append(all, c.Errorf(path, format, args...)) }
	for _, shadow := range s.now().table.Shadowed() {
		warn(fmt.Sprintf("route[%d]", shadow.Rule), "is never reached, as the route at %s fits all that this one does; remove it, or put it first",
			s.now().table[shadow.By].Place)
	}
	named, lists := s.used()
	for i := range c.Chains {
		if !named[c.Chains[i].Name] {
			warn(fmt.Sprintf("chain[%d]", i), "is not used; lead a route to it, or remove it")
		}
	}
	for i := range c.Groups {
		if !named[c.Groups[i].Name] {
			warn(fmt.Sprintf("group[%d]", i), "is not used; lead a route to it, or remove it")
		}
	}
	for i := range c.Hops {
		if !named[c.Hops[i].Name] {
			warn(fmt.Sprintf("hop[%d]", i), "is in no chain and in no group; put it into one, or remove it")
		}
	}
	for i := range c.Lists {
		if !lists[c.Lists[i].Name] {
			warn(fmt.Sprintf("list[%d]", i), "is named by no route; name it, or remove it")
		}
	}
	slices.SortStableFunc(all, func(a, b *configs.Error) int { return a.Line - b.Line })
	return all
}

// used returns the names of the hops, chains and groups that something leads to, and
// those of the lists that a route refers to.
func (s *Server) used() (named, lists map[string]bool) {
	named, lists = make(map[string]bool), make(map[string]bool)
	use := func(in map[string]bool, names ...string) {
		for _, name := range names {
			in[name] = true
		}
	}
	for _, r := range s.now().config.Routes {
		use(named, r.To, r.Lookup)
		for _, m := range append([]configs.Match{r.Match}, r.Not...) {
			use(lists, m.Lists...)
		}
	}
	for _, f := range s.now().config.Forwards {
		use(named, f.To)
	}
	for _, n := range s.now().config.DNS {
		use(named, n.Via)
	}
	for _, l := range s.now().config.Lists {
		use(named, l.Via)
	}
	for _, ch := range s.now().config.Chains {
		use(named, ch.Hops...)
	}
	for _, g := range s.now().config.Groups {
		use(named, g.Members...)
	}
	return named, lists
}
