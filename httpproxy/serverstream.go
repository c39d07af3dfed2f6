package httpproxy

import (
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// serverStream is a tunnel on one HTTP/2 stream, at the end that accepted it. It
// touches the ResponseWriter no more once Close has returned.
type serverStream struct {
	in            *inbound
	body          interface{ Close() error } // of the request
	w             http.ResponseWriter
	rc            *http.ResponseController
	capsules      bool
	local, remote net.Addr

	writing sync.Mutex // held while writing: each Write stays whole

	mu     sync.Mutex
	busy   bool // a Write is under way
	ended  bool // CloseWrite was called
	closed bool
	reset  bool
	by     time.Time   // the write deadline
	timer  *time.Timer // fires at it, while busy
	late   bool        // it did
}

func newServerStream(w http.ResponseWriter, r *http.Request, capsules bool) *serverStream {
	s := &serverStream{
		body: r.Body,
		w:    w, rc: http.NewResponseController(w), capsules: capsules,
		local: addr("h2"), remote: addr(r.RemoteAddr),
	}
	s.in = newInbound(r.Body, s.interrupt)
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		s.local = a
	}
	if a, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		s.remote = net.TCPAddrFromAddrPort(a)
	}
	return s
}

// addr is an address that package net has no type for.
type addr string

func (addr) Network() string  { return "tcp" }
func (a addr) String() string { return string(a) }

func (s *serverStream) flush() error { return s.rc.Flush() }

func (s *serverStream) Read(p []byte) (int, error) {
	n, err := s.in.read(p)
	return n, opError("read", s.local, s.remote, err)
}

// ReadSteady is of relay.Steady. While it waits no other Read may be called.
func (s *serverStream) ReadSteady(p []byte) (int, error) {
	n, err := s.in.readSteady(p)
	return n, opError("read", s.local, s.remote, err)
}

func (s *serverStream) Write(p []byte) (n int, err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.begin(); err != nil {
		return 0, opError("write", s.local, s.remote, err)
	}
	if s.capsules {
		n, err = s.writeCapsules(p)
	} else if n, err = s.w.Write(p); err == nil {
		err = s.flush()
	}
	return n, opError("write", s.local, s.remote, s.done(err))
}

func (s *serverStream) writeCapsules(p []byte) (n int, err error) {
	buf := bigChunks.Get().(*[bigChunk]byte)
	defer bigChunks.Put(buf)
	for n < len(p) && err == nil {
		k := copy(buf[capsuleHead:], p[n:])
		putCapsuleHead(buf[:], capsuleData, k)
		if _, err = s.w.Write(buf[:capsuleHead+k]); err == nil {
			err = s.flush()
		}
		if err == nil {
			n += k
		}
	}
	return n, err
}

// begin lets a Write start, under the deadline.
func (s *serverStream) begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return net.ErrClosed
	case s.late || !s.by.IsZero() && !time.Now().Before(s.by):
		return os.ErrDeadlineExceeded
	case s.reset:
		return syscall.ECONNRESET
	case s.ended:
		return syscall.EPIPE
	}
	s.busy = true
	s.arm()
	return nil
}

// done ends a Write that came back with err.
func (s *serverStream) done(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = false
	s.arm()
	switch {
	case err == nil:
		return nil
	case s.closed:
		return net.ErrClosed
	case s.late:
		return os.ErrDeadlineExceeded
	}
	return streamError(err)
}

// arm sets the timer as by and busy have it; mu is held. Nothing but a reset of
// the stream interrupts a write in net/http: after a deadline that passed in the
// midst of a Write, as with TLS, no more can be written.
func (s *serverStream) arm() {
	if !s.busy || s.by.IsZero() {
		if s.timer != nil {
			s.timer.Stop()
		}
		return
	}
	wait := time.Until(s.by)
	if s.timer == nil {
		s.timer = time.AfterFunc(wait, s.expire)
	} else {
		s.timer.Reset(wait)
	}
}

func (s *serverStream) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy && !s.by.IsZero() && !time.Now().Before(s.by) {
		s.late = true
		s.cut()
	}
}

// cut resets the stream (RST_STREAM, INTERNAL_ERROR); mu is held. It is the one
// way that net/http has from outside of the handler.
func (s *serverStream) cut() {
	if !s.reset {
		s.reset = true
		_ = s.rc.SetWriteDeadline(time.Unix(1, 0))
	}
}

// interrupt ends the request's body after what has come of it.
func (s *serverStream) interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		_ = s.rc.SetReadDeadline(time.Unix(1, 0))
	}
}

// CloseWrite tells the peer that nothing more comes. Without capsules the handler
// must return for that: Read then delivers what is at hand, and EOF. See the
// package's doc.
func (s *serverStream) CloseWrite() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.begin(); err != nil {
		if err == syscall.EPIPE { // called before
			err = nil
		}
		return opError("close", s.local, s.remote, err)
	}
	var err error
	if s.capsules {
		var head [capsuleHead]byte
		putCapsuleHead(head[:], capsuleFinal, 0)
		if _, err = s.w.Write(head[:]); err == nil {
			err = s.flush()
		}
	} else {
		s.in.endSoon()
	}
	err = s.done(err)
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	return opError("close", s.local, s.remote, err)
}

// Close ends both directions. END_STREAM goes when the handler returns.
func (s *serverStream) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return opError("close", s.local, s.remote, net.ErrClosed)
	}
	s.closed = true
	s.in.close()
	if s.busy {
		s.cut()
	}
	s.mu.Unlock()
	_ = s.body.Close()
	s.writing.Lock() // let a Write come back that still has the ResponseWriter
	defer s.writing.Unlock()
	return nil
}

// Abort resets the stream, so that the peer does not take it for an orderly end.
func (s *serverStream) Abort() error {
	s.mu.Lock()
	if !s.closed {
		s.cut()
	}
	s.mu.Unlock()
	return s.Close()
}

func (s *serverStream) LocalAddr() net.Addr  { return s.local }
func (s *serverStream) RemoteAddr() net.Addr { return s.remote }

func (s *serverStream) SetDeadline(t time.Time) error {
	if err := s.SetReadDeadline(t); err != nil {
		return err
	}
	return s.SetWriteDeadline(t)
}

func (s *serverStream) SetReadDeadline(t time.Time) error {
	s.in.by.Set(t)
	return nil
}

func (s *serverStream) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.by = t
	s.arm()
	return nil
}
