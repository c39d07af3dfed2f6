package route

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/byway-proxy/byway/relay"
)

// Match is the conditions of a rule. Each that is set must be met: by one at least
// of the values that it lists.
//
// Names and lists' names are about targets given as names; CIDRs, countries and lists'
// addresses about those given as addresses, and never about what a name resolves to.
type Match struct {
	Names     *Names
	Lists     []*List
	CIDRs     *CIDRs
	Countries *Countries
	Ports     []Ports
	Network   string   // "tcp" or "udp"
	Listeners []string // addresses, as configured
	Users     []string
	Clients   *CIDRs
	Hours     *Hours
}

func (m *Match) isZero() bool {
	return m.Names == nil && m.Lists == nil && m.CIDRs == nil && m.Countries == nil && m.Ports == nil && m.Network == "" &&
		m.Listeners == nil && m.Users == nil && m.Clients == nil && m.Hours == nil
}

// A question is a request as rules see it.
type question struct {
	request *relay.Request
	target  Target
	at      time.Time
	absent  *List // a list without contents that the answer may depend on

	lookup   *Lookup    // of the rule that is asked
	resolved netip.Addr // what the target's name was resolved to

	noTarget, noPort, noNetwork bool // what is not known
}

// An answer is whether a rule fits. min is "and", max is "or", and yes-a is "not".
type answer int8

const (
	no answer = iota
	maybe
	yes
)

// fits asks the cheap conditions first.
func (m *Match) fits(q *question) answer {
	switch {
	case m.Network != "" && !q.noNetwork && m.Network != q.request.Network,
		m.Ports != nil && !q.noPort && !slices.ContainsFunc(m.Ports, func(p Ports) bool { return p.From <= q.target.Port && q.target.Port <= p.To }),
		m.Users != nil && !slices.Contains(m.Users, q.request.User),
		m.Listeners != nil && !slices.ContainsFunc(m.Listeners, func(l string) bool { return sameListener(l, q.request.Listener) }),
		m.Clients != nil && !m.Clients.has(clientOf(q.request)),
		m.Hours != nil && !m.Hours.has(q.at):
		return no
	}
	a := yes
	if m.Network != "" && q.noNetwork || m.Ports != nil && q.noPort {
		a = maybe
	}
	if m.Names == nil && m.CIDRs == nil && m.Countries == nil && m.Lists == nil {
		return a
	}
	if q.noTarget {
		return maybe
	}
	return min(a, m.fitsTarget(q))
}

func (m *Match) fitsTarget(q *question) answer {
	if m.Names != nil && (q.target.Name == "" || !m.Names.names.has(q.target.Name)) {
		return no
	}
	addr, unknown := q.addr()
	a := yes
	switch {
	case m.CIDRs == nil && m.Countries == nil:
	case unknown:
		a = maybe
	case m.CIDRs != nil && !m.CIDRs.has(addr), m.Countries != nil && !m.Countries.has(addr):
		return no
	}
	if m.Lists != nil {
		a = min(a, q.inLists(m.Lists, addr, unknown))
	}
	return a
}

// inLists also asks for the address of a name that has one.
func (q *question) inLists(lists []*List, addr netip.Addr, unknown bool) answer {
	a := no
	for _, l := range lists {
		c := l.contents.Load()
		switch {
		case c == nil:
			a, q.absent = maybe, l
		case c.has(&q.target), addr.IsValid() && c.addrs.has(addr):
			return yes
		case unknown && c.addrs != nil:
			a = maybe
		}
	}
	return a
}

// sameListener compares a listener's address as it is configured with the one that
// it has: "localhost:1080", ":1080", "unix:/run/byway.sock".
func sameListener(configured, actual string) bool {
	if configured == actual || configured == "unix:"+actual {
		return true
	}
	host, port, err := net.SplitHostPort(configured)
	at, atErr := netip.ParseAddrPort(actual)
	if err != nil || atErr != nil {
		return false
	}
	same := false
	switch a, err := netip.ParseAddr(host); {
	case err == nil:
		same = a == at.Addr().Unmap() || a.IsUnspecified() && at.Addr().IsUnspecified()
	case host == "":
		same = at.Addr().IsUnspecified()
	case strings.EqualFold(host, "localhost"):
		same = at.Addr().IsLoopback()
	}
	_, atPort, _ := net.SplitHostPort(actual)
	return same && (port == atPort || port == "0")
}

// clientOf returns the client's address, or the zero Addr.
func clientOf(r *relay.Request) netip.Addr {
	if r.Client == nil {
		return netip.Addr{}
	}
	if tcp, ok := r.Client.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().WithZone("")
	}
	at, err := netip.ParseAddrPort(r.Client.String())
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap().WithZone("")
}

// Ports is a range of ports, both ends included.
type Ports struct{ From, To uint16 }

// CIDRs is a set of addresses.
type CIDRs struct {
	*prefixes
	all []netip.Prefix
}

// NewCIDRs returns the set of the addresses in the prefixes given.
func NewCIDRs(all ...netip.Prefix) *CIDRs {
	var s spans
	for _, p := range all {
		s.add(spanOf(p))
	}
	return &CIDRs{newPrefixes(&s), all}
}

// Names is a set of names by their patterns.
type Names struct {
	names names
	all   []string
}

// NewNames returns the set of the names that one of the patterns fits:
//
//	example.org        the name itself
//	.example.org       it and all below it
//	*.example.org      all below it; * may stand anywhere, for any run of characters
//	keyword:ads        names with "ads" in them
//	regexp:^ads?[0-9]  names that RE2 finds a match in
//	full:, domain:     as the first two
//
// Letters beyond ASCII are taken in their ASCII form. An error is a [*PatternError].
func NewNames(patterns ...string) (*Names, error) {
	n := &Names{all: patterns}
	for i, p := range patterns {
		if err := n.names.add(p, exactly); err != nil {
			return nil, &PatternError{i, err}
		}
	}
	return n, nil
}

// A PatternError is about one of several patterns.
type PatternError struct {
	Index int
	Err   error // what is wrong; what to do
}

func (e *PatternError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *PatternError) Unwrap() error { return e.Err }
