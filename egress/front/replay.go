package front

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/byway-proxy/byway/egress/front/upstream"
)

// replayed is how much of a body is kept, in bytes, to be sent again.
const replayed = 64 << 10

// A replay is a request's body, which can be sent again as long as little of it has been read.
type replay struct {
	body io.ReadCloser
	size int64 // -1 if unknown
	keep bool  // what is read may be needed again

	ended atomic.Bool // all has been read

	mu     sync.Mutex // held while body is read
	kept   []byte
	read   int64
	sentBy *pass
}

// newReplay returns the body of r. A client that waits for a 100 (Continue) is not told to go on before a
// server reads it.
func newReplay(r *http.Request) *replay {
	b := &replay{body: r.Body, size: r.ContentLength, keep: idempotent(r)}
	b.ended.Store(r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0)
	return b
}

// idempotent reports whether r may be sent twice (RFC 9110 §9.2.2).
func idempotent(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return r.Header.Get("Idempotency-Key") != ""
}

// next returns the body from its start. The one before, if any, must have been stopped.
func (b *replay) next() io.ReadCloser {
	p := &pass{b: b}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended.Load() && b.read == 0 {
		return http.NoBody
	}
	b.sentBy = p
	return p
}

// again reports whether the request, which failed with err, may be sent again.
func (b *replay) again(r *http.Request, err error) bool {
	var dial *upstream.DialError
	if !errors.As(err, &dial) && !idempotent(r) {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.read == int64(len(b.kept))
}

// done reports whether the client has nothing more to send.
func (b *replay) done() bool { return b.ended.Load() }

// linger is how long the rest of a body that nobody wants is waited for, so that the client reads the
// response before it learns that the connection is closed.
const linger = 5 * time.Second

// stop ends the reading of what next returned last. It interrupts a read that waits for
// the client. If something is left to read, an HTTP/1.1 connection can take no further request.
func (b *replay) stop(w http.ResponseWriter) {
	if b.body == nil || b.body == http.NoBody {
		return
	}
	rc := http.NewResponseController(w)
	if !b.mu.TryLock() {
		_ = rc.SetReadDeadline(time.Unix(1, 0))
		b.mu.Lock()
	}
	defer b.mu.Unlock()
	b.sentBy = nil
	if !b.done() {
		_ = rc.SetReadDeadline(time.Now().Add(linger))
	}
}

// A pass is one reading of a replay.
type pass struct {
	b  *replay
	at int // in b.kept
}

func (p *pass) Read(to []byte) (int, error) {
	b := p.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sentBy != p {
		return 0, errors.New("the request is not sent any more")
	}
	if p.at < len(b.kept) {
		n := copy(to, b.kept[p.at:])
		p.at += n
		return n, nil
	}
	if b.ended.Load() {
		return 0, io.EOF
	}
	n, err := b.body.Read(to)
	b.read += int64(n)
	if b.keep {
		if b.read <= replayed {
			b.kept = append(b.kept, to[:n]...)
			p.at += n
		} else {
			b.kept, b.keep, p.at = nil, false, 0
		}
	}
	if err == io.EOF || b.size >= 0 && b.read >= b.size {
		b.ended.Store(true)
	}
	return n, err
}

// Close lets the client's body be: its server closes it.
func (p *pass) Close() error { return nil }
