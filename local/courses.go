package local

import (
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/hop"
	"github.com/byway-proxy/byway/httpproxy"
)

// A Course is one way through the hops of a chain or group, without what chooses between
// several, for those who examine each hop. Its hops keep nothing ready.
type Course struct {
	Name string // of the chain or group, and of what was chosen
	Base chain.Dialer
	Hops []CourseHop
}

// A CourseHop is one hop of a [Course].
type CourseHop struct {
	chain.Hop
	Scheme string
	Addr   string      // host:port, or the path of a socket of this machine
	TLS    *tls.Config // with which an https hop is reached; nil for others
	Probe  string      // the probe's target of a group that it was chosen from; "" for none
}

// maxCourses bounds those of one chain.
const maxCourses = 64

// Targets returns the names of the chains and groups that something leads to, in the order
// of the file; if nothing does, all.
func (s *Server) Targets() []string {
	c := s.now().config
	var used []string
	for _, p := range s.now().paths {
		if p.To != configs.Direct && p.To != configs.Block && !slices.Contains(used, p.To) {
			used = append(used, p.To)
		}
	}
	if used != nil {
		return used
	}
	b := builder{c: c}
	return b.targets()
}

// Courses returns all ways that the chain or group called name can take: of a group each
// member, of a chain that draws its hops a few draws, so that each hop is in one.
func (s *Server) Courses(name string) ([]Course, error) {
	p := s.now()
	if p.chains[name] == nil {
		return nil, fmt.Errorf("there is no chain or group %q; there are %s", name, strings.Join((&builder{c: p.config}).targets(), ", "))
	}
	b, err := newBuilder(p.config, s.base, func(string) {})
	if err != nil {
		return nil, err
	}
	var all []Course
	for _, line := range b.lines(name) {
		c := Course{Name: name, Base: boundBase{s.base}}
		if len(line.chosen) > 0 {
			c.Name += " by " + strings.Join(line.chosen, ", ")
		}
		for k, one := range line.hops {
			h, err := b.courseHop(one, k == 0)
			if err != nil {
				return nil, err
			}
			h.Probe = line.probe
			c.Hops = append(c.Hops, h)
		}
		all = append(all, c)
	}
	return all, nil
}

// A line is hops one behind the other.
type line struct {
	hops   []string
	chosen []string // of groups
	probe  string
}

func (l line) then(other line) line {
	l.hops = append(slices.Clone(l.hops), other.hops...)
	l.chosen = append(slices.Clone(l.chosen), other.chosen...)
	if other.probe != "" {
		l.probe = other.probe
	}
	return l
}

// lines returns what name can come to, maxCourses at most.
func (b *builder) lines(name string) (all []line) {
	switch one := b.named[name].(type) {
	case *configs.Hop:
		return []line{{hops: []string{name}}}
	case *configs.Group:
		for _, m := range one.Members {
			for _, l := range b.lines(m) {
				l.chosen = append([]string{m}, l.chosen...)
				l.probe = one.Probe.Target
				all = append(all, l)
			}
		}
	case *configs.Chain:
		if one.Mode != configs.ModeRandom {
			return b.inLine(one.Hops)
		}
		for i := range one.Hops { // windows of as many as are drawn, so that each hop is in one
			var drawn []string
			for j := range int(one.Draw) { //nolint:gosec // no more than there are hops
				drawn = append(drawn, one.Hops[(i+j)%len(one.Hops)])
			}
			for _, l := range b.inLine(drawn) {
				l.chosen = append([]string{strings.Join(drawn, " > ")}, l.chosen...)
				all = append(all, l)
			}
		}
	}
	return all[:min(len(all), maxCourses)]
}

// inLine returns what names can come to, one behind the other.
func (b *builder) inLine(names []string) []line {
	all := []line{{}}
	for _, name := range names {
		var longer []line
		for _, l := range all {
			for _, next := range b.lines(name) {
				longer = append(longer, l.then(next))
			}
		}
		all = longer[:min(len(longer), maxCourses)]
	}
	return all
}

func (b *builder) courseHop(name string, first bool) (CourseHop, error) {
	i := b.places[name]
	c := &b.c.Hops[i]
	h, err := b.single(i, spot{at: fmt.Sprintf("hop[%d]", i), first: first})
	if err != nil {
		return CourseHop{}, err
	}
	out := CourseHop{Hop: h, Scheme: c.URL.Scheme, Addr: hop.Addr(c.URL)}
	if c.OverUnix() {
		out.Addr = c.URL.Path
	}
	if c.URL.Scheme != "https" {
		return out, nil
	}
	if out.TLS, err = buildTLS(b.c, i); err != nil {
		return CourseHop{}, err
	}
	if out.TLS == nil {
		out.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if out.TLS.ServerName == "" {
		out.TLS.ServerName, _, _ = net.SplitHostPort(out.Addr)
	}
	if len(c.TLS.Pins) > 0 {
		var pins [][32]byte
		for _, pin := range c.TLS.Pins {
			pins = append(pins, pin)
		}
		httpproxy.PinSPKI(out.TLS, pins...)
	}
	return out, nil
}
