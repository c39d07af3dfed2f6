package names

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/byway-proxy/byway/relay"
)

// Config is what a [Server] is made of. Relay, Way and Upstreams are required, unless it has StandIns.
type Config struct {
	Relay     *relay.Relay
	Way       relay.Decision // to the upstreams
	Upstreams []string       // URLs: https, tls, tcp or udp, the first that works is asked
	StandIns  *StandIns      // what names have in place of their addresses; nil: their own
	Listener  string         // the address that it listens on

	// Blocked tells which names, in lower case and without a trailing dot, are kept from a
	// client. It is not asked about the root. Nil blocks all.
	Blocked func(name string, client net.Addr) bool

	// Listed tells it of the names that an answer leads on to: those that an alias (CNAME,
	// DNAME, HTTPS, SVCB) stands for. Nil is Blocked.
	Listed func(name string, client net.Addr) bool

	Zero  bool        // blocked names have the addresses 0.0.0.0 and ::, in place of none
	Cache int         // how many answers are kept at most; 0 keeps none
	TLS   *tls.Config // to the upstreams; nil for the system's roots
	Trace *Trace      // told how the upstreams fare; may be nil
}

// A Server answers DNS questions.
type Server struct {
	config    Config
	standings []*standing // of the upstreams
	crowd     crowd       // of questions that wait for an upstream
	ctx       context.Context
	end       context.CancelFunc
	wg        sync.WaitGroup // all that it started

	mu     sync.Mutex
	now    *resolver
	closed bool
}

// New returns a server for c, or says which upstream is none.
func New(c Config) (*Server, error) {
	alone := c.StandIns != nil && len(c.Upstreams) == 0
	if !alone && (c.Relay == nil || c.Way.Dialer == nil || len(c.Upstreams) == 0) {
		return nil, errors.New("names: no way to an upstream")
	}
	s := &Server{config: c}
	if c.Listed == nil {
		s.config.Listed = s.blocked
	}
	for _, raw := range c.Upstreams {
		s.standings = append(s.standings, newStanding(raw, c.Trace))
	}
	s.ctx, s.end = context.WithCancel(context.Background())
	r, err := s.resolver()
	if err != nil {
		return nil, err
	}
	s.now = r
	return s, nil
}

// resolver makes one that shares nothing with others.
func (s *Server) resolver() (*resolver, error) {
	r := newResolver(s.config.Cache)
	for i, raw := range s.config.Upstreams {
		u, err := newUpstream(raw, func(ctx context.Context, network, addr string) (net.Conn, error) {
			return s.dial(ctx, r, network, addr)
		}, s.config.TLS)
		if err != nil {
			return nil, err
		}
		r.servers = append(r.servers, &server{upstream: u, standing: s.standings[i]})
	}
	return r, nil
}

// dial opens a conn that ends with r at the latest.
func (s *Server) dial(ctx context.Context, r *resolver, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.ctx, cancel)()
	q := relay.Request{Network: network, Addr: addr, Listener: s.config.Listener, Decided: &s.config.Way}
	d, err := s.config.Relay.Route(ctx, q)
	if err != nil {
		return nil, err
	}
	conn, err := s.config.Relay.Dial(ctx, q, d)
	if err != nil {
		return nil, err
	}
	return tie(r.ctx, conn), nil
}

// Forget has all questions to come share nothing with those before: neither answers nor
// conns. It comes after [relay.Relay.NewIdentity].
func (s *Server) Forget() {
	r, err := s.resolver()
	if err != nil { // it was made before
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.now.retire(&s.wg)
		s.now = r
	}
}

// Close ends the questions under way and the conns to upstreams, and waits for all that
// Serve and ServePacket started. Who called them closes what they were given before.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	r := s.now
	s.mu.Unlock()
	s.end()
	r.Close()
	s.wg.Wait()
	return nil
}

func (s *Server) resolverNow() *resolver {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// immediately answers m if nobody is to be asked; nil says that somebody is.
func (s *Server) immediately(m *dns.Msg, client net.Addr) *dns.Msg {
	q, k := m.Question[0], keyOf(m)
	if zone := specialZone(k.name); zone != "" {
		return reply(m, answerSpecial(q, zone))
	}
	if zone := standZone(k.name); zone != "" && s.config.StandIns != nil {
		return reply(m, s.standsFor(q, zone, client))
	}
	if k.name != "." && s.blocked(strings.TrimSuffix(k.name, "."), client) {
		return reply(m, s.kept(q))
	}
	if q.Qtype == dns.TypeANY { // RFC 8482 §4.2
		return reply(m, &answer{records: []dns.RR{&dns.HINFO{
			Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeHINFO, Class: dns.ClassINET, Ttl: 3600}, Cpu: "RFC8482",
		}}})
	}
	if s.config.StandIns != nil {
		if a := s.standIn(q, k.name, client); a != nil {
			return reply(m, a)
		}
	}
	if a := s.resolverNow().cache.get(k, time.Now()); a != nil {
		return reply(m, s.judged(q, a, client))
	}
	return nil
}

// kept is the answer to a question about a name that is blocked.
func (s *Server) kept(q dns.Question) *answer {
	zone := strings.ToLower(q.Name)
	if s.config.Zero {
		return addresses(q, zone, "0.0.0.0", "::")
	}
	return missing(zone)
}

// judged returns a, unless it leads to a name that is kept from client: then the name that
// was asked for is, too. Trackers hide behind aliases in the zones of those who use them.
func (s *Server) judged(q dns.Question, a *answer, client net.Addr) *answer {
	for _, name := range a.leadsTo() {
		if s.config.Listed(name, client) {
			return s.kept(q)
		}
	}
	if s.config.StandIns != nil {
		return a.withoutAddresses()
	}
	return a
}

func (s *Server) blocked(name string, client net.Addr) bool {
	return s.config.Blocked == nil || s.config.Blocked(name, client)
}

// answer takes a client's message and has send called with the answer, if there is to be
// one: at once, or later in a goroutine of its own. After that, done is called in any case.
func (s *Server) answer(b []byte, client net.Addr, udp bool, send func([]byte), done func()) {
	m, r := read(b)
	if m != nil && r == nil {
		r = s.immediately(m, client)
	}
	finish := func(r *dns.Msg) {
		if out, err := pack(m, r, udp); err == nil {
			send(out)
		}
		done()
	}
	switch {
	case r != nil:
		finish(r)
		return
	case m == nil:
		done()
		return
	}
	leave := s.crowd.enter(client)
	if leave == nil {
		finish(refuse(m, dns.RcodeServerFailure))
		return
	}
	s.wg.Go(func() {
		a := s.ask(m)
		leave()
		finish(reply(m, s.judged(m.Question[0], a, client)))
	})
}

// ask asks upstreams.
func (s *Server) ask(m *dns.Msg) *answer {
	ctx, cancel := context.WithTimeout(s.ctx, questionLimit+time.Second)
	defer cancel()
	k := keyOf(m)
	for range 3 { // a resolver that was replaced just now takes no more questions
		if a := s.resolverNow().ask(ctx, k); a != nil {
			return a
		}
		if !s.resolverNow().refused() || ctx.Err() != nil {
			break
		}
	}
	return &answer{rcode: dns.RcodeServerFailure}
}
