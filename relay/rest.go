package relay

import (
	"net"
	"time"
)

// A tunnel rests when no byte has moved for a second, to be there at once for
// what comes soon. Where more than so many are carried at a time, they rest sooner,
// in proportion: each costs 10 KiB and more, which the Go runtime would keep for long.
const (
	rest     = time.Second
	restLess = 64 // tunnels
	restMin  = 100 * time.Millisecond
)

// restAmong is how long no byte moves before a tunnel rests, of so many.
func restAmong(carried int) time.Duration {
	return max(rest*restLess/time.Duration(max(carried, restLess)), restMin)
}

// The states of a direction.
type state int

const (
	running state = iota // a goroutine is in carry
	resting              // none is, and nothing is in hand
	ended                // none is, and none will be
)

// A direction is one direction of a pair. All but its state belongs to the goroutine
// in carry, and while there is none to the last that was.
type direction struct {
	*pair
	src, dst net.Conn
	ahead    []byte  // to be moved first
	waiter   *waiter // of src; nil if that is not the operating system's
	steady   Steady  // src, if it is that
	ticket   uint64  // in the lot, once it napped
	total    int64   // bytes moved
	run      int64   // bytes moved since the last pause
	state    state   // guarded by the pair's mu
}

func (d *direction) other() *direction {
	if d == &d.ways[0] {
		return &d.ways[1]
	}
	return &d.ways[0]
}

func (d *direction) otherHasEnded() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.other().state == ended
}

// begin says that d has bytes in hand, or has met its end: from here to end, or
// leave, neither direction rests, since an answer may come.
func (d *direction) begin() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.busy++
	d.rouse(d.other())
}

// rouse lets o run again if it rests. The caller holds the lock.
func (p *pair) rouse(o *direction) {
	if o.state == resting {
		o.state = running
		go o.carry()
	}
}

// end says that what d had in hand is gone, and whether bytes moved.
func (d *direction) end(moved bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.busy--
	if moved {
		d.moved = time.Since(d.began)
	}
}

// add counts n bytes that have moved.
func (d *direction) add(n int64) {
	d.total += n
	if d == &d.ways[0] {
		d.meter.up(n)
	} else {
		d.meter.down(n)
	}
}

func (d *direction) splices(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.splicing += n
}

// settle lets d rest if nothing moved for long enough. If it reports true, d's
// goroutine leaves at once. The last direction to settle parks the pair.
func (d *direction) settle() bool {
	d.mu.Lock()
	if d.park == nil || d.busy > 0 || d.err != nil || time.Since(d.began) < d.moved+d.rest {
		d.mu.Unlock()
		return false
	}
	d.state = resting
	alone := d.other().state != running
	d.mu.Unlock()
	if !alone {
		return true
	}
	if d.park() {
		d.parked = true
		close(d.done)
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.park = nil
	d.state = running
	d.rouse(d.other())
	return false
}

// leave is d's end, which has begun. The last to leave ends the pair.
func (d *direction) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.busy--
	d.state = ended
	if d.other().state == ended { // it does not rest: see begin
		close(d.done)
	}
}
