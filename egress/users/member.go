package users

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"time"

	"golang.org/x/time/rate"
)

// Errors of tunnels that a user can't have. Their errnos are EACCES and EMFILE.
var (
	ErrNotAllowed error = refusal{"the user may not use the egress", syscall.EACCES}
	ErrQuota      error = refusal{"the user's quota is used up", syscall.EACCES}
	ErrTunnels    error = refusal{"the user has too many tunnels at once", syscall.EMFILE}
)

type refusal struct {
	text  string
	errno syscall.Errno
}

func (r refusal) Error() string        { return r.text }
func (r refusal) Is(target error) bool { return target == r.errno }

// errOver is the error of what a tunnel that was ended would still move.
var errOver = errors.New("the tunnel has been ended")

// A member is a user of a Set: who it is, and what is under way.
type member struct {
	set      *Set
	name     string
	declared bool
	revision uint64 // of the user in the store; guarded by the set's mu

	mu      sync.Mutex
	user    *User // nil if it is gone
	tunnels map[*Tunnel]struct{}
	flows   int              // of these
	rates   [2]*rate.Limiter // up, down; nil for no limit
	timer   *time.Timer      // until the user expires; nil if that is not to come
	account
}

// become makes u, nil for nobody, of m, and returns the tunnels that are to be ended. The set's
// mu is held.
func (m *member) become(u *User) (over []*Tunnel) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.user
	m.user = u
	if m.timer != nil {
		m.timer.Stop()
		m.timer = nil
	}
	if now := time.Now(); u == nil || !u.standing(now) {
		over = m.all()
	} else if !u.Expires.IsZero() {
		m.timer = time.AfterFunc(u.Expires.Sub(now), m.expire)
	}
	if u != nil && (before == nil || before.Rate != u.Rate) {
		for i := range m.rates {
			m.rates[i] = limiter(u.Rate)
		}
	}
	if u != nil && m.spent() {
		over = m.all()
	}
	return over
}

// limiter lets a quarter of a second's bytes pass at once, a piece of 16 KiB at least.
func limiter(perSecond int64) *rate.Limiter {
	if perSecond == 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(perSecond), int(max(perSecond/4, 16<<10)))
}

func (m *member) expire() {
	m.mu.Lock()
	var over []*Tunnel
	if m.user != nil && !m.user.standing(time.Now()) {
		over = m.all()
	}
	m.mu.Unlock()
	end(over)
}

// cut ends all tunnels of m.
func (m *member) cut() {
	m.mu.Lock()
	over := m.all()
	m.mu.Unlock()
	end(over)
}

// all returns the live tunnels. m.mu is held.
func (m *member) all() []*Tunnel {
	all := make([]*Tunnel, 0, len(m.tunnels))
	for t := range m.tunnels {
		all = append(all, t)
	}
	return all
}

// end ends tunnels. No lock is held, as that may lead to [Tunnel.Ended].
func end(tunnels []*Tunnel) {
	for _, t := range tunnels {
		t.cancel()
		t.end()
	}
}

// A Tunnel is one of a user's, or a flow of datagrams, while it lives. It is what
// package relay calls an Account.
type Tunnel struct {
	m      *member
	flow   bool
	end    func()
	ctx    context.Context
	cancel context.CancelFunc
}

// Begin lets a user that [Set.Verify] has named have a tunnel, or a flow of datagrams, if it may
// have one more. end is called, once and from anywhere, when the tunnel has to end; Ended is due when it has.
func (s *Set) Begin(user string, flow bool, end func()) (*Tunnel, error) {
	s.mu.RLock()
	m := s.members[user]
	s.mu.RUnlock()
	if m == nil {
		return nil, ErrNotAllowed
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.user == nil || !m.user.standing(time.Now()):
		return nil, ErrNotAllowed
	case m.spent():
		return nil, ErrQuota
	case flow && m.user.Flows > 0 && m.flows >= m.user.Flows,
		!flow && m.user.Tunnels > 0 && len(m.tunnels)-m.flows >= m.user.Tunnels:
		return nil, ErrTunnels
	}
	t := &Tunnel{m: m, flow: flow, end: end}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	if m.tunnels == nil {
		m.tunnels = make(map[*Tunnel]struct{})
	}
	m.tunnels[t] = struct{}{}
	if flow {
		m.flows++
	}
	return t, nil
}

// Ended is called when the tunnel has ended.
func (t *Tunnel) Ended() {
	t.cancel()
	t.m.mu.Lock()
	defer t.m.mu.Unlock()
	if _, ok := t.m.tunnels[t]; !ok {
		return
	}
	delete(t.m.tunnels, t)
	if t.flow {
		t.m.flows--
	}
}

// Waits reports whether Pass has to hold bytes up for the sake of a rate.
func (t *Tunnel) Waits() bool {
	if t.m.set.line != nil {
		return true
	}
	t.m.mu.Lock()
	defer t.m.mu.Unlock()
	return t.m.rates[0] != nil
}

// Pass counts n bytes that are about to move, up (from the client) or down, and waits until
// they may: for the user's rate, for the user's share of the line, and, where usage grows faster than it can be
// stored, for that. It fails when the tunnel is over.
func (t *Tunnel) Pass(up bool, n int) error {
	m := t.m
	m.mu.Lock()
	err := m.count(up, int64(n))
	limit := m.rates[0]
	if !up {
		limit = m.rates[1]
	}
	m.mu.Unlock()
	if err != nil {
		m.cut()
		return err
	}
	if err := m.settle(t.ctx); err != nil {
		return errOver
	}
	if limit != nil {
		for left := n; left > 0; left -= min(left, limit.Burst()) {
			if err := limit.WaitN(t.ctx, min(left, limit.Burst())); err != nil {
				return errOver
			}
		}
	}
	if line := m.set.line; line != nil {
		if err := line.Wait(t.ctx, m.name, up, n); err != nil {
			return errOver
		}
	}
	if t.ctx.Err() != nil {
		return errOver
	}
	return nil
}

// Passed counts bytes that have moved unasked.
func (t *Tunnel) Passed(up bool, n int64) {
	t.m.mu.Lock()
	err := t.m.count(up, n)
	t.m.mu.Unlock()
	if err != nil {
		t.m.cut()
	}
}
