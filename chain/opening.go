package chain

import (
	"context"
	"net"
	"sync"
	"time"
)

const (
	patience    = 3                      // times the p95 of a member's opens
	minPatience = time.Second            // but no less
	newPatience = 2 * time.Second        // where nothing is known
	minShare    = 250 * time.Millisecond // of ctx's time
	raceDelay   = 250 * time.Millisecond // between the starts of a race where nothing is known (RFC 8305 §5)
	minRace     = 10 * time.Millisecond  // and at the least
)

// DialContext opens a connection by way of a member.
func (g *group) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if ctx.Err() != nil {
		return nil, g.at.over(ctx)
	}
	g.watch()
	o := &opening{g: g, outer: ctx, ctx: ctx, network: network, addr: addr, left: len(g.members)}
	o.choice = choice{id: IdentityOf(ctx), addr: addr, last: -1}
	if o.left > 1 {
		var cancel context.CancelFunc
		o.ctx, cancel = context.WithCancel(ctx)
		o.cancel = cancel
		defer cancel()
	}
	o.run()
	return o.wait()
}

// An opening is one request to a group, and the tries that it takes.
type opening struct {
	g             *group
	outer, ctx    context.Context // ctx ends when the opening is settled
	cancel        context.CancelFunc
	network, addr string

	mu       sync.Mutex
	choice   choice
	left     int // members not tried
	flying   int // tries under way
	tries    []try
	first    [2]try
	failures []failure
	settled  bool // conn or err is the outcome
	conn     net.Conn
	err      error
	done     chan struct{} // closed when all is over, if somebody waits
}

// A try is one dial by way of a member.
type try struct {
	m        *member
	began    int64
	patience time.Duration // after which the next is started
	trial    bool
	over     bool
	doubt    error // what the exit said, if the next member may prove it wrong
}

// run tries one member after the other until the opening is settled or none is
// left. It runs on the caller's goroutine, and on another for each member that
// was silent for too long.
func (o *opening) run() {
	for {
		i, m, wait := o.next()
		if m == nil {
			return
		}
		var timer *time.Timer
		if wait > 0 {
			timer = time.AfterFunc(wait, o.run)
		}
		conn, err := m.DialContext(o.ctx, o.network, o.addr)
		if timer != nil {
			timer.Stop()
		}
		o.ended(i, conn, err)
	}
}

// next begins the next try, if there is one. wait is after what time to give it
// company.
func (o *opening) next() (i int, m *member, wait time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.settled || o.left == 0 || o.ctx.Err() != nil {
		return 0, nil, 0
	}
	now := o.g.now()
	o.g.used.Store(now)
	o.choice.now = now
	k, trial := o.g.pick(&o.choice)
	m = o.g.members[k]
	m.live.Add(1)
	o.left--
	o.flying++
	if o.tries == nil {
		o.tries = o.first[:0]
	}
	t := try{m: m, began: now, trial: trial}
	if o.left > 0 {
		t.patience = o.patience(m)
	}
	o.tries = append(o.tries, t)
	return len(o.tries) - 1, m, t.patience
}

func (o *opening) patience(m *member) time.Duration {
	p95 := time.Duration(m.p95.Load())
	switch {
	case o.g.Strategy == Race && p95 == 0:
		return raceDelay
	case o.g.Strategy == Race:
		return max(p95, minRace)
	case p95 == 0:
		p95 = newPatience
	default:
		p95 = max(patience*p95, minPatience)
	}
	if by, ok := o.ctx.Deadline(); ok {
		p95 = min(p95, max(time.Until(by)/time.Duration(o.left+1), minShare))
	}
	return p95
}

// ended takes note of how a try ended.
func (o *opening) ended(i int, conn net.Conn, err error) {
	now := o.g.now()
	o.mu.Lock()
	t := &o.tries[i]
	t.over = true
	o.flying--
	m, late := t.m, o.settled
	switch {
	case err == nil:
		m.alive(now)
		m.opened(now - t.began)
		if !o.g.Probe.on() {
			m.smooth(now - t.began)
		}
		if !late {
			o.settle(now, conn, nil)
			conn = nil
			LeaseOf(o.outer).hold(&m.live)
		} else {
			m.live.Add(-1)
		}
	case late: // cut off by us
		m.live.Add(-1)
		if o.g.Strategy == Race {
			// It took at least that long. Were the slow ones left out, the p95
			// would sink, and sink again.
			m.opened(now - t.began)
		}
	default:
		m.live.Add(-1)
		o.failed(t, now, err)
	}
	if t.trial {
		m.trial.Store(false)
	}
	if o.done != nil && (o.settled || o.flying == 0) {
		close(o.done)
		o.done = nil
	}
	o.mu.Unlock()
	if conn != nil {
		_ = conn.Close() // another was faster
	}
}

// failed judges a failure; mu is held.
func (o *opening) failed(t *try, now int64, err error) {
	if o.ctx.Err() != nil {
		// The caller's time is over, which says nothing of the member: a target
		// that is silent looks the same.
		o.failures = append(o.failures, failure{err: err, verdict: dead})
		return
	}
	_, v := o.g.scope.judge(err)
	switch v {
	case elsewhere:
		o.settle(now, nil, err)
		return
	case answered:
		t.m.alive(now)
		o.settle(now, nil, err)
		return
	case dead:
		o.g.mark(t.m, now, t.began, err)
	case doubtful:
		t.doubt = err
	}
	o.failures = append(o.failures, failure{err: err, verdict: v})
}

// settle ends the opening; mu is held. An answer by way of one member convicts
// those that were silent for too long, or said that there is no way.
func (o *opening) settle(now int64, conn net.Conn, err error) {
	o.settled, o.conn, o.err = true, conn, err
	if o.cancel != nil {
		o.cancel()
	}
	if _, v := o.g.scope.judge(err); err != nil && v == elsewhere {
		return
	}
	for i := range o.tries {
		t := &o.tries[i]
		switch {
		case t.doubt != nil:
			o.g.doubt(t.m, now, t.began, t.doubt)
		case t.over || t.patience == 0 || now-t.began < int64(t.patience):
		case o.g.Strategy == Race: // which is overtaken once in twenty times when all is well
			o.g.doubt(t.m, now, t.began, errSilent)
		default:
			o.g.mark(t.m, now, t.began, errSilent)
		}
	}
}

// wait returns the outcome, when the tries of other goroutines have ended too or
// are of no more interest.
func (o *opening) wait() (net.Conn, error) {
	o.mu.Lock()
	if !o.settled && o.flying > 0 {
		done := make(chan struct{})
		o.done = done
		o.mu.Unlock()
		select {
		case <-done:
		case <-o.ctx.Done():
		}
		o.mu.Lock()
	}
	defer o.mu.Unlock()
	if !o.settled {
		o.settled = true
		if o.err = o.g.at.join(o.failures); len(o.failures) == 0 {
			o.err = o.g.at.over(o.outer)
		}
	}
	return o.conn, o.err
}
