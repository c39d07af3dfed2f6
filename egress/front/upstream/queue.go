package upstream

import (
	"context"
	"slices"
	"time"
)

// A waiter is a request for which no server has room.
type waiter struct {
	ready chan struct{} // something has changed
}

// wake lets the request that has waited longest look again. The pool is locked.
func (p *Pool) wake() {
	if len(p.queue) > 0 {
		first := p.queue[0]
		p.queue = p.queue[1:]
		first.ready <- struct{}{}
	}
}

func (p *Pool) wait(me *waiter, w Wish) (*Lease, error) {
	ctx := w.Request.Context()
	if p.set.QueueLimit > 0 {
		timer := time.NewTimer(p.set.QueueLimit)
		defer timer.Stop()
		for {
			select {
			case <-me.ready:
				if l, err, ok := p.retake(me, w); ok {
					return l, err
				}
			case <-timer.C:
				return p.giveUp(me, ErrBusy)
			case <-ctx.Done():
				return p.giveUp(me, context.Cause(ctx))
			}
		}
	}
	for {
		select {
		case <-me.ready:
			if l, err, ok := p.retake(me, w); ok {
				return l, err
			}
		case <-ctx.Done():
			return p.giveUp(me, context.Cause(ctx))
		}
	}
}

// retake looks again for a server; if there is still none with room, the request is the first to wait.
func (p *Pool) retake(me *waiter, w Wish) (*Lease, error, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l, err := p.take(w)
	if err == ErrBusy {
		p.queue = slices.Insert(p.queue, 0, me)
		return nil, nil, false
	}
	if err == nil && len(p.queue) > 0 {
		p.wake() // there may be room for more than one
	}
	return l, err, true
}

// giveUp takes a request out of the queue. Who was woken and did not look hands that on.
func (p *Pool) giveUp(me *waiter, err error) (*Lease, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.queue, me); i >= 0 {
		p.queue = slices.Delete(p.queue, i, i+1)
	} else {
		p.wake()
	}
	return nil, err
}
