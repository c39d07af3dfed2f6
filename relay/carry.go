package relay

import "context"

// A Scout is a [Router] that can tell of requests whose target is not known yet.
type Scout interface {
	// MayCarry reports whether some target of r's Network could be reached for r,
	// whose Addr is empty. What it says is no decision: each target is routed on its
	// own, and may be blocked.
	MayCarry(ctx context.Context, r Request) bool
}

// MayCarry asks the Router, for a listener that has to promise a network before it
// knows a target (RFC 1928 §7). A Router that is no [Scout] promises nothing.
func (r *Relay) MayCarry(ctx context.Context, q Request) bool {
	s, ok := r.Router.(Scout)
	return ok && s.MayCarry(ctx, q)
}
