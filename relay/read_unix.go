//go:build unix

package relay

import (
	"io"
	"net"
	"os"
	"syscall"
)

// A waiter reads from a TCP conn of the operating system, and has no buffer while it waits.
type waiter struct {
	conn syscall.RawConn
	try  func(fd uintptr) bool
	buf  *[bufferSize]byte
	n    int
	err  error
}

// newWaiter returns nil if c is no such conn.
func newWaiter(c net.Conn) *waiter {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	w := &waiter{conn: raw}
	w.try = w.attempt
	return w
}

// attempt reports whether there was anything to read, an end or a failure included.
func (w *waiter) attempt(fd uintptr) bool {
	w.buf = buffers.Get().(*[bufferSize]byte)
	for {
		w.n, w.err = syscall.Read(int(fd), w.buf[:])
		switch {
		case w.err == syscall.EINTR:
			continue
		case w.err == syscall.EAGAIN:
			w.release()
			return false
		case w.err != nil:
			w.n, w.err = 0, os.NewSyscallError("read", w.err)
		case w.n == 0:
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
