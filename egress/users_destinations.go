package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/egress/users"
	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/route"
)

// destinations says where a user's tunnels may lead. Names are judged as they are given,
// addresses as they are given or as names resolve to.
type destinations struct{ allow, deny route.Table }

// anything is what the rules of a table lead to: that one fits is all that is asked.
var anything chain.Dialer = chain.DialerFunc(func(context.Context, string, string) (net.Conn, error) {
	return nil, errors.ErrUnsupported
})

func newDestinations(l *users.Limits) (*destinations, error) {
	d := &destinations{}
	for table, all := range map[*route.Table][]string{&d.allow: l.Allow, &d.deny: l.Deny} {
		for _, text := range all {
			m, err := parseDestination(text)
			if err != nil {
				return nil, err
			}
			*table = append(*table, route.Rule{If: m, To: anything})
		}
	}
	return d, nil
}

var withPorts = regexp.MustCompile(`^(.+):(\d+)(?:-(\d+))?$`)

// parseDestination parses an element of a user's allow or deny: a pattern of names as
// package route has them, an address, a range of addresses, or * for all; with ":443" or
// ":80-90" behind it for these ports alone. An IPv6 address with ports stands in brackets.
func parseDestination(text string) (m route.Match, err error) {
	what := text
	if _, err := netip.ParseAddr(text); err != nil {
		if p := withPorts.FindStringSubmatch(text); p != nil && !slices.Contains([]string{"keyword", "regexp", "full", "domain"}, p[1]) && !isPrefix(text) {
			what = p[1]
			ports, err := parsePorts(p[2], p[3])
			if err != nil {
				return m, fmt.Errorf("%q: %w", text, err)
			}
			m.Ports = []route.Ports{ports}
		}
	}
	if inner, ok := strings.CutPrefix(what, "["); ok {
		if what, ok = strings.CutSuffix(inner, "]"); !ok || !strings.Contains(what, ":") {
			return m, fmt.Errorf("%q is no address in brackets; write it like \"[fd00::1]:443\"", text)
		}
	}
	if what == "*" {
		return m, nil
	}
	if p, ok := prefixOf(what); ok {
		if p != p.Masked() || p.Addr().Is4In6() {
			return m, fmt.Errorf("%q is no range of addresses; write it like \"10.1.0.0/16\"", text)
		}
		m.CIDRs = route.NewCIDRs(p)
		return m, nil
	}
	if strings.ContainsAny(what, "/ ") && !strings.HasPrefix(what, "regexp:") || what == "" {
		return m, fmt.Errorf("%q is neither a name nor an address nor a range; write it like \"example.org\", \".example.org:443\" or \"10.1.0.0/16\"", text)
	}
	if m.Names, err = route.NewNames(what); err != nil {
		return m, fmt.Errorf("%q: %w", text, err)
	}
	return m, nil
}

func isPrefix(s string) bool {
	_, ok := prefixOf(s)
	return ok
}

func prefixOf(s string) (netip.Prefix, bool) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	p, err := netip.ParsePrefix(s)
	return p, err == nil
}

func parsePorts(from, to string) (route.Ports, error) {
	if to == "" {
		to = from
	}
	a, err1 := strconv.ParseUint(from, 10, 16)
	b, err2 := strconv.ParseUint(to, 10, 16)
	if err1 != nil || err2 != nil || a == 0 || b < a {
		return route.Ports{}, errors.New("the ports are none; write one from 1 to 65535, or two with a hyphen between")
	}
	return route.Ports{From: uint16(a), To: uint16(b)}, nil
}

// allows judges a target by the host that was asked for and the address that would be
// dialled, which is zero if it is not known here: then what depends on it is refused.
func (d *destinations) allows(host string, addr netip.Addr, port uint16) bool {
	asked := []string{host}
	if addr.IsValid() {
		asked = append(asked, addr.Unmap().String())
	} else if _, err := netip.ParseAddr(host); err != nil && hasRanges(d.deny) {
		return false
	}
	fits := func(t route.Table) bool {
		return slices.ContainsFunc(asked, func(host string) bool {
			q := relay.Request{Network: "tcp", Addr: net.JoinHostPort(host, strconv.Itoa(int(port)))}
			got, _ := t.Decide(q, time.Time{})
			return got.Dialer != nil
		})
	}
	return !fits(d.deny) && (len(d.allow) == 0 || fits(d.allow))
}

func hasRanges(t route.Table) bool {
	return slices.ContainsFunc(t, func(r route.Rule) bool { return r.If.CIDRs != nil })
}

// userRouter keeps each user to the destinations that it may reach.
type userRouter struct {
	relay.Router
	users *users.Set

	mu    sync.Mutex
	built map[string]*destinations
}

// maxBuilt is how many users' destinations are kept ready.
const maxBuilt = 1024

// Route is the router's decision, and a dialer to no more than the user may reach.
func (r *userRouter) Route(ctx context.Context, q relay.Request) relay.Decision {
	d := r.Router.Route(ctx, q)
	l, ok := r.users.Limits(q.User)
	switch {
	case !ok:
		return relay.Decision{Via: "block", Rule: "the user is gone"}
	case d.Dialer == nil || len(l.Allow)+len(l.Deny) == 0:
		return d
	}
	only, err := r.destinations(&l)
	if err != nil {
		return relay.Decision{Via: "block", Rule: err.Error()}
	}
	d.Ask = nil
	d.Dialer = limited{d.Dialer, only}
	return d
}

func (r *userRouter) destinations(l *users.Limits) (*destinations, error) {
	key := strings.Join(l.Allow, "\n") + "\n\n" + strings.Join(l.Deny, "\n")
	r.mu.Lock()
	defer r.mu.Unlock()
	if d := r.built[key]; d != nil {
		return d, nil
	}
	d, err := newDestinations(l)
	if err != nil {
		return nil, err
	}
	if r.built == nil || len(r.built) >= maxBuilt {
		r.built = make(map[string]*destinations)
	}
	r.built[key] = d
	return d, nil
}

// limited is a dialer to some destinations. Where it is not a [Policy] that resolves names,
// their addresses are not known.
type limited struct {
	to   chain.Dialer
	only *destinations
}

func (l limited) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if p, ok := l.to.(*Policy); ok {
		return p.dial(ctx, network, addr, l.only)
	}
	host, port, err := splitTarget(addr)
	if err != nil {
		return nil, err
	}
	known, _ := netip.ParseAddr(host)
	if !l.only.allows(host, known, port) {
		return nil, ErrNotAllowed
	}
	return l.to.DialContext(ctx, network, addr)
}

func splitTarget(addr string) (host string, port uint16, err error) {
	host, portText, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || n == 0 {
		return "", 0, ErrNotAllowed
	}
	return host, uint16(n), nil
}
