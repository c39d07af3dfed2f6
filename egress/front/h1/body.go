package h1

import (
	"errors"
	"io"
	"net/http"
	"sync"
)

// body gives resp its body, or ends the exchange if there is none.
func (c *conn) body(r *http.Request, resp *http.Response) error {
	e := ending{c: c, keep: !resp.Close}
	switch {
	case resp.ContentLength == 0 || r.Method == http.MethodHead || resp.StatusCode == http.StatusNoContent || resp.StatusCode == http.StatusNotModified:
		resp.Body = http.NoBody
		return e.end()
	case resp.ContentLength > 0:
		resp.Body = &sized{ending: e, left: resp.ContentLength}
	default:
		resp.Body = &open{ending: e, from: resp.Body}
	}
	return nil
}

// An ending is what a body owes its conn.
type ending struct {
	c    *conn
	keep bool // the server does, too
	over bool
}

// end gives the conn back at the end of the response, once.
func (e *ending) end() (err error) {
	if e.over {
		return nil
	}
	e.over = true
	c := e.c
	if !c.stop() {
		err = errors.New("the request was given up")
	}
	if err == nil && e.keep && c.in.Buffered() == 0 && c.sending.done() {
		c.sending, c.stop = nil, nil
		c.client.put(c)
		return nil
	}
	// What comes behind a response that is not asked for is nobody's.
	_ = c.Close()
	return err
}

// Close cuts a response that has not come to its end. Neither it nor the other methods
// may be called at the same time as another.
func (e *ending) Close() error {
	if !e.over {
		e.over = true
		e.c.stop()
		_ = e.c.Conn.Close()
	}
	return nil
}

// A sized body has a length.
type sized struct {
	ending
	left int64
}

func (b *sized) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	if b.over {
		return 0, errClosed
	}
	n, err := b.c.in.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if b.left == 0 {
		if err = b.end(); err == nil {
			err = io.EOF
		}
	} else if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// WriteTo hands w what comes, as it comes: in large pieces if they are there.
func (b *sized) WriteTo(w io.Writer) (sum int64, err error) {
	if b.over && b.left > 0 {
		return 0, errClosed
	}
	buf := large.Get().(*[64 << 10]byte)
	defer large.Put(buf)
	for b.left > 0 {
		p := buf[:min(int64(len(buf)), b.left)]
		n, err := b.c.available(p)
		b.left -= int64(n)
		if n > 0 {
			m, err := w.Write(p[:n])
			sum += int64(m)
			if err != nil {
				return sum, err
			}
		}
		if err == io.EOF && b.left > 0 {
			return sum, io.ErrUnexpectedEOF
		}
		if err != nil && err != io.EOF {
			return sum, err
		}
	}
	return sum, b.end()
}

var large = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// available reads what there is, and waits only if there is nothing.
func (c *conn) available(p []byte) (n int, err error) {
	if ahead := c.in.Buffered(); ahead > 0 {
		n, err = c.in.Read(p[:min(len(p), ahead)])
		if err != nil || n == len(p) || c.raw == nil {
			return n, err
		}
		return n + readNow(c.raw, p[n:]), nil
	}
	return c.Conn.Read(p)
}

// An open body is chunked, or ends with the connection.
type open struct {
	ending
	from io.Reader
	err  error // once it is over
}

func (b *open) Read(p []byte) (int, error) {
	if b.over {
		return 0, b.err
	}
	n, err := b.from.Read(p)
	if err == io.EOF {
		if e := b.end(); e != nil {
			err = e
		}
		b.err = err
	}
	return n, err
}

// Close is that of ending.
func (b *open) Close() error {
	if !b.over {
		b.err = errClosed
	}
	return b.ending.Close()
}

var errClosed = errors.New("the body has been closed")
