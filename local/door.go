package local

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/httpproxy"
	"github.com/byway-proxy/byway/local/users"
	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/socks"
)

// A door is an address that is listened on. What becomes of those who come in is told
// by its role, which may change while the door stays open.
type door struct {
	net.Listener
	key  string // of the address, as the file has it
	role atomic.Pointer[role]
}

// A role says what becomes of the conns of a door.
type role struct {
	of      made
	at      string // the door's address
	allowed peers
	limit   time.Duration
	tls     *tls.Config // nil takes clients in the clear

	// A listener for proxy requests has these,
	socks *socks.Server
	http  *httpproxy.Server

	// and a forward what each of its requests is, save for the client.
	request *relay.Request
}

// made is what the role of a listener is made of.
type made struct {
	listener configs.Listener
	limit    time.Duration
	cert     []byte // DER
}

// retire has those who are at rest leave: what they ask next is for another role.
func (r *role) retire() {
	if r != nil && r.http != nil {
		_ = r.http.Close()
	}
}

// A casting is a role whose door is not open yet.
type casting struct {
	made
	users users.Plain
	tls   *tls.Config
	leaf  *x509.Certificate
}

// cast prepares the role of listener i of p.
func (s *Server) cast(p *plan, i int) (*casting, error) {
	c := &p.config.Listeners[i]
	out := &casting{made: made{listener: *c, limit: p.config.Timeouts.Handshake}}
	var err error
	if out.users, err = usersOf(c, s.queue, out.limit); err != nil {
		return nil, p.config.Errorf(fmt.Sprintf("listen[%d].user", i), "%w", err)
	}
	if out.tls, out.leaf, err = listenerTLS(p.config, i); err != nil {
		return nil, err
	}
	if out.leaf != nil {
		out.cert = out.leaf.Raw
	}
	return out, nil
}

// at returns the role for a door at an address: that of before, which may be nil, if
// nothing is different.
func (c *casting) at(address string, s *Server, before *role) *role {
	if before != nil && before.at == address && reflect.DeepEqual(before.of, c.made) {
		return before
	}
	request := relay.Request{Listener: address, EarlyReply: c.listener.EarlyReply, Isolate: isolation(&c.listener)}
	r := &role{
		of:      c.made,
		at:      address,
		allowed: peersOf(&c.listener),
		limit:   c.limit,
		tls:     c.tls,
		socks:   &socks.Server{Relay: s.relay, Limit: c.limit, Flows: s.flows, Request: request},
		http:    &httpproxy.Server{Relay: s.relay, Limit: c.limit, Request: request, SOCKS: true, Certificate: c.leaf},
	}
	if c.tls != nil {
		r.socks.ListenPacket = noDatagrams
	}
	if c.users != nil {
		r.socks.Users, r.http.Users = c.users, c.users
	}
	return r
}

// isolation returns what the requests of a listener are kept apart by.
func isolation(c *configs.Listener) (all relay.Isolation) {
	for _, p := range c.Isolate {
		all |= map[configs.Part]relay.Isolation{
			configs.PartListener: relay.ByListener, configs.PartUser: relay.ByUser,
			configs.PartClient: relay.ByClient, configs.PartTarget: relay.ByTarget,
		}[p]
	}
	return all
}

// accept serves each conn of d in a goroutine of its own until d is closed.
func (s *Server) accept(ctx context.Context, d *door) {
	var pause time.Duration
	for {
		c, err := d.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Out of descriptors, say: what runs goes on, and may free some.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.log.Warn("accept", "listener", d.Addr().String(), "error", err, "pause", pause)
			time.Sleep(pause)
			continue
		}
		pause = 0
		r := d.role.Load()
		place := s.gate.enter(r.clientOf(c))
		if place == nil {
			s.refuse(r, c)
			continue
		}
		s.wg.Go(func() {
			defer place.leave()
			if fault := s.serveCaught(relay.WithHandshake(ctx, place.leave), d, r, c, place); fault != nil {
				_ = chain.Abort(c)
				s.relay.Trace.Bad(r.at, fault)
			}
		})
	}
}

// serveCaught is serveConn, whose panic is an error: it is the fault of one conn, and ends that.
func (s *Server) serveCaught(ctx context.Context, d *door, r *role, c net.Conn, place *ticket) (fault error) {
	defer chain.Caught(&fault)
	s.serveConn(ctx, d, r, c, place)
	return nil
}

// serveConn serves c, which came in when d had the role r.
func (s *Server) serveConn(ctx context.Context, d *door, r *role, c net.Conn, place *ticket) {
	c, err := r.allowed.admit(ctx, c, r.limit)
	if err != nil {
		s.relay.Trace.Bad(r.at, err)
		return
	}
	if !place.of(relay.ClientOf(c.RemoteAddr())) {
		s.refuse(r, c)
		return
	}
	if r.request != nil {
		s.serveForward(ctx, r, c)
		return
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() }) // a deadline would be overwritten
	speaks, conn, err := r.greet(ctx, c)
	stop()
	if err != nil {
		_ = c.Close()
		s.relay.Trace.Bad(r.at, err)
		return
	}
	if now := d.role.Load(); now.http != nil && (now.tls == nil) == (r.tls == nil) {
		r = now // what it asks for, it asks now
	}
	switch speaks {
	case speaksSOCKS:
		_ = r.socks.ServeConn(ctx, conn) // the trace has been told
	default:
		_ = r.http.ServeConn(ctx, conn)
	}
}
