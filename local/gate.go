package local

import (
	"errors"
	"net"
	"sync"
	"time"

	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/relay"
)

var errCrowd = errors.New("too many connections without a request at once; see [limits]")

// A gate bounds the connections that have not come as far as a request: of those
// a tunnel's is none any more.
type gate struct {
	mu        sync.Mutex
	all, each int // of each client
	in        int
	clients   map[any]int
	told      time.Time // when the last refusal was logged
}

func newGate(l configs.Limits) *gate {
	g := &gate{clients: make(map[any]int)}
	g.set(l)
	return g
}

// set changes the bounds. Nobody who is in has to leave.
func (g *gate) set(l configs.Limits) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all, g.each = int(l.Handshakes), int(l.HandshakesPerClient) //nolint:gosec // configs gives no others
}

// A ticket is the place of one connection.
type ticket struct {
	g      *gate
	client any // nil: counted in all alone
	left   bool
}

// enter takes a place for a connection, or returns nil if there is none. A client
// of nil is told later, by of.
func (g *gate) enter(client any) *ticket {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.in >= g.all || client != nil && g.clients[client] >= g.each {
		return nil
	}
	g.in++
	if client != nil {
		g.clients[client]++
	}
	return &ticket{g: g, client: client}
}

// of tells whose the connection is, if it is nobody's so far. It reports whether that
// client has a place.
func (t *ticket) of(client any) bool {
	t.g.mu.Lock()
	defer t.g.mu.Unlock()
	if t.client != nil || t.left || client == nil {
		return true
	}
	if t.g.clients[client] >= t.g.each {
		return false
	}
	t.g.clients[client]++
	t.client = client
	return true
}

// leave gives the place back, once.
func (t *ticket) leave() {
	t.g.mu.Lock()
	defer t.g.mu.Unlock()
	if t.left {
		return
	}
	t.left = true
	t.g.in--
	if t.client == nil {
		return
	}
	if t.g.clients[t.client]--; t.g.clients[t.client] <= 0 {
		delete(t.g.clients, t.client)
	}
}

// tell reports whether a refusal is to be logged: once a minute is enough.
func (g *gate) tell() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := time.Now(); g.told.IsZero() || now.Sub(g.told) >= time.Minute {
		g.told = now
		return true
	}
	return false
}

// refuse closes a connection for which there is no place, without reading from it.
func (s *Server) refuse(r *role, c net.Conn) {
	_ = c.Close()
	s.relay.Trace.Bad(r.at, errCrowd)
	if s.gate.tell() {
		s.log.Warn("connections are closed", "listener", r.at, "error", errCrowd)
	}
}

// clientOf tells whom a new connection counts for, or nil where that is told later.
func (r *role) clientOf(c net.Conn) any {
	if r.allowed.unix || r.allowed.isProxy(c) {
		return nil
	}
	return relay.ClientOf(c.RemoteAddr())
}

// limitsOf is l with what is left to us: by how many files this process may have
// open. A tunnel takes two, and a bulk one a few more for a while.
func limitsOf(l configs.Limits, files int) configs.Limits {
	orElse := func(n *uint, other int) {
		if *n == 0 {
			*n = uint(max(other, 1)) //nolint:gosec // not negative
		}
	}
	orElse(&l.Tunnels, files/8*3)
	orElse(&l.TunnelsPerClient, int(l.Tunnels)/2) //nolint:gosec // configs gives no others
	orElse(&l.Handshakes, min(files/8, 4096))
	orElse(&l.HandshakesPerClient, int(l.Handshakes)/2) //nolint:gosec // configs gives no others
	return l
}
