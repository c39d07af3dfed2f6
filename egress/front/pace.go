package front

import (
	"io"
	"net/http"
	"time"
)

// pace holds a request's body and its answer to stallLimit: each read and each write has to
// move something in that time. done ends it, before the handler returns.
func pace(w http.ResponseWriter, r *http.Request) (paced http.ResponseWriter, done func()) {
	in := &pacedBody{ctrl: http.NewResponseController(w), h2: r.ProtoMajor == 2}
	if r.Body != nil && r.Body != http.NoBody {
		in.ReadCloser = r.Body
		in.drains = r.ProtoMajor == 1 && r.ContentLength != 0
		r.Body = in
	}
	out := &pacedWriter{ResponseWriter: w, ctrl: in.ctrl, h2: r.ProtoMajor == 2}
	return out, func() { in.done(); out.done() }
}

// pacedBody bounds reads of a request's body. On HTTP/2 a deadline is a timer that fails the
// body even if nobody reads, so there it is put away between reads.
type pacedBody struct {
	io.ReadCloser
	ctrl   *http.ResponseController
	h2     bool
	drains bool // net/http reads what is left of it after the handler
	ended  bool
}

func (b *pacedBody) Read(p []byte) (int, error) {
	if !b.ended {
		_ = b.ctrl.SetReadDeadline(time.Now().Add(stallLimit))
	}
	n, err := b.ReadCloser.Read(p)
	if !b.ended && (err == io.EOF || err == nil && b.h2) {
		// net/http watches for the client's end in the time of the handler, and a
		// deadline would be one.
		_ = b.ctrl.SetReadDeadline(time.Time{})
	}
	b.ended = b.ended || err != nil
	return n, err
}

func (b *pacedBody) done() {
	if b.drains && !b.ended {
		_ = b.ctrl.SetReadDeadline(time.Now().Add(stallLimit))
	}
	b.ended = true
}

// chunk is how much one deadline covers: a body that is slow, but moves, must not be cut.
const chunk = 64 << 10

// pacedWriter bounds writes of an answer.
type pacedWriter struct {
	http.ResponseWriter
	ctrl      *http.ResponseController
	h2        bool
	unflushed bool
}

// Unwrap is for [http.ResponseController].
func (w *pacedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *pacedWriter) arm() { _ = w.ctrl.SetWriteDeadline(time.Now().Add(stallLimit)) }

// rest puts the deadline away until the next write, where it is a timer.
func (w *pacedWriter) rest() {
	if w.h2 {
		_ = w.ctrl.SetWriteDeadline(time.Time{})
	}
}

func (w *pacedWriter) Write(p []byte) (n int, err error) {
	defer w.rest()
	for len(p) > 0 && err == nil {
		var k int
		w.arm()
		k, err = w.ResponseWriter.Write(p[:min(len(p), chunk)])
		n, p = n+k, p[k:]
		w.unflushed = true
	}
	return n, err
}

// ReadFrom lets net/http copy a file in its own way.
func (w *pacedWriter) ReadFrom(src io.Reader) (n int64, err error) {
	defer w.rest()
	for {
		w.arm()
		k, err := io.Copy(w.ResponseWriter, io.LimitReader(src, chunk))
		n += k
		w.unflushed = w.unflushed || k > 0
		if err != nil || k < chunk {
			return n, err
		}
	}
}

// FlushError is for [http.ResponseController].
func (w *pacedWriter) FlushError() error {
	defer w.rest()
	w.arm()
	w.unflushed = false
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Flush is for those who ask for an [http.Flusher].
func (w *pacedWriter) Flush() { _ = w.FlushError() }

// done bounds what net/http writes after the handler.
func (w *pacedWriter) done() {
	if w.h2 && w.unflushed {
		w.arm()
	}
}
