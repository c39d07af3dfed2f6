package httpproxy

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// requestBody is the body of a client's request as the transport reads it. The
// framing is decoded by net/http's own reader.
type requestBody struct {
	x       *exchange
	r       io.Reader
	expect  bool        // the client waits for a 100
	trailer http.Header // gets the trailers at EOF; nil takes none

	closed atomic.Bool
	eof    atomic.Bool // the request was read to its end

	mu  sync.Mutex // held while reading
	err error
}

func (b *requestBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	if b.expect {
		b.expect = false
		if err := b.x.goOn(); err != nil {
			b.err = errGone
			return 0, err
		}
	}
	n, err := b.r.Read(p)
	if n > 0 {
		b.x.touch()
	}
	if err == io.EOF && !clean(b.x.in.Trailer) {
		err = bad("a malformed field in the trailer section") // net/http is lenient there
	}
	switch {
	case err == io.EOF:
		if b.trailer != nil {
			copyTrailers(b.trailer, b.x.in.Trailer)
		}
		if !b.eof.Swap(true) {
			b.x.watch()
		}
	case err != nil && b.err == nil && !b.closed.Load():
		b.err = blame(err)
	}
	return n, err
}

// clean reports whether names and values of a trailer section are what RFC 9112 §5
// allows.
func clean(trailer http.Header) bool {
	for name, values := range trailer {
		if !isToken([]byte(name)) {
			return false
		}
		for _, v := range values {
			if !isFieldValue([]byte(v)) {
				return false
			}
		}
	}
	return true
}

// blame says what an error of the client's body means.
func blame(err error) error {
	var op *net.OpError
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.As(err, &op):
		return errGone
	}
	return bad("malformed chunked body")
}

// failure returns why the body ended early for the client's part, or nil.
func (b *requestBody) failure() error {
	if !b.mu.TryLock() {
		return nil // it is still being read
	}
	defer b.mu.Unlock()
	return b.err
}

// Close is for the transport, which may call it while a Read waits. What is left
// of the body is not read: the conn ends after the response.
func (b *requestBody) Close() error {
	if !b.closed.Swap(true) && !b.eof.Load() {
		_ = b.x.c.conn.SetReadDeadline(time.Unix(1, 0))
	}
	return nil
}

// shut makes sure that nobody reads from the client's reader any more. Its caller
// has made reads of the conn fail.
func (b *requestBody) shut() {
	b.closed.Store(true)
	b.mu.Lock()
	defer b.mu.Unlock()
}
