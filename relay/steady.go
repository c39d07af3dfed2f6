package relay

import (
	"net"
	"time"

	"github.com/byway-proxy/byway/chain"
)

// A Steady conn has a second Read, which costs it less: it takes no goroutine that could be
// told of a deadline, and no buffer of its reader's before there is something for it.
type Steady interface {
	net.Conn

	// ReadSteady is Read, but no deadline ends it: Close and [chain.Abort] do. With an
	// empty p it waits until there is something to read, an end or a failure
	// included, of which the next call tells if this one does not.
	ReadSteady(p []byte) (n int, err error)
}

// moveSteady waits for src to have something, and moves that. The write deadline is set
// afterwards, as nothing bounds the wait but the pair's watch.
func (d *direction) moveSteady() (n int64, rerr, werr error) {
	if _, err := d.steady.ReadSteady(nil); err != nil {
		return 0, err, nil
	}
	b := buffers.Get().(*[room]byte)
	defer buffers.Put(b)
	r, rerr := d.steady.ReadSteady(b[:bufferSize])
	if r > 0 {
		idle, _ := d.limits()
		_ = d.dst.SetWriteDeadline(idle.Add(d.idle))
		n, werr = d.write(b[:r])
	}
	return n, rerr, werr
}

// doze lets d rest alone if nothing moved for long enough, while the other direction reads
// steadily: that rouses d before it ends. If it reports true, d's goroutine leaves at once.
func (d *direction) doze() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.other().state != running {
		d.nap = nil
	}
	if d.nap == nil || d.waiter == nil || d.busy > 0 || d.err != nil || time.Since(d.began) < d.moved+d.rest {
		return false
	}
	d.state = resting
	if !d.nap(d) {
		d.nap = nil
		d.state = running
		return false
	}
	return true
}

// roused is for the news that d napped for.
func (d *direction) roused() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rouse(d)
}

// keepWatch sees to the idle limit of a pair of which an end is read without deadlines.
func (p *pair) keepWatch() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.ways {
		if p.ways[i].steady != nil && p.watch == nil {
			p.watch = time.AfterFunc(p.idle, p.look)
		}
	}
}

// look ends the pair if no byte has moved for too long, and looks again later if not.
func (p *pair) look() {
	p.mu.Lock()
	if p.watch == nil {
		p.mu.Unlock()
		return
	}
	if left := p.limit() - time.Since(p.began); left > 0 {
		p.watch.Reset(left)
		p.mu.Unlock()
		return
	}
	p.watch = nil
	p.mu.Unlock()
	var fault error
	defer chain.Caught(&fault) // the directions have met it too, or will
	p.abort(ErrIdle)
}

// endWatch is for when both directions have ended.
func (p *pair) endWatch() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.watch != nil {
		p.watch.Stop()
		p.watch = nil
	}
}
