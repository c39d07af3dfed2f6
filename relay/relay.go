package relay

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/byway-proxy/byway/chain"
)

// A Request is what a client asks for.
type Request struct {
	Network  string   // "tcp" or "udp"
	Addr     string   // host:port as the client wrote it, a name unresolved
	User     string   // the authenticated user, or ""
	Client   net.Addr // the client's address; may be nil
	Listener string   // the address of the listener it came to

	// Decided, if not nil, is where it goes, and no Router is asked: its listener has
	// one way out, as a port forward has.
	Decided *Decision

	// EarlyReply has the client told yes before the dial, so that what it says
	// first travels along with the request (chain.FirstData). What the dial comes to is
	// lost to it: if it fails, the client's end is aborted. What the Router blocks is
	// refused in the protocol's words all the same. It means nothing for "udp".
	EarlyReply bool

	Isolate Isolation // of whom it is kept apart
	Label   string    // what a client that nobody asked said of itself (see Label): no proof of anything, it isolates
}

// A Pending is a request that is parsed and not yet answered. Exactly one of
// Accept and Reject is called, once. Both answer within a limit of their own.
type Pending interface {
	Request() Request

	// Accept says yes and hands over the client's end, which the caller then
	// closes. After an error there is nothing to close.
	Accept() (net.Conn, error)

	// Reject says no: err decides the words (see [chain.Errno] and [ErrBlocked]).
	// The client's end is closed when it returns.
	Reject(err error) error
}

// A Decision tells where a request goes. Its zero value blocks.
type Decision struct {
	Dialer chain.Dialer // opens the connection; nil blocks
	Via    string       // "block", "direct", or the chain's name
	Rule   string       // the rule that decided, for people

	// Addr, if not empty, is dialled in place of the request's Addr: the same target in
	// a form that is read the same everywhere.
	Addr string

	// Target, if not empty, is the host:port that the request's Addr stands for: an address
	// that was handed out for a name, say. It takes its place, save in answers to the client.
	Target string

	Block Block // what the client gets if there is no Dialer

	// Ask, if not nil, makes the decision, which depends on what a look-up through a
	// chain will say. Without a call of it the request is blocked.
	Ask func(ctx context.Context) Decision
}

// Meant returns q with the target that its Addr stands for, according to d.
func (q Request) Meant(d Decision) Request {
	if d.Target != "" {
		q.Addr = d.Target
	}
	return q
}

// A Router decides. It must not touch the network nor wait, and is safe for concurrent use.
type Router interface {
	Route(ctx context.Context, r Request) Decision
}

// RouterFunc is a function that is a [Router].
type RouterFunc func(ctx context.Context, r Request) Decision

// Route calls f.
func (f RouterFunc) Route(ctx context.Context, r Request) Decision { return f(ctx, r) }

// ErrClosed is the error of a request that comes after [Relay.Shutdown] or Close.
var ErrClosed = errors.New("shutting down")

// errDropped is what the Trace is told of a tunnel that ended since its Pending panicked, which
// whoever catches the panic tells in full.
var errDropped = errors.New("a fault of byway")

// A Relay serves requests. Router is required: without one everything is
// blocked. The fields must not change once it serves; [Relay.SetLimits] is for the limits.
type Relay struct {
	Router Router

	// DialLimit bounds the opening of a tunnel; 0 means 30 s.
	DialLimit time.Duration

	// IdleLimit ends a tunnel in which no byte moved, either way, for that long;
	// 0 means 10 minutes.
	IdleLimit time.Duration

	// FlowIdleLimit ends a flow of datagrams (network "udp") in which none moved,
	// either way, for that long; 0 means 1 minute.
	FlowIdleLimit time.Duration

	// Limit and ClientLimit bound the tunnels and flows that are open or being opened
	// at a time, in all and of each client ([ClientOf]); 0 means no bound. What is
	// beyond is refused with [ErrLimit].
	Limit, ClientLimit int

	// Account, if not nil, is asked before each tunnel or flow is dialled: an error
	// refuses it, and an Account is charged with what it moves. end, which may be called from
	// anywhere at any time, ends it at once.
	Account func(q Request, end func()) (Account, error)

	// Trace is told what happens; it may be nil.
	Trace *Trace

	rest    time.Duration // before a tunnel rests, for tests; 0 means the constant
	live    register
	dropped atomic.Int32           // requests that are kept waiting
	changed atomic.Pointer[Limits] // what SetLimits said last; nil at first
	epoch   atomic.Pointer[epoch]  // of the identities; nil at first
}

// Serve carries p to its end: it routes and dials, answers, and copies until
// both directions have ended, the tunnel idles for too long, or the relay is closed. Of network
// "udp", Accept gives a conn of one datagram per Read and Write, and what ends it is
// said at [CopyDatagrams]. ctx
// bounds the opening and, when it is cancelled, ends the tunnel. The error tells
// why no tunnel was opened, or why it did not end in good order.
//
// A panic of what a tunnel is opened by or made of (Router, Dialer, the conns) ends that tunnel with a
// [chain.PanicError], and no other. One of p itself goes on to the caller, who has to close the
// client's end; the tunnel has ended then, too.
//
// A tunnel between two TCP conns in which nothing moves is parked (Linux): Serve
// returns nil, and the tunnel goes on without a goroutine of its own, and without
// ctx. It ends as others do, which the Trace is told.
func (r *Relay) Serve(ctx context.Context, p Pending) error {
	q := p.Request()
	d, err := r.Route(ctx, q)
	if err != nil {
		return errors.Join(err, p.Reject(err))
	}
	t, err := r.begin(q, d)
	if err != nil {
		return errors.Join(err, p.Reject(err))
	}
	came := false
	defer func() {
		if !came {
			t.drop()
		}
	}()
	err = t.serve(ctx, p)
	came = true
	return err
}

// serve serves p, whose tunnel t has begun.
func (t *tunnel) serve(ctx context.Context, p Pending) error {
	handshakeOver(ctx)
	meet := t.dialFirst
	if t.request.EarlyReply && t.request.Network == "tcp" {
		meet = t.acceptFirst
	}
	client, conn, err := meet(ctx, p)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, t.kill)
	defer stop()
	if t.request.Network == "udp" {
		return t.carryDatagrams(client, conn)
	}
	return t.follow(t.pair(client, conn))
}

// Route tells where q goes: as it was decided beforehand, or else as the Router
// says. The error is a [*BlockedError], or a [*chain.PanicError] of the Router, which the Trace has been told, or nil; where
// the rule says so ([Drop]), it comes late. With [Relay.Dial] it is for protocol
// code that has no one tunnel per request, such as a pool of HTTP connections.
func (r *Relay) Route(ctx context.Context, q Request) (Decision, error) {
	d, err := r.decide(ctx, &q)
	if err != nil {
		r.Trace.failed(q, d, err)
		return d, err
	}
	if d.Dialer == nil {
		d.Via = "block"
		return d, r.block(ctx, q, d)
	}
	return d, nil
}

// decide returns a Decision, the zero one with an error.
func (r *Relay) decide(ctx context.Context, q *Request) (_ Decision, err error) {
	defer chain.Caught(&err)
	var d Decision
	switch {
	case q.Decided != nil:
		d = *q.Decided
	case r.Router != nil:
		d = r.Router.Route(ctx, *q)
	}
	if d.Ask != nil {
		d = r.ask(ctx, q, d)
	}
	return d, nil
}

// Dial opens a connection to the target of q as [Relay.Route] decided. It counts
// as a live tunnel until it is closed.
func (r *Relay) Dial(ctx context.Context, q Request, d Decision) (net.Conn, error) {
	t, conn, err := r.open(ctx, q, d, nil)
	if err != nil {
		return nil, err
	}
	return &dialed{Conn: conn, t: t}, nil
}

// Shutdown refuses new requests and waits for the live tunnels to end. When ctx
// ends first, it cuts them and returns the ctx's error.
func (r *Relay) Shutdown(ctx context.Context) error {
	idle := r.live.refuse()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		r.live.killAll()
		<-idle
		return ctx.Err()
	}
}

// Close refuses new requests and cuts the live tunnels.
func (r *Relay) Close() error {
	idle := r.live.refuse()
	r.live.killAll()
	<-idle
	return nil
}

// Live returns how many tunnels are open or being opened.
func (r *Relay) Live() int { return r.live.len() }
