package relay

import (
	"context"
	"net"
	"syscall"
)

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
	all, each := t.relay.Limit, t.relay.ClientLimit
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
