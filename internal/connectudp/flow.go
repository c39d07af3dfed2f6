package connectudp

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/byway-proxy/byway/internal/datagram"
	"github.com/byway-proxy/byway/internal/deadline"
)

// A Stream carries capsules. One goroutine reads it and others write it, one at a time;
// Close and Abort come at any time, and make Read and Write return.
type Stream interface {
	Read(p []byte) (int, error) // io.EOF is the peer's orderly end alone
	Write(p []byte) (int, error)
	SetWriteDeadline(t time.Time) error
	Close() error // of both directions; what was written is delivered
	Abort() error // tells the peer of an error
}

// Datagrams are HTTP datagrams that travel apart from their stream, as HTTP/3 has them.
type Datagrams interface {
	// SendDatagram returns an error whose errno is EMSGSIZE for what is too long for the path.
	SendDatagram(p []byte) error
	ReceiveDatagram(ctx context.Context) ([]byte, error)
}

// How says by what a [Flow] sends.
type How byte

// Ways to send. A receiver takes both.
const (
	Capsules  How = iota
	Apart         // as Datagrams
	AsTheyDid     // as the last payload came in; capsules at first
)

// smallBuffer is as much as a flow keeps between two writes, in bytes.
const smallBuffer = 2 << 10

// A Flow is a net.Conn of one datagram per Read and Write. It ends with its stream.
type Flow struct {
	s             Stream
	d             Datagrams // nil if there are none
	local, remote net.Addr

	in        datagram.Inbox
	writtenBy deadline.Deadline
	apart     atomic.Bool // payloads are sent as Datagrams
	follow    bool
	cancel    context.CancelFunc
	once      sync.Once
	closed    atomic.Bool

	writing sync.Mutex
	buf     []byte
}

// NewFlow returns the flow of s, which it owns, and of d, which may be nil.
func NewFlow(s Stream, d Datagrams, how How, local, remote net.Addr) *Flow {
	ctx, cancel := context.WithCancel(context.Background())
	f := &Flow{s: s, d: d, local: local, remote: remote, follow: how == AsTheyDid, cancel: cancel}
	f.apart.Store(how == Apart && d != nil)
	go f.takeCapsules()
	if d != nil {
		go f.takeDatagrams(ctx)
	}
	return f
}

// takeCapsules reads the stream to its end, which is the flow's.
func (f *Flow) takeCapsules() {
	r := NewReader(f.s)
	for {
		p, err := r.Next()
		switch {
		case err == io.EOF:
			f.end(io.EOF, f.s.Close)
			return
		case errors.Is(err, ErrMalformed):
			f.end(f.opError("read", brokenError{err}), f.s.Abort)
			return
		case err != nil:
			f.end(f.opError("read", err), f.s.Close)
			return
		}
		f.arrived(p, false)
	}
}

// A brokenError is about what the peer said. Its errno is ECONNRESET.
type brokenError struct{ error }

func (e brokenError) Is(target error) bool { return target == syscall.ECONNRESET }
func (e brokenError) Unwrap() error        { return e.error }

func (f *Flow) takeDatagrams(ctx context.Context) {
	for {
		b, err := f.d.ReceiveDatagram(ctx)
		if err != nil {
			return // the stream tells of the end
		}
		if p, ok := ParseDatagram(b); ok {
			f.arrived(p, true)
		}
	}
}

func (f *Flow) arrived(p []byte, apart bool) {
	if f.follow && f.apart.Load() != apart {
		f.apart.Store(apart)
	}
	f.in.Put(p, nil) // or it is lost, as with a socket whose buffer is full
}

// end ends the flow: reads return err, and the stream is closed by how.
func (f *Flow) end(err error, how func() error) {
	f.once.Do(func() {
		f.in.Close(err)
		f.cancel()
		f.writtenBy.Set(time.Time{}) // its timer is needed no more
		_ = how()
	})
}

// Read returns one datagram, and cuts what p is too short for.
func (f *Flow) Read(p []byte) (int, error) {
	n, _, err := f.in.ReadFrom(p)
	if err == os.ErrDeadlineExceeded || err == net.ErrClosed {
		err = f.opError("read", err)
	}
	return n, err
}

// Write sends p as one datagram. One that is too long for the way is an error whose errno is
// EMSGSIZE, and ends nothing.
func (f *Flow) Write(p []byte) (int, error) {
	if err := f.in.Err(); err != nil {
		if err == io.EOF {
			err = syscall.EPIPE
		}
		return 0, f.opError("write", err)
	}
	switch {
	case f.writtenBy.Passed():
		return 0, f.opError("write", os.ErrDeadlineExceeded)
	case len(p) > datagram.Max:
		return 0, f.opError("write", syscall.EMSGSIZE)
	}
	f.writing.Lock()
	defer f.writing.Unlock()
	defer func() {
		if cap(f.buf) > smallBuffer {
			f.buf = nil
		}
	}()
	if f.apart.Load() {
		f.buf = AppendDatagram(f.buf[:0], p)
		if err := f.d.SendDatagram(f.buf); err != nil {
			return 0, f.opError("write", err)
		}
		return len(p), nil
	}
	f.buf = AppendCapsule(f.buf[:0], p)
	if n, err := f.s.Write(f.buf); err != nil {
		if n > 0 { // what follows would not be understood
			f.end(f.opError("write", syscall.ECONNRESET), f.s.Abort)
		}
		return 0, f.opError("write", err)
	}
	return len(p), nil
}

// Close ends the flow.
func (f *Flow) Close() error {
	if f.closed.Swap(true) {
		return f.opError("close", net.ErrClosed)
	}
	f.end(net.ErrClosed, f.s.Close)
	return nil
}

// LocalAddr returns the address given to NewFlow.
func (f *Flow) LocalAddr() net.Addr { return f.local }

// RemoteAddr returns the address given to NewFlow.
func (f *Flow) RemoteAddr() net.Addr { return f.remote }

// SetDeadline is that of net.Conn.
func (f *Flow) SetDeadline(t time.Time) error {
	_ = f.SetReadDeadline(t)
	return f.SetWriteDeadline(t)
}

// SetReadDeadline is that of net.Conn.
func (f *Flow) SetReadDeadline(t time.Time) error { return f.in.SetReadDeadline(t) }

// SetWriteDeadline is that of net.Conn. A capsule that has gone in part by then ends the flow.
func (f *Flow) SetWriteDeadline(t time.Time) error {
	f.writtenBy.Set(t)
	return f.s.SetWriteDeadline(t)
}

// opError puts err into the form of package net.
func (f *Flow) opError(op string, err error) error {
	if _, ok := err.(*net.OpError); ok {
		return err
	}
	return &net.OpError{Op: op, Net: "udp", Source: f.local, Addr: f.remote, Err: err}
}
