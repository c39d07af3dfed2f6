package route_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/route"
)

// TestAgainstPlainRules compares tables with the simplest reading of the same rules,
// on 10,000 requests.
func TestAgainstPlainRules(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	for range 200 {
		var table route.Table
		var plain []plainRule
		for i := range 1 + rnd.IntN(8) {
			p := randomRule(rnd)
			r := route.Rule{If: p.match(t), Place: fmt.Sprint(i)}
			if p.not != nil {
				r.Not = []route.Match{p.not.match(t)}
			}
			table, plain = append(table, r), append(plain, p)
		}
		for range 50 {
			q := request(fmt.Sprintf("%s %s:%d %s", pick(rnd, "tcp", "udp"), randomHost(rnd), 20+rnd.IntN(10), pick(rnd, "-", "alice", "bob")))
			want := slices.IndexFunc(plain, func(p plainRule) bool { return p.fits(q) })
			if d, got := table.Decide(q, monday); got != want {
				t.Fatalf("%+v is decided by %d (%+v), want %d of %+v", q, got, d, want, plain)
			}
		}
	}
}

// A plainRule is a rule read plainly: a regular expression for names, and so on.
type plainRule struct {
	pattern, user, network, cidr string
	from, to                     int
	inList                       bool
	not                          *plainRule
}

func pick(rnd *rand.Rand, all ...string) string { return all[rnd.IntN(len(all))] }

func randomHost(rnd *rand.Rand) string {
	return pick(rnd, "a.example", "w.a.example", "W.A.EXAMPLE.", "b.example", "x.w.b.example", "ads.b.example", "10.0.0.5", "10.1.0.5", "0xa.5", "other.test")
}

func randomRule(rnd *rand.Rand) plainRule {
	p := plainRule{from: 0, to: 65535}
	if rnd.IntN(2) == 0 {
		p.pattern = pick(rnd, "a.example", ".a.example", "*.a.example", "*.b.example", "keyword:ads", "regexp:^w", ".example", "*s.b.*")
		p.inList = rnd.IntN(3) == 0
	} else if rnd.IntN(2) == 0 {
		p.cidr = pick(rnd, "10.0.0.0/8", "10.0.0.0/24", "10.1.0.5/32")
		p.inList = rnd.IntN(3) == 0
	}
	if rnd.IntN(4) == 0 {
		p.user = pick(rnd, "alice", "bob")
	}
	if rnd.IntN(4) == 0 {
		p.network = pick(rnd, "tcp", "udp")
	}
	if rnd.IntN(3) == 0 {
		p.from = 20 + rnd.IntN(8)
		p.to = p.from + rnd.IntN(4)
	}
	if rnd.IntN(4) == 0 {
		n := randomRule(rnd)
		n.not, p.not = nil, &n
	}
	return p
}

func (p plainRule) match(t testing.TB) route.Match {
	m := route.Match{Network: p.network}
	switch {
	case p.inList && p.pattern != "":
		m.Lists = []*route.List{list(t, p.pattern+"\n")}
	case p.inList:
		m.Lists = []*route.List{list(t, p.cidr+"\n")}
	case p.pattern != "":
		m.Names = names(t, p.pattern)
	case p.cidr != "":
		m.CIDRs = route.NewCIDRs(netip.MustParsePrefix(p.cidr))
	}
	if p.user != "" {
		m.Users = []string{p.user}
	}
	if p.to < 65535 {
		m.Ports = []route.Ports{{uint16(p.from), uint16(p.to)}}
	}
	return m
}

func (p plainRule) fits(q relay.Request) bool {
	host, portText, _ := net.SplitHostPort(q.Addr)
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "0xa.5" {
		host = "10.0.0.5"
	}
	var port int
	_, _ = fmt.Sscan(portText, &port)
	addr, notAddr := netip.ParseAddr(host)
	ok := (p.user == "" || p.user == q.User) && (p.network == "" || p.network == q.Network) && p.from <= port && port <= p.to
	if p.pattern != "" {
		kind, rest, _ := strings.Cut(p.pattern, ":")
		expr := "^" + strings.ReplaceAll(regexp.QuoteMeta(p.pattern), `\*`, ".*") + "$"
		switch {
		case kind == "keyword":
			expr = rest
		case kind == "regexp":
			expr = rest
		case p.pattern[0] == '.':
			expr = `^(.*\.)?` + regexp.QuoteMeta(p.pattern[1:]) + "$"
		}
		ok = ok && notAddr != nil && regexp.MustCompile(expr).MatchString(host)
	}
	if p.cidr != "" {
		ok = ok && notAddr == nil && netip.MustParsePrefix(p.cidr).Contains(addr)
	}
	return ok && (p.not == nil || !p.not.fits(q))
}
