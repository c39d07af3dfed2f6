package chain

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
)

// place says which hop of how many, and where it stands in the combinator that
// judges it.
type place struct {
	hop, of int
	name    string
	scope   *scope // nil where nobody judges
	index   int    // in scope, from 1
}

// A scope is the identity of a combinator that wants to know which of its hops
// an error is about.
type scope struct{ _ byte }

// placeOf returns the place of the hop called name that next reaches. Over a
// dialer that is no part of a chain the hop is the whole chain.
func placeOf(next Dialer, name string) place {
	if r, ok := next.(*reach); ok {
		return place{hop: r.to.hop, of: r.to.of, name: r.to.name}
	}
	return place{hop: 1, of: 1, name: name}
}

// nth returns the place of the ith of n hops that p consists of. They count if p
// is all there is.
func (p place) nth(i, n int, name string) place {
	if p.of <= 1 {
		p.hop, p.of = i, n
	}
	return p.member(name)
}

// member returns the place of one that can take p's.
func (p place) member(name string) place {
	if p.name != "" {
		name = p.name + "/" + name
	}
	p.name = name
	return p
}

// in returns p as that of the hop index (from 1) of a scope.
func (p place) in(s *scope, index int) place {
	p.scope, p.index = s, index
	return p
}

// wrap builds the layer of h at its place over next.
func wrap(next Dialer, h Hop, at place) (*layer, error) {
	if h.Wrap == nil {
		return nil, errors.New("has no Wrap")
	}
	d, err := h.Wrap(&reach{next: next, to: at})
	if err != nil {
		return nil, err
	}
	if d == nil {
		return nil, errors.New("its Wrap returned no dialer")
	}
	return &layer{Dialer: d, at: at, paused: h.Paused}, nil
}

// layer is a hop's dialer; it stamps the hop on errors that carry none, a panic's included.
type layer struct {
	Dialer
	at     place
	paused *atomic.Bool // may be nil
}

func (l *layer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if err := l.rests(); err != nil {
		return nil, err
	}
	conn, err := l.dial(ctx, network, addr)
	if err != nil {
		return nil, l.at.stamp(err)
	}
	return conn, nil
}

func (l *layer) dial(ctx context.Context, network, addr string) (conn net.Conn, err error) {
	defer Caught(&err)
	return l.Dialer.DialContext(ctx, network, addr)
}

// rests is the error of a hop that is paused, and nil for others.
func (l *layer) rests() error {
	if l.paused != nil && l.paused.Load() {
		return l.at.stamp(Fail(PhaseDial, ErrPaused))
	}
	if inner, ok := l.Dialer.(*Chain); ok {
		return inner.rests()
	}
	return nil
}

// rests is the error of the first hop that is paused. It matters before the dial: the last hop may
// have a session, and need no other.
func (c *Chain) rests() error {
	for _, l := range c.layers {
		if err := l.rests(); err != nil {
			return err
		}
	}
	return nil
}

// Close closes what the hop keeps open, if anything.
func (l *layer) Close() error {
	if c, ok := l.Dialer.(interface{ Close() error }); ok {
		return c.Close()
	}
	return nil
}

// reach is the way to a hop: whatever fails there is that hop's failure to be
// dialled. That the hop below was the one to say so ("connection refused") does
// not make it the one at fault.
type reach struct {
	next Dialer
	to   place
}

func (r *reach) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := r.next.DialContext(withoutFirstData(ctx), network, addr)
	if err != nil {
		return nil, r.to.reached(err)
	}
	return conn, nil
}

// trail is what an Error tells the combinators.
type trail struct {
	onward bool   // it is what the last hop passed says of its way onwards
	fresh  bool   // it is the failure to reach the hop that is being entered, and of no hop in it yet
	told   bool   // it is what the hop before the one it is about says
	blame  *blame // which hop, for each scope that it passed
}

type blame struct {
	scope *scope
	index int
	next  *blame
}

// below is the index of the path below a scope's first hop.
const below = 0

func (t *trail) blamed(s *scope) (index int, ok bool) {
	for b := t.blame; b != nil; b = b.next {
		if b.scope == s {
			return b.index, true
		}
	}
	return 0, false
}

func (t *trail) add(s *scope, index int) {
	if s != nil {
		t.blame = &blame{s, index, t.blame}
	}
}

// stamp puts the place on err as it leaves the hop, unless a hop further in did
// so already.
func (p *place) stamp(err error) error {
	var e *Error
	switch {
	case !errors.As(err, &e):
		e = &Error{Phase: PhaseConnect, Err: err}
	case e.Hop != 0:
		_, known := e.blamed(p.scope)
		if !e.fresh && (known || p.scope == nil) {
			return err
		}
		e = clone(e)
		if e.fresh = false; !known {
			e.add(p.scope, p.index)
		}
		return e
	}
	e = &Error{Hop: p.hop, Hops: p.of, Name: p.name, Phase: e.Phase, Err: e.Err}
	e.onward = e.Phase == PhaseConnect
	e.add(p.scope, p.index)
	return e
}

// reached maps an error from the path to a hop. What the hop just below says of
// its way onwards is about this hop; what went wrong earlier keeps its stamp.
func (p *place) reached(err error) error {
	var (
		e     *Error
		trail trail
	)
	switch {
	case !errors.As(err, &e):
		e = &Error{Err: err}
	case e.Hop == 0:
	case e.fresh: // reached for an outer hop, of which this is the first inside
		trail.blame, trail.told = e.blame, e.told
	case e.onward && !ownFault(e.Err):
		trail.told = true
	default:
		_, known := e.blamed(p.scope)
		if !e.onward && (known || p.scope == nil) {
			return err
		}
		e = clone(e)
		if e.onward = false; !known {
			e.add(p.scope, below)
		}
		return e
	}
	trail.fresh = true
	trail.add(p.scope, p.index)
	return &Error{Hop: p.hop, Hops: p.of, Name: p.name, Phase: PhaseDial, Err: e.Err, trail: trail}
}

func clone(e *Error) *Error {
	c := *e
	return &c
}
