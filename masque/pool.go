package masque

import (
	"context"
	"net"
	"slices"
	"time"

	"github.com/byway-proxy/byway/chain"
)

// retire has the session get no more tunnels.
func (s *session) retire() {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	s.d.remove(s)
}

// full notes that the session has no room for more tunnels than it has without the one
// that found out.
func (s *session) full() {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	s.room = max(1, s.tunnels-1)
}

// release ends the count of a tunnel.
func (s *session) release() {
	d := s.d
	d.mu.Lock()
	defer d.mu.Unlock()
	s.tunnels--
	switch {
	case s.tunnels > 0:
	case s.out:
		go s.end() // to say goodbye may take time
	case s.rest == nil:
		s.rest = time.AfterFunc(d.o.IdleLimit, s.rested)
	default:
		s.rest.Reset(d.o.IdleLimit)
	}
}

// rested ends a session that has been idle for long.
func (s *session) rested() {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	if s.tunnels == 0 {
		s.d.remove(s)
	}
}

// remove takes s from the sessions; mu is held.
func (d *dialer) remove(s *session) {
	d.sessions = slices.DeleteFunc(d.sessions, func(o *session) bool { return o == s })
	s.out = true
	if s.rest != nil {
		s.rest.Stop()
	}
	if s.tunnels == 0 {
		go s.end()
	}
}

// reserve returns a session with a slot reserved, or nil; for a flow rather one with
// datagrams; mu is held.
func (d *dialer) reserve(flow bool) *session {
	for _, s := range slices.Clone(d.sessions) {
		if s.over() {
			d.remove(s)
		}
	}
	for _, s := range d.sessions {
		if s.tunnels < s.room && (!flow || s.apart() || !slices.ContainsFunc(d.sessions, (*session).apart)) {
			s.tunnels++
			if s.rest != nil {
				s.rest.Stop()
			}
			return s
		}
	}
	return nil
}

// An opening is a session on its way, for which several dials may wait.
type opening struct {
	done    chan struct{}
	waiters int // guarded by the dialer's mu
	cancel  context.CancelCauseFunc
	err     error
}

// Ready waits for a session, and opens one if there is none.
func (d *dialer) Ready(ctx context.Context) error {
	s, err := d.session(ctx, false)
	if err != nil {
		return err
	}
	s.release()
	return nil
}

// session returns a session with a slot reserved.
func (d *dialer) session(ctx context.Context, flow bool) (*session, error) {
	for {
		d.mu.Lock()
		if s := d.reserve(flow); s != nil {
			d.mu.Unlock()
			return s, nil
		}
		if d.closed {
			d.mu.Unlock()
			return nil, chain.Fail(chain.PhaseConnect, net.ErrClosed)
		}
		o := d.join(ctx)
		d.mu.Unlock()
		if err := d.wait(ctx, o); err != nil {
			return nil, err
		}
	}
}

// join returns the opening to wait for, and begins one if none is on its way; mu is held.
func (d *dialer) join(ctx context.Context) *opening {
	o := d.opening
	if o == nil {
		o = &opening{done: make(chan struct{})}
		var own context.Context
		own, o.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
		d.opening = o
		go d.run(own, o)
	}
	o.waiters++
	return o
}

// wait waits for o. What nobody waits for is given up.
func (d *dialer) wait(ctx context.Context, o *opening) error {
	var late bool
	select {
	case <-o.done:
	case <-ctx.Done():
		late = true
	}
	d.mu.Lock()
	o.waiters--
	last := o.waiters == 0
	if last {
		o.cancel(context.Cause(ctx))
		if d.opening == o {
			d.opening = nil // nobody joins what was cancelled
		}
	}
	d.mu.Unlock()
	switch {
	case !late:
		return o.err
	case last:
		return chain.GivenUp(ctx, o.done, func() error { return o.err })
	}
	return chain.Fail(chain.PhaseDial, context.Cause(ctx))
}

func (d *dialer) run(ctx context.Context, o *opening) {
	s, err := d.start(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.opening == o {
		d.opening = nil
	}
	o.err = err
	switch {
	case err != nil:
	default:
		d.add(s)
	}
	close(o.done)
}

// add has s get tunnels; mu is held.
func (d *dialer) add(s *session) {
	if d.closed {
		s.out = true
		go s.end()
		return
	}
	d.sessions = append(d.sessions, s)
	s.rest = time.AfterFunc(d.o.IdleLimit, s.rested)
}
