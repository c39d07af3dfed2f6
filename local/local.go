package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/internal/control"
	"github.com/byway-proxy/byway/internal/sockets"
	"github.com/byway-proxy/byway/local/lists"
	"github.com/byway-proxy/byway/local/users"
	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/socks"
)

// A Server is the local side of byway.
type Server struct {
	base  chain.Dialer
	log   *slog.Logger
	plan  atomic.Pointer[plan] // the one in force; see now
	relay *relay.Relay
	stand *standIns
	flows *socks.Flows
	queue *users.Queue // of passwords to hash
	gate  *gate
	wg    sync.WaitGroup // conns being served

	mu      sync.Mutex // of a change of the plan, and what is below
	in      *entrances
	control net.Listener // nil if there is none
	serving *serving     // nil before Serve
	over    bool         // no more reloads
	load    func() (*configs.Client, error)
	watcher Watcher
	sockets *sockets.Activated

	commands map[string]control.Command // of the control socket, besides its own
}

// New builds a server from c. base is what hop 1 of each chain and direct rules
// are dialled with, and nothing else; where a hop names an interface, a source address
// or the like, it must be a *net.Dialer or a [Binder]. Nothing is listened on or
// dialled yet. Errors have their place in the file.
func New(c *configs.Client, base chain.Dialer, log *slog.Logger) (*Server, error) {
	if base == nil {
		return nil, errors.New("local: no base dialer")
	}
	stand := &standIns{}
	base = stand.guard(base)
	p, err := build(c, base, nil, log)
	if err != nil {
		return nil, err
	}
	stand.on.Store(c.StandsIn())
	for i := range c.Listeners {
		if _, _, err := listenerTLS(c, i); err != nil { // read again by Listen
			p.close(nil)
			return nil, err
		}
	}
	for _, note := range p.notes {
		log.Warn(note)
	}
	s := &Server{base: base, log: log, stand: stand, queue: newQueue(), gate: newGate(p.limits), flows: &socks.Flows{}, in: &entrances{}}
	s.plan.Store(p)
	s.relay = &relay.Relay{Router: inForce{s}, Trace: stand.trace(Trace(log))}
	s.limit(p)
	return s, nil
}

// Inherit has the server take those of a that have the address of a listener or a forward, in place of
// opening its own. It comes before [Server.Listen].
func (s *Server) Inherit(a *sockets.Activated) { s.sockets = a }

// now returns the plan in force.
func (s *Server) now() *plan { return s.plan.Load() }

// inForce routes by the plan in force.
type inForce struct{ s *Server }

// Route is of relay.Router.
func (f inForce) Route(_ context.Context, q relay.Request) relay.Decision {
	d, _ := f.s.stand.decide(f.s.now(), q, time.Now())
	return d
}

// MayCarry is of relay.Scout.
func (f inForce) MayCarry(ctx context.Context, q relay.Request) bool {
	return f.s.now().table.MayCarry(ctx, q)
}

// Paths returns every way that traffic can take, in the order of the rules.
func (s *Server) Paths() []Path { return s.now().paths }

// Notes returns what the file asks for, and is done without.
func (s *Server) Notes() []string { return s.now().notes }

// Close gives back what New made, for those who do not call Serve.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeEntrances()
	for _, n := range s.in.names {
		_ = n.Close()
	}
	s.now().close(nil)
	return nil
}

// Listen opens the listeners and forwards and returns their addresses, in the order
// of the file, and opens those of [Server.DNS]. On failure none is open.
func (s *Server) Listen(ctx context.Context) (listeners, forwards []net.Addr, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.now()
	o, err := s.open(ctx, p, s.in)
	if err != nil {
		return nil, nil, err
	}
	if err := s.moveControl(ctx, p); err != nil {
		o.discard()
		return nil, nil, err
	}
	for _, cast := range o.casts {
		cast()
	}
	s.in = &o.now
	for i := range p.config.Listeners {
		listeners = append(listeners, s.in.doors[i].Addr())
	}
	return listeners, s.in.told, nil
}

// DNS returns the addresses of the DNS listeners, in the order of the file, once they are
// open.
func (s *Server) DNS() []net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []net.Addr
	for _, n := range s.in.names {
		all = append(all, n.packets.LocalAddr())
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
	run := s.begin(ctx, work)
	<-ctx.Done()
	s.mu.Lock()
	s.over = true
	in, p := s.in, s.now()
	s.closeEntrances()
	s.mu.Unlock()
	run.accepting.Wait()
	for _, n := range in.names {
		_ = n.Close() // conns to DNS servers that wait for another question
	}
	limit := p.config.Timeouts.Drain
	drain, cancel := context.WithTimeout(work, limit)
	defer cancel()
	if n := s.relay.Live(); n > 0 {
		s.log.Info("draining", "tunnels", n, "limit", limit)
	}
	for _, d := range in.doors {
		d.role.Load().retire() // conns to targets that wait for another request
	}
	err := s.relay.Shutdown(drain)
	cut() // handshakes under way
	s.wg.Wait()
	for _, u := range in.flows {
		u.wg.Wait()
	}
	run.end()
	p.close(nil)
	if err != nil {
		return fmt.Errorf("some tunnels did not end within %v and were cut", limit)
	}
	return nil
}

// begin starts to serve what is open.
func (s *Server) begin(ctx, work context.Context) *serving {
	s.mu.Lock()
	defer s.mu.Unlock()
	run := &serving{work: work, ctx: ctx, keepers: make(map[*lists.Source]context.CancelFunc), leaving: make(map[*leaver]struct{})}
	run.serve(s, *s.in)
	if l := s.control; l != nil {
		run.accept(func() { s.serveControl(ctx, l) })
	}
	run.keep(s, s.now().sources)
	s.serving = run
	return run
}

// closeEntrances closes all that is listened on. s.mu is held.
func (s *Server) closeEntrances() {
	if s.control != nil {
		_ = s.control.Close()
	}
	for _, c := range s.in.all() {
		_ = c.Close()
	}
}
