package h2

import (
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	// pending is how many bytes of frames wait for the writer before Write does, and
	// maxPending how many do while the conn takes a batch of them within quick. What waits
	// longer would hold up the other streams' frames.
	pending    = 64 << 10
	maxPending = 256 << 10
	quick      = 5 * time.Millisecond

	// piece is the least that a longer Write is cut to, except where the peer's
	// windows say so.
	piece = 4 << 10

	// share is how many times the session window's rest one stream may have unconsumed.
	share = 8

	// maxControl bounds what a peer can make us answer while it does not read.
	maxControl = 64 << 10
)

var (
	batches    = sync.Pool{New: func() any { return new([pending + headSize]byte) }}
	bigBatches = sync.Pool{New: func() any { return new([maxPending + headSize]byte) }}
)

// room returns the ordered frames, to append a frame to; mu is held.
func (s *Session) room() []byte {
	s.last = nil
	switch {
	case s.out != nil:
	case s.swift:
		s.out = bigBatches.Get().(*[maxPending + headSize]byte)[:0]
	default:
		s.out = batches.Get().(*[pending + headSize]byte)[:0]
	}
	return s.out
}

func recycle(b []byte) {
	switch cap(b) {
	case pending + headSize:
		batches.Put((*[pending + headSize]byte)(b[:cap(b)]))
	case maxPending + headSize:
		bigBatches.Put((*[maxPending + headSize]byte)(b[:cap(b)]))
	}
}

// write carries frames to the conn until the session ends. Nothing is read before the
// preface is written, lest an answer overtake it.
func (s *Session) write() {
	s.mu.Lock()
	for {
		for s.err == nil && len(s.control)+len(s.out) == 0 {
			s.work.Wait()
		}
		if s.err != nil {
			s.mu.Unlock()
			return
		}
		control, out := s.control, s.out
		s.control, s.out, s.last = nil, nil, nil
		s.writing = true
		s.admit()
		s.mu.Unlock()
		began := time.Now()
		err := s.carry(control, out)
		swift := len(out) >= pending/2 && time.Since(began) < quick
		recycle(out)
		if err != nil {
			s.fail(&Error{Session: true, Err: err})
			return
		}
		s.mu.Lock()
		s.writing = false
		s.swift = swift
		if s.batches++; s.batches == 1 {
			go s.read()
		}
	}
}

func (s *Session) carry(control, out []byte) (err error) {
	if len(out) == 0 || len(control) == 0 || len(out) > piece {
		if len(control) > 0 {
			_, err = s.conn.Write(control)
		}
		if err == nil && len(out) > 0 {
			_, err = s.conn.Write(out)
		}
		return err
	}
	_, err = s.conn.Write(append(control, out...))
	return err
}

// admit wakes the streams that wait for what all share; mu is held.
func (s *Session) admit() {
	for i, st := range s.full {
		st.waits = false
		st.writable.Broadcast()
		s.full[i] = nil
	}
	s.full = s.full[:0]
}

// allowance returns how much of n bytes st may send now; mu is held.
func (s *Session) allowance(st *Stream, n int) int {
	most := pending
	if s.out == nil && s.swift || cap(s.out) > maxPending {
		most = maxPending
	}
	room := most - len(s.out)
	if room < min(n, piece) {
		return 0
	}
	may := min(int64(min(n, room, s.peer.frame)), st.window, s.window)
	if may <= 0 {
		return 0
	}
	if len(s.streams) > 1 {
		part := (share*s.window - st.owed) / (share + 1)
		if part < min(may, piece) && st.owed > 0 {
			return 0
		}
		may = min(may, max(part, 1))
	}
	return int(may)
}

// data queues p as DATA of st; mu is held. If the last frame that waits is such, it
// gets longer: to a server such as net/http each frame is so many errands.
func (s *Session) data(st *Stream, p []byte) {
	size := len(s.out) - s.lastAt - headSize + len(p)
	if s.last == st && size <= s.peer.frame {
		h := s.out[s.lastAt:]
		h[0], h[1], h[2] = byte(size>>16), byte(size>>8), byte(size)
	} else {
		s.out = appendHead(s.room(), len(p), frameData, 0, st.id)
		s.last, s.lastAt = st, len(s.out)-headSize
	}
	s.out = append(s.out, p...)
}

// put queues the beginning of p, as far as it may go now, and returns its length;
// mu is held.
func (s *Session) put(st *Stream, p []byte) (n int) {
	for n < len(p) {
		k := s.allowance(st, len(p)-n)
		if k == 0 {
			return n
		}
		s.data(st, p[n:n+k])
		st.window -= int64(k)
		st.owed += int64(k)
		s.window -= int64(k)
		n += k
	}
	return n
}

// Write queues p for the peer, and waits for as long as there is no room or no
// window for it.
func (st *Stream) Write(p []byte) (n int, err error) {
	st.whole.Lock()
	defer st.whole.Unlock()
	s := st.s
	s.mu.Lock()
	for {
		if err = st.unwritable(); err != nil {
			break
		}
		k := s.put(st, p[n:])
		if k > 0 {
			s.work.Signal()
			st.begun = true
			n += k
		}
		if n == len(p) {
			break
		}
		if st.window > 0 && !st.waits {
			st.waits = true
			s.full = append(s.full, st)
		}
		st.writable.Wait()
	}
	s.mu.Unlock()
	if st.up.add(n) {
		st.isBulk()
	}
	if err != nil {
		return n, st.opError("write", err)
	}
	return n, nil
}

// unwritable returns why Write must end; the session's mu is held.
func (st *Stream) unwritable() error {
	switch {
	case st.closed:
		return net.ErrClosed
	case st.writeBy.passed():
		return os.ErrDeadlineExceeded
	case st.ended:
		return syscall.EPIPE
	case st.reset != nil:
		return st.reset
	}
	return nil
}

// answer queues a frame of control, and reports whether the peer keeps within
// reason; mu is held.
func (s *Session) answer(frame []byte) bool {
	s.control = append(s.control, frame...)
	s.work.Signal()
	return len(s.control) < maxControl
}

// end queues END_STREAM, and reports whether that was the end of the last stream;
// mu is held.
func (s *Session) end(st *Stream) (last bool) {
	if st.ended || st.reset != nil || s.err != nil {
		return false
	}
	st.ended = true
	s.out = appendHead(s.room(), 0, frameData, flagEndStream, st.id)
	s.work.Signal()
	return st.done && s.forget(st)
}

// drop queues RST_STREAM and forgets the stream, and reports whether it was the
// last; mu is held.
func (s *Session) drop(st *Stream, code Code) (last bool) {
	if s.streams[st.id] != st {
		return false
	}
	s.out = appendReset(s.room(), st.id, code)
	// The peer counts the stream until it has seen the reset.
	s.resets++
	s.ping()
	s.work.Signal()
	return s.forget(st)
}

// forget takes st out, and reports whether it was the last; mu is held.
func (s *Session) forget(st *Stream) (last bool) {
	if s.streams[st.id] != st {
		return false
	}
	delete(s.streams, st.id)
	st.writeBy.stop()
	if st.parting != nil {
		st.parting.Stop()
	}
	return s.idle()
}
