package relay

import (
	"io"
	"net"
	"runtime"
	"sync"
	"time"

	"github.com/byway-proxy/byway/chain"
)

const (
	// room is the size of a large buffer: more than the longest datagram has (65,507 bytes over
	// IPv4), so that none is cut.
	room = 64 << 10

	// bufferSize leaves room for the framing of HTTP/2, so that a full buffer is four
	// records of TLS and not five. On HTTP/2 each write is handed from goroutine to
	// goroutine, whatever its size.
	bufferSize = room - 128

	// waitSize is the size of the buffer that a direction waits with, which
	// short exchanges fit into.
	waitSize = 2 << 10

	// bulk is how many bytes a direction moves through user space before it is
	// spliced: a pipe costs more than a short exchange.
	bulk = 256 << 10

	// slice is the longest time that a direction is spliced before it tells that
	// bytes moved, or gives the pipe back since none did.
	slice = time.Second

	// linger is how often a direction that only drains looks whether the other has
	// ended, and how long it goes on after that.
	linger = time.Second

	// drained is how many bytes it drops at most.
	drained = 1 << 20
)

var (
	buffers = sync.Pool{New: func() any { return new([room]byte) }}
	waiting = sync.Pool{New: func() any { return new([waitSize]byte) }}
)

// carry moves ahead, then all that src yields, to dst, until there is an end or
// nothing to do. A panic, which is a conn's, ends the tunnel by an abort of both ends.
func (d *direction) carry() {
	var fault error
	defer func() {
		if fault != nil {
			d.finish(fault)
		}
	}()
	defer chain.Caught(&fault)
	d.waiter = newWaiter(d.src)
	if err := d.first(); err != nil {
		d.fail(err)
		return
	}
	for {
		n, rerr, werr := d.step()
		d.add(n)
		switch {
		case werr != nil:
			d.fail(werr)
			return
		case rerr == nil:
		case !isTimeout(rerr):
			d.finish(rerr)
			return
		default:
			if idle, _ := d.limits(); !time.Now().Before(idle) {
				d.finish(ErrIdle)
				return
			}
			if d.settle() || d.doze() {
				return
			}
		}
	}
}

// first moves ahead.
func (d *direction) first() error {
	ahead := d.ahead
	d.ahead = nil
	if len(ahead) == 0 {
		return nil
	}
	_ = d.dst.SetWriteDeadline(time.Now().Add(d.idle))
	n, err := d.write(ahead)
	d.add(n)
	return err
}

// finish ends d after its src did.
func (d *direction) finish(err error) {
	d.begin()
	switch {
	case err != io.EOF:
		d.abort(err)
	case isTCP(d.dst) && d.otherHasEnded():
		// The close that is due says as much.
	default:
		_ = chain.CloseWrite(d.dst) // if that fails, the other direction tells
	}
	d.leave()
}

// fail ends d after a write that failed.
func (d *direction) fail(err error) {
	d.begin()
	if isTimeout(err) {
		d.abort(ErrIdle) // the peer stopped reading long ago
	} else {
		d.drain(err)
	}
	d.leave()
}

// step moves bytes until there is news: an end, a failure, or a deadline.
func (d *direction) step() (n int64, rerr, werr error) {
	if d.run >= bulk {
		if dst, src, ok := d.spliceable(); ok {
			return d.splice(dst, src)
		}
		d.run = 0
	}
	idle, look := d.limits()
	if d.steady == nil {
		_ = d.src.SetReadDeadline(look)
	}
	_ = d.dst.SetWriteDeadline(idle.Add(d.idle))
	for more := false; d.run < bulk; {
		var w int64
		w, more, rerr, werr = d.move(more)
		n += w
		d.run += w
		if rerr != nil || werr != nil {
			d.run = 0
			return n, rerr, werr
		}
	}
	return n, nil, nil
}

// move reads once and writes what was read. What waits holds no large buffer:
// more asks for one, and tells whether the next move should have one.
func (d *direction) move(more bool) (n int64, again bool, rerr, werr error) {
	if d.steady != nil {
		n, rerr, werr = d.moveSteady()
		return n, false, rerr, werr
	}
	if d.waiter != nil {
		b, err := d.waiter.read()
		if err != nil {
			return 0, false, err, nil
		}
		defer d.waiter.release()
		n, werr = d.write(b)
		return n, false, nil, werr
	}
	var buf []byte
	if more {
		b := buffers.Get().(*[room]byte)
		defer buffers.Put(b)
		buf = b[:bufferSize]
	} else {
		b := waiting.Get().(*[waitSize]byte)
		defer waiting.Put(b)
		buf = b[:]
	}
	r, rerr := d.src.Read(buf)
	if r > 0 {
		n, werr = d.write(buf[:r])
	}
	return n, r >= waitSize, rerr, werr
}

// write writes what was read.
func (d *direction) write(b []byte) (int64, error) {
	if d.held() {
		return d.writeHeld(b)
	}
	return d.writeOnce(b)
}

func (d *direction) writeOnce(b []byte) (int64, error) {
	d.begin()
	err := d.pass(len(b))
	n := 0
	if err == nil {
		n, err = d.dst.Write(b)
	}
	d.end(n > 0)
	return int64(n), err
}

func isTCP(c net.Conn) bool {
	_, ok := c.(*net.TCPConn)
	return ok
}

func (d *direction) spliceable() (dst, src *net.TCPConn, ok bool) {
	if runtime.GOOS != "linux" || d.held() {
		return nil, nil, false
	}
	dst, ok1 := d.dst.(*net.TCPConn)
	src, ok2 := d.src.(*net.TCPConn)
	return dst, src, ok1 && ok2
}

// splice lets the kernel move bytes for one slice.
func (d *direction) splice(dst, src *net.TCPConn) (n int64, rerr, werr error) {
	d.begin()
	d.splices(+1)
	defer func() {
		d.splices(-1)
		d.end(n > 0)
	}()
	now := time.Now()
	_ = src.SetReadDeadline(now.Add(d.slice()))
	_ = dst.SetWriteDeadline(now.Add(d.slice() + d.idle))
	n, err := dst.ReadFrom(src)
	d.passed(n)
	if n == 0 {
		d.run = 0
	}
	switch {
	case err == nil:
		return n, io.EOF, nil
	case isTimeout(err) && time.Since(now) >= d.slice()+d.idle:
		return n, nil, err
	default:
		return n, err, nil
	}
}

// drain reads and drops some of what src still sends after dst failed with err,
// while the other direction delivers what dst had to say, and for a while after
// that: to close with bytes unread would destroy those on their way to src.
func (d *direction) drain(err error) {
	d.note(err)
	buf := buffers.Get().(*[room]byte)
	defer buffers.Put(buf)
	var end time.Time
	for left := drained; left > 0; {
		now := time.Now()
		if end.IsZero() && d.otherHasEnded() {
			end = now.Add(linger)
		}
		idle, _ := d.limits()
		if !end.IsZero() && now.After(end) || now.After(idle) {
			return
		}
		_ = d.src.SetReadDeadline(now.Add(linger))
		n, err := d.src.Read(buf[:])
		left -= n
		if err != nil && !isTimeout(err) {
			return
		}
	}
}
