package local

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/httpproxy"
	"github.com/byway-proxy/byway/local/users"
	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/socks"
)

// A Server is the local side of byway.
type Server struct {
	config    *configs.Client
	log       *slog.Logger
	plan      *plan
	relay     *relay.Relay
	flows     *socks.Flows
	listeners []*listener
	forwards  []*udpForward // those of datagrams
	names     []*nameServer
	control   net.Listener // nil if there is none
	queue     *users.Queue // of passwords to hash
	gate      *gate
	wg        sync.WaitGroup // conns being served
}

// New builds a server from c. base is what hop 1 of each chain and direct rules
// are dialled with, and nothing else; where a hop names an interface, a source address
// or the like, it must be a *net.Dialer or a [Binder]. Nothing is listened on or
// dialled yet. Errors have their place in the file.
func New(c *configs.Client, base chain.Dialer, log *slog.Logger) (*Server, error) {
	if base == nil {
		return nil, errors.New("local: no base dialer")
	}
	p, err := build(c, base)
	if err != nil {
		return nil, err
	}
	for i := range c.Listeners {
		if _, _, err := listenerTLS(c, i); err != nil { // read again by Listen
			p.close()
			return nil, err
		}
	}
	for _, note := range p.notes {
		log.Warn(note)
	}
	limits := limitsOf(c.Limits, openFiles())
	s := &Server{config: c, log: log, plan: p, queue: newQueue(), gate: newGate(limits)}
	s.flows = &socks.Flows{PerAssociation: int(c.Limits.UDPFlowsPerAssociation), Total: int(c.Limits.UDPFlows)}
	s.relay = &relay.Relay{
		Router:        p.table,
		DialLimit:     c.Timeouts.Dial,
		IdleLimit:     c.Timeouts.Idle,
		FlowIdleLimit: c.Timeouts.UDPIdle,
		Limit:         int(limits.Tunnels),          //nolint:gosec // less than 2^31
		ClientLimit:   int(limits.TunnelsPerClient), //nolint:gosec // less than 2^31
		Trace:         Trace(log),
	}
	return s, nil
}

// Paths returns every way that traffic can take, in the order of the rules.
func (s *Server) Paths() []Path { return s.plan.paths }

// Notes returns what the file asks for, and is done without.
func (s *Server) Notes() []string { return s.plan.notes }

// Close gives back what New made, for those who do not call Serve.
func (s *Server) Close() error {
	s.closeListeners()
	s.closeNames()
	s.plan.close()
	return nil
}

// Listen opens the listeners and forwards and returns their addresses, in the order
// of the file, and opens those of [Server.DNS]. On failure none is open.
func (s *Server) Listen(ctx context.Context) (listeners, forwards []net.Addr, err error) {
	defer func() {
		if err != nil {
			s.closeListeners()
		}
	}()
	for i := range s.config.Listeners {
		l, err := s.listen(ctx, i)
		if err != nil {
			return nil, nil, err
		}
		s.listeners = append(s.listeners, l)
		listeners = append(listeners, l.Addr())
	}
	for i := range s.config.Forwards {
		at, err := s.forward(ctx, i)
		if err != nil {
			return nil, nil, err
		}
		forwards = append(forwards, at)
	}
	for i := range s.config.DNS {
		if err := s.listenDNS(ctx, i); err != nil {
			return nil, nil, err
		}
	}
	if err := s.listenControl(ctx); err != nil {
		return nil, nil, err
	}
	return listeners, forwards, nil
}

func (s *Server) listen(ctx context.Context, i int) (*listener, error) {
	c := &s.config.Listeners[i]
	users, err := usersOf(c, s.queue, s.config.Timeouts.Handshake)
	if err != nil {
		return nil, s.config.Errorf(fmt.Sprintf("listen[%d].user", i), "%w", err)
	}
	config, cert, err := listenerTLS(s.config, i)
	if err != nil {
		return nil, err
	}
	l, allowed, err := s.open(ctx, i)
	if err != nil {
		return nil, err
	}
	limit := s.config.Timeouts.Handshake
	request := relay.Request{Listener: l.Addr().String(), EarlyReply: c.EarlyReply, Isolate: isolation(c)}
	out := &listener{
		Listener: l,
		allowed:  allowed,
		limit:    limit,
		tls:      config,
		socks:    &socks.Server{Relay: s.relay, Limit: limit, Flows: s.flows, Request: request},
		http:     &httpproxy.Server{Relay: s.relay, Limit: limit, Request: request, SOCKS: true, Certificate: cert},
	}
	if config != nil {
		out.socks.ListenPacket = noDatagrams
	}
	if users != nil {
		out.socks.Users, out.http.Users = users, users
	}
	return out, nil
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

// Serve serves until ctx ends; then it takes no more connections, and waits for
// the live tunnels until the drain limit, after which it cuts them. [Server.Listen]
// comes first. It returns nil if every tunnel ended by itself.
func (s *Server) Serve(ctx context.Context) error {
	// Tunnels outlive ctx: they have the time of the drain.
	work, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	var accepting sync.WaitGroup
	for _, l := range s.listeners {
		accepting.Go(func() { s.accept(work, l) })
	}
	for _, u := range s.forwards {
		accepting.Go(func() { u.serve(work) })
	}
	for _, n := range s.names {
		accepting.Go(n.serve)
	}
	if s.control != nil {
		accepting.Go(func() { s.serveControl(ctx) })
	}
	accepting.Go(func() { s.keepLists(ctx) })
	<-ctx.Done()
	s.closeListeners()
	accepting.Wait()
	s.closeNames() // conns to DNS servers that wait for another question
	drain, cancel := context.WithTimeout(work, s.config.Timeouts.Drain)
	defer cancel()
	if n := s.relay.Live(); n > 0 {
		s.log.Info("draining", "tunnels", n, "limit", s.config.Timeouts.Drain)
	}
	for _, l := range s.listeners {
		if l.http != nil {
			_ = l.http.Close() // conns to targets that wait for another request
		}
	}
	err := s.relay.Shutdown(drain)
	cut() // handshakes under way
	s.wg.Wait()
	for _, u := range s.forwards {
		u.wg.Wait()
	}
	s.plan.close()
	if err != nil {
		return fmt.Errorf("some tunnels did not end within %v and were cut", s.config.Timeouts.Drain)
	}
	return nil
}

func (s *Server) closeListeners() {
	if s.control != nil {
		_ = s.control.Close()
	}
	for _, l := range s.listeners {
		_ = l.Close()
	}
	for _, u := range s.forwards {
		_ = u.Close()
	}
	for _, n := range s.names {
		n.deafen()
	}
}

type listener struct {
	net.Listener
	allowed peers
	limit   time.Duration
	tls     *tls.Config // nil takes clients in the clear

	// A listener for proxy requests has these,
	socks *socks.Server
	http  *httpproxy.Server

	// and a forward what each of its requests is, save for the client.
	request *relay.Request
}

// accept serves each conn of l in a goroutine of its own until l is closed.
func (s *Server) accept(ctx context.Context, l *listener) {
	var pause time.Duration
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Out of descriptors, say: what runs goes on, and may free some.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.log.Warn("accept", "listener", l.Addr().String(), "error", err, "pause", pause)
			time.Sleep(pause)
			continue
		}
		pause = 0
		place := s.gate.enter(l.clientOf(c))
		if place == nil {
			s.refuse(l, c)
			continue
		}
		s.wg.Go(func() {
			defer place.leave()
			s.serveConn(relay.WithHandshake(ctx, place.leave), l, c, place)
		})
	}
}

func (s *Server) serveConn(ctx context.Context, l *listener, c net.Conn, place *ticket) {
	c, err := l.allowed.admit(ctx, c, l.limit)
	if err != nil {
		s.relay.Trace.Bad(l.Addr().String(), err)
		return
	}
	if !place.of(relay.ClientOf(c.RemoteAddr())) {
		s.refuse(l, c)
		return
	}
	if l.request != nil {
		s.serveForward(ctx, l, c)
		return
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() }) // a deadline would be overwritten
	speaks, conn, err := l.greet(ctx, c)
	stop()
	if err != nil {
		_ = c.Close()
		s.relay.Trace.Bad(l.Addr().String(), err)
		return
	}
	switch speaks {
	case speaksSOCKS:
		_ = l.socks.ServeConn(ctx, conn) // the trace has been told
	default:
		_ = l.http.ServeConn(ctx, conn)
	}
}
