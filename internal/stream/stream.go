// Package stream makes a net.Conn, with deadlines and half-close, of a stream that
// only blocks, such as a channel of SSH.
package stream

import (
	"io"
	"net"
	"sync"
	"time"
)

// A Stream is what a Conn is made of. One goroutine reads it and another writes
// it; Close comes at any time.
type Stream interface {
	// Read returns io.EOF for the peer's orderly end alone; other errors speak errno.
	Read(p []byte) (int, error)

	// Write writes all of p. It is never called after CloseWrite.
	Write(p []byte) (int, error)

	// CloseWrite tells the peer that nothing more comes.
	CloseWrite() error

	// Close ends both directions, whatever is under way, and makes Read and Write
	// return sooner or later. It is called once, and may block.
	Close() error
}

// farewell is how long a conn that was closed goes on sending what it had
// accepted, as a closed TCP conn does.
const farewell = 10 * time.Second

// Conn is the net.Conn of a Stream. It has CloseWrite and Abort.
type Conn struct {
	s             Stream
	in            inbound
	out           outbound
	local, remote net.Addr
	once          sync.Once
	closed        chan struct{}
}

// NewConn returns the conn of s, which it owns.
func NewConn(s Stream, local, remote net.Addr) *Conn {
	c := &Conn{s: s, local: local, remote: remote, closed: make(chan struct{})}
	c.in = inbound{s: s, closed: c.closed, chunks: make(chan chunk)}
	c.out = outbound{
		s: s, closed: c.closed, flushed: make(chan struct{}),
		readable: make(chan struct{}, 1), writable: make(chan struct{}, 1),
	}
	return c
}

// Read reads what has come, until the deadline.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.in.read(p)
	return n, c.opError("read", err)
}

// Write returns when p has been taken for sending. A failure to send is told by a later Write.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.out.write(p)
	return n, c.opError("write", err)
}

// CloseWrite ends the sending direction after what was written.
func (c *Conn) CloseWrite() error {
	select {
	case <-c.closed:
		return c.opError("close", net.ErrClosed)
	default:
	}
	c.out.end()
	return nil
}

// Close ends both directions. What was written is still sent, for 10 s at most.
func (c *Conn) Close() error {
	return c.close(func() {
		c.out.end()
		go func() {
			late := time.NewTimer(farewell)
			defer late.Stop()
			select {
			case <-c.out.flushed:
			case <-late.C:
			}
			c.out.abandon()
			_ = c.s.Close()
		}()
	})
}

// Abort ends both directions at once, without the stream's word for an orderly end.
func (c *Conn) Abort() error {
	return c.close(func() {
		c.out.abandon()
		go c.s.Close() //nolint:errcheck // the conn is over in any case
	})
}

func (c *Conn) close(end func()) error {
	err := net.ErrClosed
	c.once.Do(func() {
		close(c.closed)
		_ = c.SetDeadline(time.Time{}) // gives the timers back
		end()
		err = nil
	})
	return c.opError("close", err)
}

// LocalAddr returns the address given to NewConn.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the address given to NewConn.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	c.in.by.Set(t)
	c.out.by.Set(t)
	return nil
}

// SetReadDeadline sets that of Read.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.in.by.Set(t)
	return nil
}

// SetWriteDeadline sets that of Write.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.out.by.Set(t)
	return nil
}

// opError puts err into the form of package net.
func (c *Conn) opError(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
}
