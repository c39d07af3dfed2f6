package h2

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// patience is how long a stream that ended in good order both ways waits for the
// peer to have passed everything on.
const patience = 2 * time.Minute

// A Stream is a tunnel. It is a net.Conn that can CloseWrite, which sends END_STREAM,
// and Abort, which sends RST_STREAM. A Write may return before its bytes have left.
type Stream struct {
	s      *Session
	id     uint32
	accept func(*Response) Filter

	answered chan struct{} // closed when response is there, or the stream is over
	response *Response     // set before answered is closed
	tellOnce sync.Once

	heads int  // interim answers seen; the session's reader has it alone, and told
	told  bool // the answer has come

	inbound

	whole     sync.Mutex // held while writing: each Write stays whole
	up        meter
	bulkUntil atomic.Int64

	// The session's mu guards what follows.
	writable sync.Cond // the writer waits for the window, or for room
	writeBy  alarm
	window   int64 // that the peer gives
	owed     int64 // bytes sent for which no window came back
	begun    bool  // something was written
	waits    bool  // it is in the session's full
	ended    bool  // END_STREAM is sent
	done     bool  // END_STREAM has come
	closed   bool
	reset    error       // the stream is over; nothing is sent any more
	parting  *time.Timer // ends the wait for the peer's END_STREAM
}

func newStream(s *Session, accept func(*Response) Filter) *Stream {
	st := &Stream{s: s, accept: accept, answered: make(chan struct{})}
	st.writable.L = &s.mu
	st.inbound.init()
	return st
}

// Begun reports whether anything was written, which the peer may have got.
func (st *Stream) Begun() bool {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	return st.begun
}

// Window returns what the peer gives each stream of the session, or 0 if that is not
// known yet.
func (st *Stream) Window() int64 { return st.s.State().Window }

// CloseWrite sends END_STREAM after what was written.
func (st *Stream) CloseWrite() error {
	s := st.s
	s.mu.Lock()
	if st.closed {
		s.mu.Unlock()
		return st.opError("close", net.ErrClosed)
	}
	last := s.end(st)
	st.writable.Broadcast()
	s.mu.Unlock()
	s.changed(last)
	return nil
}

// Close ends both directions. What was written is still sent; then, if the peer
// still sends, the stream is reset.
func (st *Stream) Close() error {
	first, last := st.close(func() bool {
		s := st.s
		last := s.end(st)
		if !last && s.streams[st.id] == st && st.over() {
			// A reset could overtake what the peer still has to pass on.
			st.parting = time.AfterFunc(patience, st.part)
			return false
		}
		return s.drop(st, CodeCancel) || last
	})
	st.s.changed(last)
	if !first {
		return st.opError("close", net.ErrClosed)
	}
	return nil
}

// Abort resets the stream, so that the peer does not take it for an orderly end.
func (st *Stream) Abort() error {
	first, last := st.close(func() bool { return st.s.drop(st, CodeCancel) })
	if !first {
		st.part()
		return st.opError("close", net.ErrClosed)
	}
	st.s.changed(last)
	return nil
}

// close runs how under the session's mu if this is the first time.
func (st *Stream) close(how func() (last bool)) (first, last bool) {
	s := st.s
	s.mu.Lock()
	if first = !st.closed; first {
		st.closed = true
		last = how()
		st.writeBy.stop()
		st.writable.Broadcast()
	}
	s.mu.Unlock()
	if first {
		s.o.Budget.give(st.inbound.close())
	}
	return first, last
}

// part ends a stream that waits for the peer's end.
func (st *Stream) part() {
	s := st.s
	s.mu.Lock()
	last := s.drop(st, CodeCancel)
	s.mu.Unlock()
	s.changed(last)
}

// finish ends the stream as the session sees it: no more comes. With a nil err it
// ended in good order.
func (st *Stream) finish(err error) {
	if err == nil {
		err = io.EOF
	}
	st.inbound.end(err)
	st.tell(nil)
}

// tell lets Open return, the first time.
func (st *Stream) tell(resp *Response) {
	st.tellOnce.Do(func() {
		st.response = resp
		close(st.answered)
	})
}

// LocalAddr returns the session's.
func (st *Stream) LocalAddr() net.Addr { return st.s.local }

// RemoteAddr returns the session's.
func (st *Stream) RemoteAddr() net.Addr { return st.s.remote }

// SetDeadline sets both deadlines.
func (st *Stream) SetDeadline(t time.Time) error {
	_ = st.SetReadDeadline(t)
	return st.SetWriteDeadline(t)
}

// SetReadDeadline sets the deadline of Read, also of one that waits.
func (st *Stream) SetReadDeadline(t time.Time) error {
	st.inbound.setDeadline(t)
	return nil
}

// SetWriteDeadline sets the deadline of Write, also of one that waits.
func (st *Stream) SetWriteDeadline(t time.Time) error {
	s := st.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if !st.closed && s.err == nil {
		st.writeBy.set(t, &st.writable)
	}
	return nil
}

// Bulk is what a stream moves within bulkTime if it is to count as bulk, in bytes.
const (
	bulk     = 1 << 20
	bulkTime = time.Second
	bulkRest = 2 * time.Second // how long it counts so after that
)

// A meter finds out whether one direction is bulk.
type meter struct {
	n     int
	since time.Time
}

func (m *meter) add(n int) bool {
	if m.n += n; m.n < bulk {
		return false
	}
	now := time.Now()
	quick := now.Sub(m.since) < bulkTime
	m.n, m.since = 0, now
	return quick
}

// isBulk notes that the stream, and so its session, carries bulk.
func (st *Stream) isBulk() {
	s := st.s
	now := s.now()
	st.bulkUntil.Store(now + int64(bulkRest))
	if before := s.bulkUntil.Swap(now + int64(bulkRest)); before < now {
		s.changed(true)
	}
}
