package h2

import (
	"io"

	"golang.org/x/net/http2/hpack"
)

// readBuffer is how much a session reads at once, in bytes: two records of TLS.
const readBuffer = 32 << 10

// receiver reads a session's frames, on one goroutine.
type receiver struct {
	s        *Session
	buf      []byte
	from, to int // what of buf is unread
	window   int // that the peer has left, of all streams together
	settled  bool
	fields   *hpack.Decoder
	block    []byte // of HEADERS that go on in CONTINUATION
	about    head   // those HEADERS
	open     bool   // they go on
}

func (r *receiver) init(s *Session) {
	r.s = s
	r.window = sessionWindow
	r.fields = hpack.NewDecoder(4096, nil)
	r.fields.SetMaxStringLength(maxHeaders)
}

func (s *Session) read() {
	s.recv.buf = make([]byte, readBuffer)
	for {
		if err := s.recv.frame(); err != nil {
			s.fail(err)
			return
		}
	}
}

// need waits until n bytes are unread in buf.
func (r *receiver) need(n int) *Error {
	if r.from == r.to {
		r.from, r.to = 0, 0
	}
	if r.from+n > len(r.buf) {
		buf := r.buf
		if n > len(buf) {
			buf = make([]byte, n)
		}
		r.to = copy(buf, r.buf[r.from:r.to])
		r.from, r.buf = 0, buf
	}
	for r.to-r.from < n {
		k, err := r.s.conn.Read(r.buf[r.to:])
		r.to += k
		if k > 0 {
			r.s.heard.Store(r.s.now())
			continue
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return &Error{Session: true, Err: err}
		}
	}
	return nil
}

// frame reads one frame.
func (r *receiver) frame() *Error {
	if err := r.need(headSize); err != nil {
		return err
	}
	h := parseHead(r.buf[r.from:])
	r.from += headSize
	switch {
	case !r.settled && (h.kind != frameSettings || h.flags&flagAck != 0):
		return violation(CodeProtocol, "no SETTINGS at the beginning")
	case h.length > readFrame || h.kind != frameData && h.length > maxHeaders:
		return violation(CodeFrameSize, "a frame of %d bytes", h.length)
	case r.open && (h.kind != frameContinuation || h.stream != r.about.stream):
		return violation(CodeProtocol, "HEADERS that don't go on")
	case h.kind == frameData:
		return r.data(h)
	}
	if err := r.need(h.length); err != nil {
		return err
	}
	p := r.buf[r.from : r.from+h.length]
	r.from += h.length
	return r.dispatch(h, p)
}

func (r *receiver) dispatch(h head, p []byte) *Error {
	ofStream := h.stream != 0
	switch h.kind {
	case frameHeaders, frameContinuation, frameReset:
		if !ofStream {
			return violation(CodeProtocol, "a frame of type %d without a stream", h.kind)
		}
	case frameSettings, framePing, frameGoAway:
		if ofStream {
			return violation(CodeProtocol, "a frame of type %d on a stream", h.kind)
		}
	}
	switch h.kind {
	case frameHeaders:
		return r.headers(h, p)
	case frameContinuation:
		return r.continuation(h, p)
	case frameReset:
		return r.reset(h, p)
	case frameSettings:
		return r.settings(h, p)
	case framePing:
		return r.ping(h, p)
	case frameGoAway:
		return r.goAway(p)
	case frameWindow:
		return r.windowUpdate(h, p)
	case framePush:
		return violation(CodeProtocol, "a push")
	}
	return nil // PRIORITY, and what we don't know (§5.5)
}

// stream returns the stream that a frame is about, or nil if it is over.
func (r *receiver) stream(id uint32) (*Stream, *Error) {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if id%2 == 0 || id >= s.next {
		return nil, violation(CodeProtocol, "a frame on stream %d, which was not opened", id)
	}
	return s.streams[id], nil
}

// data reads a DATA frame, in pieces as they come.
func (r *receiver) data(h head) *Error {
	st, bad := r.stream(h.stream)
	if bad != nil {
		return bad
	}
	if r.window -= h.length; r.window < 0 {
		return violation(CodeFlowControl, "more than the session's window")
	}
	if r.window < sessionWindow/2 {
		r.s.oversee(appendWindow(nil, 0, sessionWindow-r.window))
		r.window = sessionWindow
	}
	left, tail := h.length, 0
	if h.flags&flagPadded != 0 {
		if left == 0 {
			return violation(CodeFrameSize, "DATA without the padding it tells of")
		}
		if err := r.need(1); err != nil {
			return err
		}
		tail = int(r.buf[r.from])
		r.from++
		if left--; tail > left {
			return violation(CodeProtocol, "padding longer than its frame")
		}
		left -= tail
	}
	if st != nil {
		st = r.fit(st, h.length)
	}
	if st != nil && h.length > left {
		r.credit(st, st.waste(h.length-left))
	}
	if err := r.payload(st, left); err != nil {
		return err
	}
	if err := r.payload(nil, tail); err != nil {
		return err
	}
	if st != nil && h.flags&flagEndStream != 0 {
		r.ended(st)
	}
	return nil
}

// fit returns st if the peer may send n bytes on it now.
func (r *receiver) fit(st *Stream, n int) *Stream {
	switch {
	case !st.told:
		r.s.cut(st, CodeProtocol, "DATA before the answer")
	case st.done:
		r.s.cut(st, CodeProtocol, "DATA after the end")
	case !st.inbound.spend(n):
		r.s.cut(st, CodeFlowControl, "more than the stream's window")
	default:
		return st
	}
	return nil
}

// payload hands n bytes to st, or drops them if that is nil.
func (r *receiver) payload(st *Stream, n int) *Error {
	for n > 0 {
		if r.from == r.to {
			if err := r.need(1); err != nil {
				return err
			}
		}
		k := min(n, r.to-r.from)
		if st != nil {
			r.credit(st, st.receive(r.buf[r.from:r.from+k]))
		}
		r.from += k
		n -= k
	}
	return nil
}

func (r *receiver) credit(st *Stream, n int) {
	if n > 0 {
		r.s.credit(st, n)
	}
}
