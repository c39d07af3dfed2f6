package chain

import (
	"context"
	"sync"
	"sync/atomic"
)

// An Identity says for whom a tunnel is opened. Groups and random chains choose
// by it, and what is kept between dials (spares, sessions, TLS tickets) is kept for
// each Key apart. It goes to no hop.
type Identity struct {
	Key    string // what streams are isolated by: tunnels of different keys have nothing in common
	User   string // the authenticated user, or ""
	Client string // the client's address, without a port
	Target string // host:port as the client wrote it

	// Until, if not nil, ends when no more tunnels are to come for Key. What is kept for it
	// is let go then: spares and idle sessions at once, others with their last tunnel.
	Until context.Context //nolint:containedctx // it is no dial's
}

// whenOver calls f, on a goroutine of its own, when no more tunnels are to come for id, unless it is
// stopped before.
func (id Identity) whenOver(f func()) (stop func() bool) {
	if id.Until == nil {
		return func() bool { return true }
	}
	return context.AfterFunc(id.Until, f)
}

// WithIdentity returns a ctx whose dials are for id.
func WithIdentity(ctx context.Context, id Identity) context.Context {
	return &tunnelContext{Context: ctx, id: id, lease: LeaseOf(ctx)}
}

// IdentityOf returns the identity that ctx carries, or the zero Identity.
func IdentityOf(ctx context.Context) Identity {
	if t := tunnelOf(ctx); t != nil {
		return t.id
	}
	return Identity{}
}

// A Lease is held by a tunnel as long as it is open: groups count the tunnels of
// their members by it, since the conns that they return must stay raw. The zero
// Lease is ready for use.
//
//	var lease chain.Lease
//	defer lease.Release() // at the tunnel's end
//	conn, err := c.DialContext(chain.WithLease(ctx, &lease), network, addr)
//
// Without one, a group knows of dials in progress alone. A dial that failed may
// hold what a group on its way opened until the Release.
type Lease struct {
	mu    sync.Mutex
	over  bool
	held  []*atomic.Int64
	first [2]*atomic.Int64
}

// Release ends the tunnel's count with every group. It may be called again.
func (l *Lease) Release() {
	l.mu.Lock()
	held := l.held
	l.over, l.held = true, nil
	l.mu.Unlock()
	for _, n := range held {
		n.Add(-1)
	}
}

// hold takes over one count of n. A nil or released Lease gives it back.
func (l *Lease) hold(n *atomic.Int64) {
	if l != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
	}
	if l == nil || l.over {
		n.Add(-1)
		return
	}
	if l.held == nil {
		l.held = l.first[:0]
	}
	l.held = append(l.held, n)
}

// adopt takes over the counts of other, which is released by that.
func (l *Lease) adopt(other *Lease) {
	other.mu.Lock()
	held := other.held
	other.over, other.held = true, nil
	other.mu.Unlock()
	for _, n := range held {
		l.hold(n)
	}
}

// WithLease returns a ctx whose dials are for the tunnel that holds l.
func WithLease(ctx context.Context, l *Lease) context.Context {
	return &tunnelContext{Context: ctx, id: IdentityOf(ctx), lease: l}
}

// LeaseOf returns the lease that ctx carries, or nil.
func LeaseOf(ctx context.Context) *Lease {
	if t := tunnelOf(ctx); t != nil {
		return t.lease
	}
	return nil
}

type tunnelKey struct{}

// tunnelContext carries both, in one allocation each.
type tunnelContext struct {
	context.Context
	id    Identity
	lease *Lease
}

func (t *tunnelContext) Value(key any) any {
	if key == (tunnelKey{}) {
		return t
	}
	return t.Context.Value(key)
}

func tunnelOf(ctx context.Context) *tunnelContext {
	t, _ := ctx.Value(tunnelKey{}).(*tunnelContext)
	return t
}
