package relay

import (
	"context"
	"net"
	"syscall"
	"time"
)

// Limits are those of a [Relay]; the fields are told there.
type Limits struct {
	DialLimit, IdleLimit, FlowIdleLimit time.Duration
	Limit, ClientLimit                  int
}

// SetLimits changes the limits of a relay that may be serving. Tunnels that are open
// keep the idle limit they began with, and none is ended for being one too many.
func (r *Relay) SetLimits(l Limits) { r.changed.Store(&l) }

// Limits returns those in force, with the defaults filled in.
func (r *Relay) Limits() Limits {
	l := Limits{r.DialLimit, r.IdleLimit, r.FlowIdleLimit, r.Limit, r.ClientLimit}
	if changed := r.changed.Load(); changed != nil {
		l = *changed
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&l.DialLimit, 30 * time.Second}, {&l.IdleLimit, 10 * time.Minute}, {&l.FlowIdleLimit, time.Minute}} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	return l
}

func (r *Relay) dialLimit() time.Duration     { return r.Limits().DialLimit }
func (r *Relay) idleLimit() time.Duration     { return r.Limits().IdleLimit }
func (r *Relay) flowIdleLimit() time.Duration { return r.Limits().FlowIdleLimit }

// ErrLimit is the error of a request beyond [Relay.Limit] or [Relay.ClientLimit].
// Its errno is EMFILE.
var ErrLimit error = limited{}

type limited struct{}

func (limited) Error() string        { return "too many tunnels at once" }
func (limited) Is(target error) bool { return target == syscall.EMFILE }

// ClientOf returns what tells clients apart by where they are, to be compared: an IP
// address without its port; what else a says, as it says it; nil if a is nil.
func ClientOf(a net.Addr) any {
	switch a := a.(type) {
	case nil:
		return nil
	case *net.TCPAddr:
		return a.AddrPort().Addr().Unmap()
	case *net.UDPAddr:
		return a.AddrPort().Addr().Unmap()
	}
	return a.String()
}

type handshakeKey struct{}

// WithHandshake returns a ctx for the conn of a client. over is called, in the
// goroutine that serves it, whenever a request of the client's has become a tunnel of
// [Relay.Serve]'s, before the dial, or is kept waiting ([Drop]): from then on another limit
// counts it. A request that is refused, or waits for a look-up, is still a handshake.
func WithHandshake(ctx context.Context, over func()) context.Context {
	return context.WithValue(ctx, handshakeKey{}, over)
}

// handshakeOver tells whoever waits for it.
func handshakeOver(ctx context.Context) {
	if over, ok := ctx.Value(handshakeKey{}).(func()); ok {
		over()
	}
}

// room takes a place for t among those of its client, unless there are too many.
// The register's lock is held.
func (l *register) room(t *tunnel) bool {
	limits := t.relay.Limits()
	all, each := limits.Limit, limits.ClientLimit
	if all > 0 && len(l.tunnels) >= all {
		return false
	}
	client := ClientOf(t.request.Client)
	if each <= 0 || client == nil {
		return true
	}
	if l.clients[client] >= each {
		return false
	}
	if l.clients == nil {
		l.clients = make(map[any]int)
	}
	l.clients[client]++
	t.client = client
	return true
}

// vacate gives t's place back. The register's lock is held.
func (l *register) vacate(t *tunnel) {
	if t.client == nil {
		return
	}
	if l.clients[t.client]--; l.clients[t.client] <= 0 {
		delete(l.clients, t.client)
	}
	t.client = nil
}
