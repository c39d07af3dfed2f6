package httpproxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/h2"
)

// HopTLS returns the hop of an https:// proxy at addr, host:port. With a proxy
// that has HTTP/2, tunnels are streams of a few sessions that are kept for the
// next ones; with others each tunnel has a TLS conn of its own. Sessions and TLS
// tickets are each identity's own (chain.IdentityOf). The dialer belonging to the
// hop is an io.Closer that closes the sessions.
//
// Refusals are *chain.Error around a *[StatusError].
func HopTLS(addr string, o HopOptions) chain.Hop {
	o.fill("https", addr)
	return chain.Hop{Name: o.Name, Wrap: func(next chain.Dialer) (chain.Dialer, error) {
		if err := checkHop(addr); err != nil {
			return nil, err
		}
		common := &common{budget: h2.NewBudget(windowBudget)}
		return chain.PerIdentity(maxIdentities, func() (chain.Dialer, error) {
			return newTLSHop(next, addr, o, common), nil
		}), nil
	}}
}

// windowBudget is how much the windows of a hop's tunnels may grow in all, in bytes:
// what they could come to hold for apps that read slowly.
const windowBudget = 256 << 20

// common is what the identities of a hop share.
type common struct {
	budget  *h2.Budget
	tcpOnly Lack // of UDP
	noThree Lack // of sessions on HTTP/3, for flows
	winner  winner
}

func newTLSHop(next chain.Dialer, addr string, o HopOptions, c *common) *tlsHop {
	cfg := o.TLS.Clone()
	if cfg == nil {
		cfg = &tls.Config{}
	}
	cfg.NextProtos = []string{"h2", "http/1.1"}
	// Not shared: a ticket would tie this path to another.
	cfg.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	if cfg.ServerName == "" {
		cfg.ServerName, _, _ = net.SplitHostPort(addr)
	}
	h := &tlsHop{next: next, addr: addr, o: o, tls: cfg, common: c}
	h.pool.idle, h.pool.ahead = o.IdleLimit, h.prepare
	if o.HTTP3 != nil {
		h.three = o.HTTP3(next)
	}
	return h
}

type tlsHop struct {
	next chain.Dialer
	addr string
	o    HopOptions
	tls  *tls.Config
	*common
	three  HTTP3 // nil if there is none
	pool   pool
	single atomic.Bool // the proxy was last seen to have no HTTP/2

	mute Lack // of names that it resolves

	mu      sync.Mutex
	opening *opening
	id      chain.Identity // whose the sessions are
	failed  time.Time      // when a session that no dial waited for last could not be had
	widened time.Time      // when one was last asked for on account of its windows
}

// attempts is how many sessions a dial may find dead before it is an error.
const attempts = 3

func (h *tlsHop) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if network == "udp" {
		if h.flowsByThree(ctx) {
			return h.three.DialContext(ctx, network, addr)
		}
		return h.flow(ctx, addr)
	}
	if err := checkTarget(network, addr); err != nil {
		return nil, err
	}
	three, conn, err := h.byThree(ctx)
	switch {
	case err != nil:
		return nil, err
	case three:
		return h.three.DialContext(ctx, network, addr)
	case conn != nil:
		return connectOver(ctx, conn, addr, &h.o)
	}
	for try := 1; ; try++ {
		s, conn, err := h.session(ctx)
		if err != nil {
			return nil, err
		}
		if conn != nil && h.o.Padding {
			_ = conn.Close()
			return nil, chain.Fail(chain.PhaseConnect, errNoPadding)
		}
		if conn != nil {
			return connectOver(ctx, conn, addr, &h.o)
		}
		conn, err = h.open(ctx, s, addr)
		var stale staleError
		if !errors.As(err, &stale) {
			return conn, err
		}
		if try == attempts || chain.FirstDataOf(ctx).Spent() {
			return nil, chain.Fail(chain.PhaseConnect, stale.error)
		}
	}
}

// Close closes the sessions: at once those without tunnels, the others when
// their last tunnel ends.
func (h *tlsHop) Close() error {
	h.pool.close()
	if h.three != nil {
		_ = h.three.Close()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.opening != nil && h.opening.ahead {
		h.opening.cancel(net.ErrClosed)
	}
	return nil
}

// Holdings is of [chain.HoldingsOf].
func (h *tlsHop) Holdings() chain.Holdings {
	h.pool.mu.Lock()
	defer h.pool.mu.Unlock()
	return chain.Holdings{Sessions: len(h.pool.sessions)}
}

// session returns a session with a slot reserved, or a TLS conn to a proxy that
// has HTTP/1.1 only.
func (h *tlsHop) session(ctx context.Context) (*h2.Session, net.Conn, error) {
	for {
		if s := h.pool.reserve(); s != nil {
			return s, nil, nil
		}
		if h.single.Load() {
			s, conn, err := h.start(ctx)
			if err != nil || conn != nil {
				return nil, conn, err
			}
			if s.Reserve() {
				return s, nil, nil
			}
			continue
		}
		conn, err := h.join(ctx)
		if err != nil || conn != nil {
			return nil, conn, err
		}
	}
}

// start opens a conn to the proxy and makes it a session of the pool if it can be one.
func (h *tlsHop) start(ctx context.Context) (*h2.Session, net.Conn, error) {
	// A session outlives the tunnel for which it is opened, and so does its count.
	below := new(batched)
	raw, err := dial(chain.WithLease(ctx, &below.lease), h.next, h.addr, h.o.DialLimit)
	if err != nil {
		below.lease.Release()
		return nil, nil, err
	}
	below.Conn = raw
	conn := tls.Client(below, h.tls)
	if err := chain.Handshake(ctx, raw, h.o.HandshakeLimit, conn.Handshake); err != nil {
		_ = below.Close()
		return nil, nil, chain.Fail(chain.PhaseTLS, err)
	}
	if conn.ConnectionState().NegotiatedProtocol != "h2" {
		h.single.Store(true)
		return nil, conn, nil
	}
	h.single.Store(false)
	s := h2.Start(&sessionConn{conn, below}, h2.Options{PingAfter: h.o.PingAfter, Budget: h.budget, Changed: h.pool.changed})
	if !h.pool.add(s) {
		s.CloseIdle()
		return nil, nil, chain.Fail(chain.PhaseConnect, net.ErrClosed)
	}
	return s, nil, nil
}

// An opening is a session on its way, for which several dials may wait.
type opening struct {
	done    chan struct{}
	waiters int  // guarded by the hop's mu
	ahead   bool // the pool wants it: it is one of the waiters
	cancel  context.CancelCauseFunc
	conn    chan net.Conn // holds a conn that is no session, for the first who takes it
	err     error
}

// join waits for a session to be opened, and opens one if none is on its way. It
// returns nothing if there is one now, and a conn if the proxy has HTTP/1.1 only.
func (h *tlsHop) join(ctx context.Context) (net.Conn, error) {
	h.mu.Lock()
	o := h.opening
	if o == nil {
		o = h.begin(context.WithoutCancel(ctx))
	}
	h.id = chain.IdentityOf(ctx)
	o.waiters++
	h.mu.Unlock()

	var err error
	late := false
	select {
	case <-o.done:
		err = o.err
	case <-ctx.Done():
		late, err = true, chain.Fail(chain.PhaseDial, context.Cause(ctx))
	}
	conn, last := h.leave(ctx, o, err == nil)
	if late && last {
		err = chain.GivenUp(ctx, o.done, func() error { return o.err })
	}
	return conn, err
}

// leave ends a wait. What nobody waits for is given up. A conn that is there is returned if
// it is wanted, and else left to others.
func (h *tlsHop) leave(ctx context.Context, o *opening, wanted bool) (conn net.Conn, last bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	o.waiters--
	last = o.waiters == 0
	if last {
		o.cancel(context.Cause(ctx))
		if h.opening == o {
			h.opening = nil // nobody joins what was cancelled
		}
	}
	select {
	case conn = <-o.conn:
	default:
		return nil, last
	}
	switch {
	case wanted:
		return conn, last
	case last:
		_ = conn.Close()
	default:
		o.conn <- conn
	}
	return nil, last
}

// begin begins to open a session; mu is held.
func (h *tlsHop) begin(ctx context.Context) *opening {
	ctx, cancel := context.WithCancelCause(ctx)
	o := &opening{done: make(chan struct{}), cancel: cancel, conn: make(chan net.Conn, 1)}
	h.opening = o
	go h.run(ctx, o)
	return o
}

// prepare begins to open a session that no dial waits for, unless one is on its way
// or could not be had just now.
func (h *tlsHop) prepare() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.opening == nil && time.Since(h.failed) > h.o.DialLimit {
		o := h.begin(chain.WithIdentity(context.Background(), h.id))
		o.ahead, o.waiters = true, 1
	}
}

func (h *tlsHop) run(ctx context.Context, o *opening) {
	_, conn, err := h.start(ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	if o.ahead {
		o.waiters--
		if err != nil {
			h.failed = time.Now()
		}
	}
	if h.opening == o {
		h.opening = nil
	}
	o.err = err
	switch {
	case conn == nil:
	case o.waiters == 0:
		_ = conn.Close()
	default:
		o.conn <- conn
	}
	close(o.done)
}
