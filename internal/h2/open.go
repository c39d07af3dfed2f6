package h2

import (
	"context"

	"golang.org/x/net/http2/hpack"
)

// A Field is one of a request or a response. Its name is in lower case.
type Field = hpack.HeaderField

// A Request is what Open asks for.
type Request struct {
	// Fields are those of the request, with the pseudo fields first.
	Fields []Field

	// Accept, unless nil, is called with the response, before any data, and returns the
	// filter for the data, or nil.
	Accept func(*Response) Filter
}

// A Response is the head of the answer to a request.
type Response struct {
	Status int
	Fields []Field // without :status
	Ended  bool    // nothing comes behind it
}

// Open opens a stream on a reserved slot, and does not wait for the answer: what is
// written goes along behind the request. The caller closes or aborts the stream in any
// case. An error is an [*Error].
func (s *Session) Open(r Request) (*Stream, error) {
	st := newStream(s, r.Accept)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reserved--
	if err := s.gone(); err != nil {
		return nil, err
	}
	st.id = s.next
	s.next += 2
	st.window = s.peer.initialWindow
	s.streams[st.id] = st
	s.block.Reset()
	for _, f := range r.Fields {
		_ = s.fields.WriteField(f) // to a buffer
	}
	s.out = appendHeaders(s.room(), s.block.Bytes(), st.id)
	s.question()
	s.work.Signal()
	return st, nil
}

// Answer waits for the answer to the request until ctx ends. An error is an [*Error], or
// the cause of ctx's end; the stream is over then. Whether the response is a tunnel
// is the caller's to say.
func (st *Stream) Answer(ctx context.Context) (*Response, error) {
	select {
	case <-st.answered:
	case <-ctx.Done():
		_ = st.Abort()
		return nil, context.Cause(ctx)
	}
	resp := st.response
	st.response = nil
	if resp == nil {
		return nil, st.failure()
	}
	return resp, nil
}

// gone returns why no stream can be opened; mu is held.
func (s *Session) gone() error {
	switch {
	case s.err != nil:
		e := *s.err.(*Error)
		e.Unprocessed = true
		return &e
	case s.leaving || s.next > maxInt31-2:
		return &Error{Session: true, Unprocessed: true}
	}
	return nil
}
