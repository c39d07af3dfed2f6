package h2

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// maxInterim is how many interim answers a stream may have.
const maxInterim = 16

// oversee queues a frame that may overtake the others.
func (s *Session) oversee(frame []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.answer(frame)
}

// credit gives n bytes back to st's window.
func (s *Session) credit(st *Stream, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !st.done && s.streams[st.id] == st {
		s.answer(appendWindow(nil, st.id, n))
	}
}

// cut ends a stream whose peer breaks the rules.
func (s *Session) cut(st *Stream, code Code, what string) {
	err := &Error{Code: code, Err: errors.New("the proxy broke the protocol: " + what)}
	s.mu.Lock()
	last := s.drop(st, code)
	st.reset = err
	st.writable.Broadcast()
	s.mu.Unlock()
	st.finish(err)
	s.changed(last)
}

func (r *receiver) headers(h head, p []byte) *Error {
	if h.flags&flagPadded != 0 {
		if len(p) == 0 || int(p[0]) >= len(p) {
			return violation(CodeProtocol, "padding longer than its frame")
		}
		p = p[1 : len(p)-int(p[0])]
	}
	if h.flags&flagPriority != 0 {
		if len(p) < 5 {
			return violation(CodeFrameSize, "HEADERS without the priority they tell of")
		}
		p = p[5:]
	}
	r.about, r.block = h, r.block[:0]
	return r.gather(h, p)
}

func (r *receiver) continuation(h head, p []byte) *Error {
	if !r.open {
		return violation(CodeProtocol, "CONTINUATION of nothing")
	}
	return r.gather(h, p)
}

// gather puts a header block together, and acts when it is whole.
func (r *receiver) gather(h head, p []byte) *Error {
	if len(r.block)+len(p) > maxHeaders {
		return violation(CodeEnhanceYourCalm, "headers that are too long")
	}
	if h.flags&flagEndHeaders == 0 {
		if r.open && len(p) == 0 {
			return violation(CodeEnhanceYourCalm, "an empty CONTINUATION")
		}
		r.open = true
		r.block = append(r.block, p...)
		return nil
	}
	block := p
	if r.open {
		r.block = append(r.block, p...)
		block = r.block
	}
	r.open, r.block = false, nil
	var fields []Field
	size := 0
	r.fields.SetEmitFunc(func(f Field) {
		if size += int(f.Size()); size <= maxHeaders {
			fields = append(fields, f)
		}
	})
	if _, err := r.fields.Write(block); err != nil {
		return violation(CodeCompression, "%w", err)
	}
	if err := r.fields.Close(); err != nil {
		return violation(CodeCompression, "%w", err)
	}
	st, bad := r.stream(r.about.stream)
	if bad != nil || st == nil {
		return bad
	}
	if size > maxHeaders {
		r.s.cut(st, CodeEnhanceYourCalm, "headers that are too long")
		return nil
	}
	r.answer(st, fields, r.about.flags&flagEndStream != 0)
	return nil
}

// answer takes in a response, or what follows the data.
func (r *receiver) answer(st *Stream, fields []Field, end bool) {
	switch {
	case st.done:
		r.s.cut(st, CodeProtocol, "headers after the end")
		return
	case st.told && !end:
		r.s.cut(st, CodeProtocol, "headers amid the data")
		return
	case st.told:
		r.ended(st)
		return
	}
	resp, err := response(fields)
	if err != nil {
		r.s.cut(st, CodeProtocol, err.Error())
		return
	}
	if resp.Status < 200 {
		if st.heads++; end || st.heads > maxInterim {
			r.s.cut(st, CodeProtocol, "interim answers without an end")
		}
		return
	}
	st.told = true
	resp.Ended = end
	if st.accept != nil {
		st.filterBy(st.accept(resp))
	}
	st.tell(resp)
	if end {
		r.ended(st)
	}
}

// response makes a Response of a header block (RFC 9113 §8.3.2).
func response(fields []Field) (*Response, error) {
	if len(fields) == 0 || fields[0].Name != ":status" {
		return nil, errors.New("an answer without a status")
	}
	v := fields[0].Value
	resp := &Response{Fields: fields[1:]}
	for _, c := range []byte(v) {
		if c < '0' || c > '9' || len(v) != 3 {
			return nil, fmt.Errorf("a status of %.20q", v)
		}
		resp.Status = 10*resp.Status + int(c-'0')
	}
	if resp.Status < 100 || resp.Status == 101 || resp.Status > 599 {
		return nil, fmt.Errorf("a status of %.20q", v)
	}
	for _, f := range resp.Fields {
		if f.Name == "" || f.Name[0] == ':' {
			return nil, errors.New("a malformed field")
		}
		for _, c := range []byte(f.Name) {
			if c <= ' ' || c >= 0x7f || 'A' <= c && c <= 'Z' {
				return nil, errors.New("a malformed field")
			}
		}
	}
	return resp, nil
}

// ended takes in END_STREAM.
func (r *receiver) ended(st *Stream) {
	s := r.s
	s.mu.Lock()
	st.done = true
	last := st.ended && s.forget(st)
	s.mu.Unlock()
	st.finish(nil)
	s.changed(last)
}

func (r *receiver) reset(h head, p []byte) *Error {
	if len(p) != 4 {
		return violation(CodeFrameSize, "RST_STREAM of %d bytes", len(p))
	}
	st, bad := r.stream(h.stream)
	if bad != nil || st == nil {
		return bad
	}
	code := Code(binary.BigEndian.Uint32(p))
	r.s.lose(st, &Error{Code: code, Unprocessed: code == CodeRefusedStream})
	return nil
}

// lose ends a stream that the peer has given up.
func (s *Session) lose(st *Stream, err *Error) {
	s.mu.Lock()
	last := s.forget(st)
	st.reset = err
	st.writable.Broadcast()
	s.mu.Unlock()
	st.finish(err)
	s.changed(last)
}

func (r *receiver) ping(h head, p []byte) *Error {
	if len(p) != 8 {
		return violation(CodeFrameSize, "PING of %d bytes", len(p))
	}
	data := binary.BigEndian.Uint64(p)
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.flags&flagAck == 0 {
		if !s.answer(appendPing(nil, flagAck, data)) {
			return violation(CodeEnhanceYourCalm, "more PINGs than it takes answers")
		}
		return nil
	}
	if data == s.pings {
		s.ponged()
	}
	return nil
}

func (r *receiver) settings(h head, p []byte) *Error {
	s := r.s
	if h.flags&flagAck != 0 {
		if len(p) != 0 {
			return violation(CodeFrameSize, "an acknowledgement with settings")
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.pings == 0 {
			s.ponged()
		}
		return nil
	}
	if len(p)%6 != 0 {
		return violation(CodeFrameSize, "SETTINGS of %d bytes", len(p))
	}
	r.settled = true
	s.mu.Lock()
	first := !s.peer.known
	if first {
		// A peer that says nothing of it sets no limit (§6.5.2).
		s.peer.known, s.peer.streams = true, maxInt31
	}
	for ; len(p) > 0; p = p[6:] {
		if bad := s.set(binary.BigEndian.Uint16(p), binary.BigEndian.Uint32(p[2:])); bad != nil {
			s.mu.Unlock()
			return bad
		}
	}
	ok := s.answer(appendHead(nil, 0, frameSettings, flagAck, 0))
	s.mu.Unlock()
	if !ok {
		return violation(CodeEnhanceYourCalm, "more SETTINGS than it takes answers")
	}
	s.changed(first)
	return nil
}

// set takes in one setting; mu is held.
func (s *Session) set(id uint16, v uint32) *Error {
	switch id {
	case settingTableSize:
		s.fields.SetMaxDynamicTableSize(min(v, 4096))
	case settingPush:
		if v != 0 {
			return violation(CodeProtocol, "a server that lets us push")
		}
	case settingStreams:
		s.peer.streams = int(min(v, maxInt31))
	case settingInitialWindow:
		if v > maxInt31 {
			return violation(CodeFlowControl, "a window of %d", v)
		}
		by := int64(v) - s.peer.initialWindow
		s.peer.initialWindow = int64(v)
		for _, st := range s.streams {
			if st.window += by; st.window > maxInt31 {
				return violation(CodeFlowControl, "a window too large")
			}
			st.writable.Broadcast()
		}
	case settingFrameSize:
		if v < baseFrame || v >= 1<<24 {
			return violation(CodeProtocol, "a frame size of %d", v)
		}
		s.peer.frame = int(v)
	}
	return nil
}

func (r *receiver) windowUpdate(h head, p []byte) *Error {
	if len(p) != 4 {
		return violation(CodeFrameSize, "WINDOW_UPDATE of %d bytes", len(p))
	}
	n := int64(binary.BigEndian.Uint32(p) & maxInt31)
	s := r.s
	if h.stream == 0 {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.window += n; n == 0 || s.window > maxInt31 {
			return violation(CodeFlowControl, "a window too large, or an update of none")
		}
		s.widest = max(s.widest, s.window)
		s.admit()
		return nil
	}
	st, bad := r.stream(h.stream)
	if bad != nil || st == nil {
		return bad
	}
	s.mu.Lock()
	st.window += n
	st.owed = max(0, st.owed-n)
	wrong := n == 0 || st.window > maxInt31
	st.writable.Broadcast()
	s.mu.Unlock()
	if wrong {
		s.cut(st, CodeFlowControl, "a window too large, or an update of none")
	}
	return nil
}

func (r *receiver) goAway(p []byte) *Error {
	if len(p) < 8 {
		return violation(CodeFrameSize, "GOAWAY of %d bytes", len(p))
	}
	last, code := binary.BigEndian.Uint32(p)&maxInt31, Code(binary.BigEndian.Uint32(p[4:]))
	s := r.s
	s.mu.Lock()
	s.leaving = true
	var lost []*Stream
	for id, st := range s.streams {
		if id > last {
			lost = append(lost, st)
		}
	}
	s.mu.Unlock()
	for _, st := range lost {
		s.lose(st, &Error{Code: code, Session: true, Unprocessed: true})
	}
	s.changed(true)
	return nil
}
