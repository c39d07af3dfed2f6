package chain

import (
	"context"
	"errors"
	"syscall"
)

// failed judges a failure. Unless it is final, there is a hop that can be left out.
func (c *course) failed(ctx context.Context, route []uint16, before []failure, began int64, err error) (f failure, final bool) {
	if ctx.Err() != nil {
		return failure{err: err, verdict: dead}, true
	}
	index, v := c.scope.judge(err)
	f = failure{err: err, verdict: v, hop: index - 1, accuser: -1}
	switch v {
	case answered:
		c.proved(route, nil, began)
		return f, true
	case elsewhere:
		return f, true
	}
	f.accuser = accuser(route, f.hop, err)
	stays := c.plan.stays(c, f.hop)
	if f.accuser >= 0 && (accusedBefore(before, f.accuser) || stays && Errno(err) == syscall.ETIMEDOUT) {
		// Whoever reaches none of several, or is silent about the one that there
		// must be, is at fault itself, if they are reached without it.
		f.hop, f.guilty, stays = f.accuser, true, false
	}
	if v == dead && !f.guilty && !stays {
		c.health[f.hop].mark(c.now(), began, err, c.rnd)
	}
	return f, stays
}

// accuser returns the hop of route that says that the other can't be reached, or -1.
func accuser(route []uint16, of int, err error) int {
	var e *Error
	if !errors.As(err, &e) || !e.told {
		return -1
	}
	for k, i := range route {
		if int(i) == of && k > 0 {
			return int(route[k-1])
		}
	}
	return -1
}

func accusedBefore(before []failure, by int) bool {
	for _, f := range before {
		if f.accuser == by {
			return true
		}
	}
	return false
}

// proved takes note of a success: it convicts those that said before that there
// is no way, and acquits those that a liar accused.
func (c *course) proved(route []uint16, before []failure, began int64) {
	now := c.now()
	for _, i := range route {
		c.health[i].alive(now)
	}
	for _, f := range before {
		switch {
		case f.guilty:
			c.health[f.hop].mark(now, began, f.err, c.rnd)
			for _, other := range before {
				if other.accuser == f.hop && !other.guilty {
					c.health[other.hop].alive(now)
				}
			}
		case f.verdict == doubtful:
			c.health[f.hop].strike(now, began, f.err, c.rnd)
		}
	}
}
