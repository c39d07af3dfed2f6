// Package route decides where requests go: rules in the order of the file, the
// first that fits wins, and a request that none fits is blocked.
package route

import (
	"context"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/relay"
)

// A Rule leads all requests one way.
type Rule struct {
	// To is where: a dialer and the name by which people know it. A Rule without
	// a dialer blocks.
	To chain.Dialer

	// Via is the chain's name, "direct" or "block".
	Via string

	// Place is where the rule stands, file:line.
	Place string
}

// Table is a list of rules. It is a relay.Router; an empty one blocks everything.
type Table []Rule

// Route returns the decision of the first rule that fits.
func (t Table) Route(_ context.Context, _ relay.Request) relay.Decision {
	if len(t) == 0 {
		return relay.Decision{Via: "block", Rule: "no route fits"}
	}
	r := t[0]
	return relay.Decision{Dialer: r.To, Via: r.Via, Rule: r.Place}
}

// MayCarry reports whether a rule leads to a dialer that carries r's network. It is
// of relay.Scout.
func (t Table) MayCarry(_ context.Context, r relay.Request) bool {
	return len(t) > 0 && chain.Carries(t[0].To, r.Network)
}
