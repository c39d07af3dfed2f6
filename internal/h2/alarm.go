package h2

import (
	"sync"
	"time"
)

// An alarm wakes those who wait on a cond at a deadline. Its cond's lock guards it.
// The zero value has no deadline.
type alarm struct {
	at    time.Time
	armed time.Time // when the timer fires; zero if it does not
	timer *time.Timer
}

// passed reports whether the deadline has passed.
func (a *alarm) passed() bool { return !a.at.IsZero() && !time.Now().Before(a.at) }

// set moves the deadline. That is cheap for one that moves on and on: the timer is
// left as it is, and looks again when it fires.
func (a *alarm) set(t time.Time, c *sync.Cond) {
	a.at = t
	switch wait := time.Until(t); {
	case t.IsZero():
	case wait <= 0:
		c.Broadcast()
	case a.timer == nil:
		a.armed = t
		a.timer = time.AfterFunc(wait, func() { a.fire(c) })
	case a.armed.IsZero() || t.Before(a.armed):
		a.armed = t
		a.timer.Reset(wait)
	}
}

func (a *alarm) fire(c *sync.Cond) {
	c.L.Lock()
	defer c.L.Unlock()
	a.armed = time.Time{}
	if a.passed() {
		c.Broadcast()
		return
	}
	a.set(a.at, c)
}

func (a *alarm) stop() {
	a.at = time.Time{}
	if a.timer != nil {
		a.timer.Stop()
		a.armed = time.Time{}
	}
}
