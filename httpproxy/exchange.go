package httpproxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/byway-proxy/byway/relay"
)

// deaf is how long a client that has ended its sending may stay without a byte
// of its response before it is taken for gone: a FIN does not tell which.
const deaf = 5 * time.Second

var errGone = errors.New("the client went away")

// An exchange is one request that is passed on, and its response.
type exchange struct {
	c    *client
	h    *requestHead
	in   *http.Request
	body *requestBody

	idle   *time.Timer  // gives up when nothing has moved for too long
	moved  atomic.Int64 // pieces that went to the client
	cancel context.CancelCauseFunc

	mu       sync.Mutex
	answered bool // the final response has begun: no interim one may follow
	said100  bool
	begun    bool // the target has begun to respond
	interims int  // how many interim responses there were
	watching bool
	passed   chan struct{} // closed at the first interim response
	over     chan struct{} // closed by finish
	watched  chan struct{} // closed when the watch has ended
	ended    sync.Once
}

func newExchange(c *client, h *requestHead, in *http.Request) *exchange {
	x := &exchange{c: c, h: h, in: in, cancel: func(error) {}}
	x.over, x.watched, x.passed = make(chan struct{}), make(chan struct{}), make(chan struct{})
	x.body = &requestBody{x: x, r: in.Body, expect: len(in.Header["Expect"]) > 0}
	x.body.eof.Store(!h.hasBody())
	_ = c.conn.SetReadDeadline(time.Time{})
	return x
}

// begin starts to look after the exchange, which cancel ends.
func (x *exchange) begin(cancel context.CancelCauseFunc) {
	x.cancel = cancel
	limit := x.c.s.moveLimit()
	x.idle = time.AfterFunc(limit, func() {
		cancel(relay.ErrIdle)
		x.mu.Lock()
		defer x.mu.Unlock()
		select {
		case <-x.over:
		default:
			_ = x.c.conn.SetReadDeadline(time.Unix(1, 0))
		}
	})
	if x.body.eof.Load() {
		x.watch()
	}
}

// touch says that bytes moved.
func (x *exchange) touch() { x.idle.Reset(x.c.s.moveLimit()) }

// watch looks, in the background, whether the client goes away. It may begin when
// the request has been read.
func (x *exchange) watch() {
	x.mu.Lock()
	defer x.mu.Unlock()
	select {
	case <-x.over:
		return
	default:
	}
	if !x.watching {
		x.watching = true
		go x.watchClient()
	}
}

func (x *exchange) watchClient() {
	defer close(x.watched)
	_, err := x.c.br.Peek(1)
	switch {
	case err == nil || errors.Is(err, os.ErrDeadlineExceeded):
		return // the next request is there, or the exchange is over
	case err != io.EOF:
		x.cancel(errGone)
		return
	}
	tick := time.NewTicker(deaf)
	defer tick.Stop()
	for before := x.moved.Load(); ; {
		select {
		case <-x.over:
			return
		case <-tick.C:
		}
		now := x.moved.Load()
		if now == before {
			x.cancel(errGone)
			return
		}
		before = now
	}
}

// finish ends whatever runs in the background. The client's reader is free then.
func (x *exchange) finish() { x.ended.Do(x.end) }

func (x *exchange) end() {
	if x.idle != nil {
		x.idle.Stop()
	}
	x.mu.Lock()
	watching := x.watching
	close(x.over)
	x.mu.Unlock()
	_ = x.c.conn.SetReadDeadline(time.Unix(1, 0))
	if watching {
		<-x.watched
	}
	x.body.shut()
	_ = x.c.conn.SetReadDeadline(time.Time{})
}

// interim passes on a 1xx response.
func (x *exchange) interim(code int, fields http.Header) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	select {
	case <-x.passed:
	default:
		close(x.passed)
	}
	if x.interims++; x.interims > maxInterim {
		return errInterim
	}
	if x.answered || x.h.minor == 0 || code == http.StatusContinue && x.said100 {
		return nil
	}
	x.said100 = x.said100 || code == http.StatusContinue
	return x.c.write(responseHead(code, "", responseFields(fields.Clone())))
}

func (x *exchange) tooManyInterim() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.interims > maxInterim
}

// respondsNow notes that a first byte of a response is here, of what kind is not
// known yet.
func (x *exchange) respondsNow() {
	x.mu.Lock()
	x.begun = true
	x.mu.Unlock()
}

// goOn tells a client that waits to send its body, if nobody has yet. Once the
// target has answered for good, though, the body is not asked for: net/http wants
// it then, to keep its conn.
func (x *exchange) goOn() error {
	x.mu.Lock()
	begun := x.begun
	x.mu.Unlock()
	if begun {
		select {
		case <-x.passed:
		case <-x.over:
			return http.ErrBodyReadAfterClose
		}
	}
	return x.interim(http.StatusContinue, nil)
}

// answer marks the beginning of the final response.
func (x *exchange) answer() {
	x.mu.Lock()
	x.answered = true
	x.mu.Unlock()
}

// fail answers that the request was not served.
func (x *exchange) fail(err error) (again bool, _ error) {
	x.answer()
	c := x.c
	var refused *refusal
	switch {
	case errors.Is(err, errGone):
		c.drop()
		return false, err
	case errors.As(err, &refused):
		return false, c.refuse(refused)
	}
	again = x.keepAlive()
	answer := plainFailure(err).bytes(x.in.Method, !again)
	if !again {
		return false, c.last(answer)
	}
	return true, c.write(answer)
}

// keepAlive reports whether the client's conn can go on after the response: the
// request was read to its end, and the client has not asked otherwise.
func (x *exchange) keepAlive() bool {
	fields := x.in.Header["Connection"]
	if !x.body.eof.Load() || lists(fields, "close") {
		return false
	}
	return x.h.minor == 1 || lists(fields, "keep-alive")
}
