//go:build unix

package relay

import (
	"io"
	"net"
	"os"
	"syscall"
)

// A waiter reads from a TCP or UDP conn of the operating system, and has no buffer while it waits.
type waiter struct {
	conn   syscall.RawConn
	try    func(fd uintptr) bool
	buf    *[room]byte
	size   int // of buf, so far as it is used
	stream bool
	n      int
	err    error
}

// newWaiter returns nil if c is no such conn.
func newWaiter(c net.Conn) *waiter {
	w := &waiter{size: room}
	var raw syscall.RawConn
	var err error
	switch c := c.(type) {
	case *net.TCPConn:
		w.stream, w.size = true, bufferSize
		raw, err = c.SyscallConn()
	case *net.UDPConn:
		raw, err = c.SyscallConn()
	default:
		return nil
	}
	if err != nil {
		return nil
	}
	w.conn = raw
	w.try = w.attempt
	return w
}

// attempt reports whether there was anything to read, an end or a failure included.
func (w *waiter) attempt(fd uintptr) bool {
	w.buf = buffers.Get().(*[room]byte)
	for {
		w.n, w.err = syscall.Read(int(fd), w.buf[:w.size])
		switch {
		case w.err == syscall.EINTR:
			continue
		case w.err == syscall.EAGAIN:
			w.release()
			return false
		case w.err != nil:
			w.n, w.err = 0, os.NewSyscallError("read", w.err)
		case w.n == 0 && w.stream:
			w.err = io.EOF
		}
		return true
	}
}

// read is like Read of a conn with a buffer of its own, which is valid until release. There
// is none with an error.
func (w *waiter) read() ([]byte, error) {
	w.n, w.err = 0, nil
	err := w.conn.Read(w.try)
	if err == nil {
		err = w.err
	}
	if err != nil {
		w.release()
		return nil, err
	}
	return w.buf[:w.n], nil
}

func (w *waiter) release() {
	if w.buf != nil {
		buffers.Put(w.buf)
		w.buf = nil
	}
}
