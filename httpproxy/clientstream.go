package httpproxy

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// farewell is how long a stream that was closed goes on sending what it had
// accepted, as a closed TCP conn does.
const farewell = 10 * time.Second

// patience is how long a stream that ended in good order both ways waits for the
// peer to have passed everything on.
const patience = 2 * time.Minute

// clientStream is a tunnel on one HTTP/2 stream, at the end that opened it.
type clientStream struct {
	in            *inbound
	out           *outbound
	body          io.ReadCloser // of the response
	cancel        context.CancelCauseFunc
	local, remote net.Addr

	mu     sync.Mutex
	sent   bool // END_STREAM has been sent
	closed bool
	late   *time.Timer // ends the farewell
	finish sync.Once
}

var errAborted = errors.New("the tunnel was aborted")

func (s *clientStream) Read(p []byte) (int, error) {
	n, err := s.in.read(p)
	return n, opError("read", s.local, s.remote, err)
}

func (s *clientStream) Write(p []byte) (int, error) {
	n, err := s.out.write(p)
	return n, opError("write", s.local, s.remote, err)
}

// CloseWrite sends END_STREAM after what was written.
func (s *clientStream) CloseWrite() error {
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return opError("close", s.local, s.remote, net.ErrClosed)
	}
	s.out.end()
	return nil
}

// Close ends both directions. What was written is still sent, as long as the
// peer takes it; then, if it still sends, the stream is reset.
func (s *clientStream) Close() error {
	if !s.close(s.out.close) {
		return opError("close", s.local, s.remote, net.ErrClosed)
	}
	s.mu.Lock()
	sent := s.sent
	if !sent {
		s.late = time.AfterFunc(farewell, func() { s.over(net.ErrClosed) })
	}
	s.mu.Unlock()
	if sent {
		s.over(net.ErrClosed)
	}
	return nil
}

// Abort resets the stream.
func (s *clientStream) Abort() error {
	first := s.close(s.out.abort)
	s.over(errAborted)
	if !first {
		return opError("close", s.local, s.remote, net.ErrClosed)
	}
	return nil
}

// close reports whether this is the first time.
func (s *clientStream) close(out func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.closed = true
	s.in.close()
	out()
	return true
}

// wrote is called by the transport when it has sent the last of the body, or
// never will.
func (s *clientStream) wrote() {
	s.mu.Lock()
	s.sent = true
	closed := s.closed
	s.mu.Unlock()
	if closed {
		s.over(net.ErrClosed)
	}
}

// over ends the stream for the transport: with RST_STREAM, unless both
// directions have ended.
func (s *clientStream) over(cause error) {
	s.finish.Do(func() {
		s.mu.Lock()
		if s.late != nil {
			s.late.Stop()
		}
		s.mu.Unlock()
		if s.in.ended.Load() && cause == net.ErrClosed {
			go s.part()
			return
		}
		s.cancel(cause)
		// It gives back flow control, and may wait for a slow session.
		go s.body.Close() //nolint:errcheck // the stream is over in any case
	})
}

// part waits for the peer's END_STREAM: a reset before that could overtake what
// the peer still has to pass on.
func (s *clientStream) part() {
	late := time.AfterFunc(patience, func() { s.cancel(net.ErrClosed) })
	_, _ = io.Copy(io.Discard, s.body)
	late.Stop()
	s.cancel(net.ErrClosed)
	_ = s.body.Close()
}

func (s *clientStream) LocalAddr() net.Addr  { return s.local }
func (s *clientStream) RemoteAddr() net.Addr { return s.remote }

func (s *clientStream) SetDeadline(t time.Time) error {
	if err := s.SetReadDeadline(t); err != nil {
		return err
	}
	return s.SetWriteDeadline(t)
}

func (s *clientStream) SetReadDeadline(t time.Time) error {
	s.in.by.Set(t)
	return nil
}

func (s *clientStream) SetWriteDeadline(t time.Time) error {
	s.out.by.Set(t)
	return nil
}
