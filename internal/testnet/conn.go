package testnet

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/byway-proxy/byway/internal/deadline"
)

// window is how many bytes may be on their way or unread before a Write blocks.
const window = 256 << 10

// conn is one end of an in-memory connection that behaves as TCP does.
type conn struct {
	near, far         Addr
	in, out           *pipe
	readBy, writtenBy deadline.Deadline
	once              sync.Once
	closed            chan struct{}
}

func pair(near, far Addr, delay time.Duration) (a, b *conn) {
	up, down := newPipe(delay), newPipe(delay)
	a = &conn{near: near, far: far, in: down, out: up, closed: make(chan struct{})}
	b = &conn{near: far, far: near, in: up, out: down, closed: make(chan struct{})}
	return a, b
}

// Pipe returns the two ends of an in-memory connection with a one-way delay.
func Pipe(delay time.Duration) (a, b net.Conn) { return pair("a:1", "b:2", delay) }

// AddressedPipe is Pipe without a delay, with those addresses at its ends.
func AddressedPipe(near, far Addr) (a, b net.Conn) { return pair(near, far, 0) }

func (c *conn) LocalAddr() net.Addr  { return c.near }
func (c *conn) RemoteAddr() net.Addr { return c.far }

func (c *conn) SetDeadline(t time.Time) error {
	c.readBy.Set(t)
	c.writtenBy.Set(t)
	return nil
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.readBy.Set(t)
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.writtenBy.Set(t)
	return nil
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.in.read(p, c.readBy.Done, c.closed)
	if err != nil && err != io.EOF {
		err = opError("read", string(c.far), err)
	}
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	n, err := c.out.write(p, c.writtenBy.Done, c.closed)
	if err != nil {
		err = opError("write", string(c.far), err)
	}
	return n, err
}

// CloseWrite sends a FIN.
func (c *conn) CloseWrite() error {
	select {
	case <-c.closed:
		return opError("close", string(c.far), net.ErrClosed)
	default:
	}
	c.out.finish()
	return nil
}

// Close sends a FIN; as with TCP, unread data or later arrivals cause a reset.
func (c *conn) Close() error {
	first := false
	c.once.Do(func() { first = true; close(c.closed) })
	if !first {
		return opError("close", string(c.far), net.ErrClosed)
	}
	if c.in.abandon() {
		c.out.reset()
	} else {
		c.out.finish()
	}
	return nil
}

// Abort sends an RST.
func (c *conn) Abort() error {
	c.once.Do(func() { close(c.closed) })
	c.in.abandon()
	c.in.reset()
	c.out.reset()
	return nil
}

// StopReading makes the peer's writes fail, and lets the other direction be.
func (c *conn) StopReading() { c.in.abandon() }

// pipe is one direction of a connection.
type pipe struct {
	delay time.Duration

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced at every change
	queue    []segment
	held     int // bytes in queue
	fin      bool
	finAt    time.Time
	rst      bool
	rstAt    time.Time
	deserted bool // the reader has closed
}

type segment struct {
	data []byte
	at   time.Time // of arrival
}

func newPipe(delay time.Duration) *pipe {
	return &pipe{delay: delay, changed: make(chan struct{})}
}

// change wakes all who wait; mu is held.
func (p *pipe) change() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *pipe) read(b []byte, by func() <-chan struct{}, closed <-chan struct{}) (int, error) {
	for {
		if err := stopped(by, closed); err != nil {
			return 0, err
		}
		if len(b) == 0 {
			return 0, nil
		}
		p.mu.Lock()
		n, next, err := p.take(b)
		changed := p.changed
		p.mu.Unlock()
		if err != nil {
			err = orClosed(closed, err)
		}
		if n > 0 || err != nil {
			return n, err
		}
		var arrival <-chan time.Time
		var timer *time.Timer
		if !next.IsZero() {
			timer = time.NewTimer(time.Until(next))
			arrival = timer.C
		}
		select {
		case <-closed:
		case <-by():
		case <-changed:
		case <-arrival:
		}
		if timer != nil {
			timer.Stop()
		}
	}
}

// stopped tells of a conn that is closed, and else of a deadline that has passed.
func stopped(by func() <-chan struct{}, closed <-chan struct{}) error {
	select {
	case <-closed:
		return net.ErrClosed
	default:
	}
	select {
	case <-by():
		return os.ErrDeadlineExceeded
	default:
		return nil
	}
}

// orClosed is err, unless it comes of the close of the conn itself, which may fall
// between a look at closed and one at the pipe.
func orClosed(closed <-chan struct{}, err error) error {
	select {
	case <-closed:
		return net.ErrClosed
	default:
		return err
	}
}

// take moves what has arrived to b; if nothing has, next is when something will.
func (p *pipe) take(b []byte) (n int, next time.Time, err error) {
	now := time.Now()
	if p.rst && !now.Before(p.rstAt) {
		return 0, next, syscall.ECONNRESET
	}
	for len(p.queue) > 0 && n < len(b) && !now.Before(p.queue[0].at) {
		k := copy(b[n:], p.queue[0].data)
		n += k
		p.held -= k
		if p.queue[0].data = p.queue[0].data[k:]; len(p.queue[0].data) == 0 {
			p.queue = p.queue[1:]
		}
	}
	if n > 0 {
		p.change()
		return n, next, nil
	}
	switch {
	case p.rst:
		next = p.rstAt
	case len(p.queue) > 0:
		next = p.queue[0].at
	case p.fin && !now.Before(p.finAt):
		return 0, next, io.EOF
	case p.fin:
		next = p.finAt
	}
	return 0, next, nil
}

func (p *pipe) write(b []byte, by func() <-chan struct{}, closed <-chan struct{}) (n int, err error) {
	for {
		if err := stopped(by, closed); err != nil {
			return n, err
		}
		p.mu.Lock()
		switch {
		case p.rst:
			p.mu.Unlock()
			return n, orClosed(closed, syscall.ECONNRESET)
		case p.fin || p.deserted:
			p.mu.Unlock()
			return n, orClosed(closed, syscall.EPIPE)
		}
		if k := min(len(b)-n, window-p.held); k > 0 {
			p.queue = append(p.queue, segment{append([]byte(nil), b[n:n+k]...), time.Now().Add(p.delay)})
			p.held += k
			n += k
			p.change()
		}
		changed := p.changed
		p.mu.Unlock()
		if n == len(b) {
			return n, nil
		}
		select {
		case <-closed:
		case <-by():
		case <-changed:
		}
	}
}

func (p *pipe) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.fin {
		p.fin, p.finAt = true, time.Now().Add(p.delay)
		p.change()
	}
}

func (p *pipe) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.rst {
		p.rst, p.rstAt = true, time.Now().Add(p.delay)
		p.change()
	}
}

// abandon tells that the reader is gone, and reports whether bytes were unread.
func (p *pipe) abandon() (unread bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deserted = true
	p.change()
	return p.held > 0
}
