package httpproxy

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"sync"
	"time"

	"github.com/byway-proxy/byway/relay"
)

// A streamed is a request on HTTP/2 that is passed on, and its response.
type streamed struct {
	s      *Server
	w      http.ResponseWriter
	rc     *http.ResponseController
	in     *http.Request
	cancel context.CancelCauseFunc

	mu       sync.Mutex  // held while w is used before the final response
	idle     *time.Timer // gives up when nothing has moved for too long
	answered bool        // the final response has begun: no interim one may follow
	over     bool        // w is no longer ours
	interims int         // how many interim responses there were
}

// forward passes on a request for an http:// URL.
func (c *client2) forward(w http.ResponseWriter, r *http.Request, a absolute, q relay.Request) {
	hasBody := r.ContentLength != 0
	if said, stops, refused := maxForwards(r, hasBody); refused != nil {
		c.refuse(w, r, refused)
		return
	} else if stops {
		said.send(w, r.Method)
		return
	}
	if len(r.Header["Expect"]) > 0 { // net/http has taken out 100-continue, and sees to it
		c.refuse(w, r, &refusal{http.StatusExpectationFailed, "100-continue is the only expectation known here"})
		return
	}
	d, err := c.s.Relay.Route(r.Context(), q)
	if err != nil {
		failure(err).send(w, r.Method)
		return
	}
	ctx, cancel := context.WithCancelCause(context.WithValue(r.Context(), requestKey{}, routed{q, d, !hasBody}))
	defer cancel(nil)
	x := &streamed{s: c.s, w: w, rc: http.NewResponseController(w), in: r, cancel: cancel}
	x.idle = time.AfterFunc(c.s.moveLimit(), x.expire)
	defer x.finish()
	out := c.s.outgoing(r, a)
	if hasBody {
		out.Trailer = announced(r.Trailer)
		out.Body, out.ContentLength = &streamedBody{x: x, trailer: out.Trailer}, r.ContentLength
	}
	x.roundTrip(ctx, out, c.s.targets.of(c.s.Relay, q, d))
}

func (x *streamed) roundTrip(ctx context.Context, out *http.Request, t *http.Transport) {
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		Got1xxResponse: func(code int, fields textproto.MIMEHeader) error {
			return x.interim(code, http.Header(fields))
		},
	})
	resp, err := t.RoundTrip(out.WithContext(traced))
	tooMany := x.answer()
	switch {
	case err == nil && resp.StatusCode == http.StatusSwitchingProtocols:
		_ = resp.Body.Close()
		err = errors.New("the target switched protocols without being asked")
	case err == nil:
		defer resp.Body.Close() //nolint:errcheck // it was read to its end, or is given up
		x.respond(resp)
		return
	case tooMany:
		err = errInterim
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	failure(err).send(x.w, x.in.Method) // to nobody, if the client has gone
}

// touch says that bytes moved.
func (x *streamed) touch() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.over {
		x.idle.Reset(x.s.moveLimit())
	}
}

// expire gives up. A read of the body that waits comes back then, and so does a
// write, for which the stream is reset.
func (x *streamed) expire() {
	x.cancel(relay.ErrIdle)
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.over {
		return
	}
	_ = x.rc.SetReadDeadline(time.Unix(1, 0))
	if x.answered {
		_ = x.rc.SetWriteDeadline(time.Unix(1, 0))
	}
}

func (x *streamed) finish() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.over = true
	x.idle.Stop()
}

// answer marks the beginning of the final response, and reports whether there were
// too many interim ones.
func (x *streamed) answer() (tooMany bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.answered = true
	return x.interims > maxInterim
}

// interim passes on a 1xx response. A 100 is net/http's to send, when the body is
// asked for.
func (x *streamed) interim(code int, fields http.Header) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.interims++; x.interims > maxInterim {
		return errInterim
	}
	if x.answered || code == http.StatusContinue {
		return nil
	}
	h := x.w.Header()
	maps.Copy(h, responseFields(fields.Clone()))
	x.w.WriteHeader(code)
	clear(h)
	return nil
}

// respond passes a final response on, piece by piece as it comes. One that is cut
// short ends in a reset.
func (x *streamed) respond(resp *http.Response) {
	x.touch()
	h := x.w.Header()
	maps.Copy(h, responseFields(resp.Header))
	for _, name := range []string{"Content-Type", "Date"} {
		if _, ok := h[name]; !ok {
			h[name] = nil // so that net/http adds none
		}
	}
	if names := trailerNames(resp.Trailer); names != "" {
		h.Set("Trailer", names)
	}
	if x.s.Via != "" {
		h.Add("Via", "1.1 "+x.s.Via)
	}
	bodyless := x.in.Method == http.MethodHead || resp.StatusCode == http.StatusNoContent || resp.StatusCode == http.StatusNotModified
	if !bodyless && resp.ContentLength >= 0 {
		h.Set("Content-Length", strconv.FormatInt(resp.ContentLength, 10))
	}
	x.w.WriteHeader(resp.StatusCode)
	if bodyless {
		return
	}
	if err := x.copyBody(resp.Body); err != nil {
		panic(http.ErrAbortHandler)
	}
	trailer := make(http.Header)
	copyTrailers(trailer, resp.Trailer)
	for name, values := range trailer {
		h[http.TrailerPrefix+name] = values
	}
}

// copyBody sends each piece as soon as it is there.
func (x *streamed) copyBody(body io.Reader) error {
	if err := x.rc.Flush(); err != nil {
		return err
	}
	buf := pieces.Get().(*[pieceRoom + pieceSize + 2]byte)
	defer pieces.Put(buf)
	for {
		n, err := body.Read(buf[:])
		if n > 0 {
			x.touch()
			if _, err := x.w.Write(buf[:n]); err != nil {
				return err
			}
			if err := x.rc.Flush(); err != nil {
				return err
			}
			x.touch()
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// streamedBody is the body of a client's request as the transport reads it.
type streamedBody struct {
	x       *streamed
	trailer http.Header // gets the trailers at EOF
}

func (b *streamedBody) Read(p []byte) (int, error) {
	n, err := b.x.in.Body.Read(p)
	if n > 0 {
		b.x.touch()
	}
	if err == io.EOF {
		copyTrailers(b.trailer, b.x.in.Trailer)
	}
	return n, err
}

func (b *streamedBody) Close() error { return b.x.in.Body.Close() }
