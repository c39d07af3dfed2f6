package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/hop"
	"github.com/byway-proxy/byway/local/names"
	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/route"
)

// standIns are the addresses that DNS listeners gave to names in place of their own. From the
// first configuration on that has such a listener, nothing is dialled in their ranges.
type standIns struct {
	names.StandIns
	on atomic.Bool // never off again: programs remember addresses
}

// noName is what stands for the rule where an address stands for nothing.
const noName = "an address that stands for names, and for none now"

// decide is the decision of p for q at a time, as of [route.Table.Decide]. An address that
// stands for a name is that name to the rules, and to whoever is dialled. One that stands for
// nothing is blocked, and so is one that a look-up came to, whatever the rules say.
func (s *standIns) decide(p *plan, q relay.Request, at time.Time) (relay.Decision, int) {
	if !s.on.Load() {
		return p.table.Decide(q, at)
	}
	target := ""
	if t, err := route.ParseTarget(q.Addr); err == nil && names.IsStandIn(t.Addr) {
		name, ok := s.Name(t.Addr)
		if !ok {
			return relay.Decision{Via: configs.Block, Rule: noName}, -1
		}
		target = net.JoinHostPort(name, strconv.Itoa(int(t.Port)))
		q.Addr = target
	}
	d, i := p.table.Decide(q, at)
	return standing(d, target), i
}

// standing is d for a request whose address stands for target, if that is not empty.
func standing(d relay.Decision, target string) relay.Decision {
	if ask := d.Ask; ask != nil {
		d.Ask = func(ctx context.Context) relay.Decision { return standing(ask(ctx), target) }
	}
	d.Target = target
	if d.Dialer != nil && isStandIn(cmp.Or(d.Addr, target)) {
		return relay.Decision{Via: configs.Block, Rule: d.Rule + ": " + noName}
	}
	return d
}

// isStandIn reports whether host:port is an address that stands for names, in any notation.
func isStandIn(addr string) bool {
	t, err := route.ParseTarget(addr)
	return err == nil && names.IsStandIn(t.Addr)
}

// trace is t, and keeps the addresses of tunnels from being reused.
func (s *standIns) trace(t *relay.Trace) *relay.Trace {
	stand := func(q relay.Request, d relay.Decision, note func(netip.Addr)) {
		if d.Target == "" {
			return
		}
		if t, err := route.ParseTarget(q.Addr); err == nil {
			note(t.Addr)
		}
	}
	opened, closed := t.Opened, t.Closed
	t.Opened = func(q relay.Request, d relay.Decision, took time.Duration) {
		stand(q, d, s.Hold)
		opened(q, d, took)
	}
	t.Closed = func(q relay.Request, d relay.Decision, stats relay.Stats) {
		stand(q, d, s.Release)
		closed(q, d, stats)
	}
	return t
}

// errStandIn is what becomes of a name that this system takes for a stand-in: its resolver
// is byway itself.
var errStandIn = errors.New("the system's resolver gave an address that stands for the name; name a server by [resolve]")

// guard returns base so that it does not connect to an address that stands for names, whoever
// says that a name has it. It knows how to do that for *net.Dialer alone; others are tests'.
func (s *standIns) guard(base chain.Dialer) chain.Dialer {
	d, ok := base.(*net.Dialer)
	if !ok || d.Control != nil {
		return base
	}
	guarded, before := *d, d.ControlContext
	guarded.ControlContext = func(ctx context.Context, network, addr string, c syscall.RawConn) error {
		if s.on.Load() && !strings.HasPrefix(network, "unix") {
			if at, err := netip.ParseAddrPort(addr); err != nil || names.IsStandIn(at.Addr()) {
				return errStandIn
			}
		}
		if before != nil {
			return before(ctx, network, addr, c)
		}
		return nil
	}
	return &guarded
}

// noStandIns fails if c names such an address for what is dialled without a rule.
func noStandIns(c *configs.Client) error {
	if !c.StandsIn() {
		return nil
	}
	dialled := make(map[string]string) // host:port by path
	dialled["resolve.direct"] = hostOf(string(c.Resolve.Direct))
	if c.Resolve.Address.IsValid() {
		dialled["resolve.address"] = net.JoinHostPort(c.Resolve.Address.String(), "1")
	}
	for i := range c.Hops {
		if h := &c.Hops[i]; !h.OverUnix() {
			dialled[fmt.Sprintf("hop[%d].url", i)] = hop.Addr(h.URL)
		}
	}
	for i := range c.Groups {
		target := c.Groups[i].Probe.Target
		if strings.Contains(target, "://") {
			target = hostOf(target)
		}
		dialled[fmt.Sprintf("group[%d].probe.target", i)] = target
	}
	for i := range c.Chains {
		dialled[fmt.Sprintf("chain[%d].dns", i)] = c.Chains[i].DNS
	}
	for i := range c.Forwards {
		dialled[fmt.Sprintf("forward[%d].target", i)] = c.Forwards[i].Target
	}
	for i := range c.DNS {
		for j, u := range c.DNS[i].Upstreams {
			dialled[fmt.Sprintf("dns[%d].upstream[%d]", i, j)] = hostOf(string(u))
		}
	}
	for i := range c.Lists {
		dialled[fmt.Sprintf("list[%d].url", i)] = hostOf(string(c.Lists[i].URL))
	}
	for _, path := range slices.Sorted(maps.Keys(dialled)) {
		if isStandIn(dialled[path]) {
			return c.Errorf(path, "is an address that stands for names, which a [[dns]] hands out; write the name, or another address")
		}
	}
	return nil
}

// hostOf returns the host of a URL, with a port.
func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return net.JoinHostPort(u.Hostname(), "1")
}
