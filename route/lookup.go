package route

import (
	"context"
	"net"
	"net/netip"
	"strconv"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/relay"
)

// A Lookup is who resolves names for a rule: the far end of a chain, and never this
// machine.
type Lookup struct {
	Via    string // the chain's name
	Dialer chain.Dialer
}

// addr returns the address that conditions about addresses are asked about: that of
// the target, or what its name was resolved to for a rule that has names resolved.
// unknown is set if it is still to be.
func (q *question) addr() (a netip.Addr, unknown bool) {
	if q.target.Name == "" || q.lookup == nil {
		return q.target.Addr, false
	}
	return q.resolved, !q.resolved.IsValid()
}

// dial is what to dial in place of what the client wrote, if rule decides.
func (q *question) dial(rule *Rule) string {
	if rule.Lookup != nil && q.target.Name != "" && q.resolved.IsValid() {
		return net.JoinHostPort(q.resolved.String(), strconv.Itoa(int(q.target.Port)))
	}
	return q.target.Dial
}

// ask is the decision of a request for whose rule i a look-up is needed: it goes on
// from there. One that fails blocks.
func (t Table) ask(q *question, i int) relay.Decision {
	rule, request := &t[i], *q.request
	return relay.Decision{
		Via: viaBlock, Rule: rule.Place + ": the name is to be looked up through " + rule.Lookup.Via,
		Ask: func(ctx context.Context) relay.Decision {
			again := *q
			again.request = &request
			said, err := chain.Resolve(ctx, rule.Lookup.Dialer, q.target.Name)
			if err == nil {
				again.resolved, err = netip.ParseAddr(said)
			}
			if err != nil {
				return relay.Decision{Via: viaBlock, Rule: rule.Place + ": the look-up through " + rule.Lookup.Via + " failed"}
			}
			again.resolved = again.resolved.Unmap().WithZone("")
			d, _ := t.decide(&again, i)
			return d
		},
	}
}
