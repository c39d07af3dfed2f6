package upstream

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/byway-proxy/byway/egress/front/place"
)

// Why no server takes a request.
var (
	ErrNone = errors.New("no server is left that could take the request")
	ErrBusy = errors.New("all servers have as many requests as they take")
)

// A Server is one of the servers behind a site. What can be set stays as it is once the server
// is in a pool.
type Server struct {
	Name   string   // for people and for [Hash]: where it is, and nothing else is there
	URL    *url.URL // see [NewClient]; its path precedes that of requests
	Client Client

	Weight float64 // its share beside those of others; 0 means 1
	Limit  int     // how many requests it takes at a time; 0 for any number

	Region string       // its name, or empty; servers of one are as near to anybody
	At     *place.Point // where it is; nil if that is not known

	state // of the pool it is in
}

// Settings are those of a [Pool]. The zero value is useful: two choices, no limit that
// is not a server's, nobody ejected.
type Settings struct {
	Pick Pick

	// By is what a request is hashed by, of [Hash].
	By func(Wish) string

	Near Near // of [Nearest]

	// Cookie is the name of one by which a client comes back to the server that
	// it had, as long as that can take it; empty for none. Its value is made with CookieKey, and tells
	// nothing of the server.
	Cookie    string
	CookieKey []byte

	// SlowStart is the time in which a server that was away comes to its share.
	SlowStart time.Duration

	// Queue is how many requests wait, for QueueLimit at most, when all servers have
	// as many as they take.
	Queue      int
	QueueLimit time.Duration

	// Budget is how many requests may be sent once more, as a share of all.
	Budget float64

	Eject  Eject
	Health Health // of what kind its checks are; the zero value for none
	Trace  *Trace // may be nil
}

// A Trace is told of servers; its funcs, each of which may be nil, must return soon.
type Trace struct {
	Answered func(s *Server, status int, head time.Duration) // a response's head came after that time
	Failed   func(s *Server, err error)                      // there was none
	Ejected  func(s *Server, until time.Time)                // it gets no requests until then
	Health   func(s *Server, up bool, err error)             // its state changed, by its checks; err if it is down

	Unresolved func(name string, err error) // a name of [Pool.Follow] was not found this time
}

// A Pool is the servers that share the requests of a site.
type Pool struct {
	set Settings

	mu      sync.Mutex
	servers []*Server
	queue   []*waiter
	budget  budget
	closed  bool

	resolved chan struct{} // closed once the first look-up has ended; nil if there is none

	turn       int     // of Nearest
	quickest   float64 // milliseconds that an answer needs beside the way, at quickestOf
	quickestOf *Server

	ctx    context.Context // of what runs in the background
	cancel context.CancelFunc
	run    sync.WaitGroup
}

// NewPool returns a pool of servers, whose health is looked after from now on, until Close.
func NewPool(servers []*Server, set Settings) *Pool {
	p := &Pool{set: set}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.budget.start(set.Budget)
	p.SetServers(servers)
	return p
}

// SetServers has the pool be of servers. Those that it had before keep their state; requests that
// are at the others come to their end there.
func (p *Pool) SetServers(servers []*Server) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	for _, s := range p.servers {
		if !slices.Contains(servers, s) {
			s.leave()
		}
	}
	for _, s := range servers {
		if !slices.Contains(p.servers, s) {
			if len(p.servers) > 0 {
				s.since = time.Now() // it comes into a pool that works
			}
			p.join(s)
		}
	}
	p.servers = slices.Clone(servers)
	p.wake()
}

// join begins to look after s. The pool is locked.
func (p *Pool) join(s *Server) {
	ctx, cancel := context.WithCancel(p.ctx)
	s.leaves = cancel
	if p.set.Cookie != "" {
		s.cookie = cookieOf(p.set.CookieKey, s.Name)
	}
	if p.set.Health.Interval > 0 {
		p.run.Go(func() { p.lookAfter(ctx, s) })
	}
}

// Servers returns the servers of the pool as they are now.
func (p *Pool) Servers() []Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	all := make([]Status, len(p.servers))
	for i, s := range p.servers {
		all[i] = Status{Server: s, Active: s.active, Latency: time.Duration(s.latency.at(now)), Up: !s.down, Ejected: s.ejected}
	}
	return all
}

// A Status is how a server is.
type Status struct {
	Server  *Server
	Active  int           // requests
	Latency time.Duration // until the head of a response, lately; 0 if unknown
	Up      bool          // by its checks
	Ejected bool          // for failing requests
}

// A Wish is a request that wants a server.
type Wish struct {
	Request *http.Request
	Client  netip.Addr // whom it is for; invalid if unknown
	Tried   []*Server  // those that have failed it

	country string
}

// Pick returns the server that is to take a request, which is at it until the lease is
// released. It waits if all have as many as they take and there is room to wait, and returns [ErrBusy], [ErrNone] or the error of the request's ctx.
func (p *Pool) Pick(w Wish) (*Lease, error) {
	if p.set.Pick == Nearest {
		w.country = p.country(w)
	}
	p.mu.Lock()
	if resolved := p.resolved; resolved != nil {
		p.mu.Unlock()
		select {
		case <-resolved:
		case <-w.Request.Context().Done():
			return nil, context.Cause(w.Request.Context())
		case <-p.ctx.Done():
			return nil, ErrNone
		}
		p.mu.Lock()
		p.resolved = nil
	}
	if len(w.Tried) == 0 {
		p.budget.request()
	}
	if len(p.queue) == 0 {
		l, err := p.take(w)
		if err != ErrBusy {
			p.mu.Unlock()
			return l, err
		}
	}
	if len(p.queue) >= p.set.Queue {
		p.mu.Unlock()
		return nil, ErrBusy
	}
	me := &waiter{ready: make(chan struct{}, 1)}
	p.queue = append(p.queue, me)
	p.mu.Unlock()
	return p.wait(me, w)
}

// take chooses a server. The pool is locked.
func (p *Pool) take(w Wish) (*Lease, error) {
	now := time.Now()
	var free, last [8]*Server // no more on the stack: few pools are larger
	fit, rest := free[:0], last[:0]
	busy := false
	for _, s := range p.servers {
		switch {
		case slices.Contains(w.Tried, s):
		case s.Limit > 0 && s.active >= s.Limit:
			busy = true
		case s.down, s.ejected && (now.Before(s.until) || s.trial):
			if s.down || p.set.Eject.Share < 1 {
				rest = append(rest, s)
			}
		default:
			fit = append(fit, s)
		}
	}
	switch {
	case len(fit) > 0:
	case busy:
		return nil, ErrBusy
	case len(rest) > 0:
		fit = rest // better to try what is taken for dead than to fail untried
	default:
		return nil, ErrNone
	}
	s := p.choose(fit, w, now)
	s.active++
	if s.ejected {
		s.trial = true
	}
	return &Lease{Server: s, Cookie: p.cookieFor(s, w), pool: p, begun: now, country: w.country}, nil
}

// Again reports whether a request may be sent once more: not many are, lest servers that can't
// keep up get more to do for it.
func (p *Pool) Again() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.budget.again(time.Now())
}

// Close ends what runs in the background and closes connections that are not in use.
// Requests that wait fail.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	for _, s := range p.servers {
		s.leave()
	}
	all := p.servers
	p.servers = nil
	for range p.queue {
		p.wake()
	}
	p.mu.Unlock()
	p.cancel()
	p.run.Wait()
	for _, s := range all {
		s.Client.Close()
	}
}
