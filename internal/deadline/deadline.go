// Package deadline turns the deadlines of a net.Conn into channels, for conns
// that are not backed by the operating system.
package deadline

import (
	"sync"
	"time"
)

// A Deadline is one deadline of a conn. Its zero value is ready and never
// passes. It is safe for concurrent use, and must not be copied.
type Deadline struct {
	mu    sync.Mutex
	timer *time.Timer
	gen   int           // of the timer: a stale one that fires late does nothing
	done  chan struct{} // closed when the deadline has passed
}

// Set moves the deadline to t: the zero time means none, a past one passes at once.
func (d *Deadline) Set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gen++
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if d.done == nil || isClosed(d.done) {
		d.done = make(chan struct{})
	}
	if t.IsZero() {
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		close(d.done)
		return
	}
	gen := d.gen
	d.timer = time.AfterFunc(wait, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.gen == gen {
			close(d.done)
		}
	})
}

// Done returns a channel that is closed when the deadline, as it is set now, has
// passed. A caller that waits for long is told of a deadline that is moved
// closer, as the same channel serves until a passed deadline is moved.
func (d *Deadline) Done() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.done == nil {
		d.done = make(chan struct{})
	}
	return d.done
}

// Passed reports whether the deadline has passed.
func (d *Deadline) Passed() bool { return isClosed(d.Done()) }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
