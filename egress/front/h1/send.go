package h1

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// patience is how long a body waits for a 100 (Continue) that it was asked to wait for. A server
// need not send one (RFC 9110 §10.1.1).
const patience = time.Second

// A sender sends the body of a request, beside the reading of the response.
type sender struct {
	c    *conn
	r    *http.Request
	may  chan bool // whether it may begin, or nil
	once sync.Once
	sent atomic.Bool // all of it
}

func newSender(c *conn, r *http.Request) *sender {
	s := &sender{c: c, r: r}
	if strings.EqualFold(r.Header.Get("Expect"), "100-continue") {
		s.may = make(chan bool, 1)
	}
	return s
}

// goOn tells a sender that waits for a 100 whether to begin.
func (s *sender) goOn(begin bool) {
	if s.may != nil {
		s.once.Do(func() { s.may <- begin })
	}
}

// done reports whether nothing is left to send. A nil sender had nothing.
func (s *sender) done() bool { return s == nil || s.sent.Load() }

func (s *sender) run() {
	defer closeBody(s.r)
	if s.may != nil {
		timer := time.NewTimer(patience)
		defer timer.Stop()
		select {
		case begin := <-s.may:
			if !begin {
				return
			}
		case <-timer.C:
		}
	}
	var err error
	if s.r.ContentLength >= 0 {
		err = s.sized()
	} else {
		err = s.chunked()
	}
	switch {
	case err == nil:
		s.sent.Store(true)
	case errors.Is(err, errWrite):
		// The server may have said why it takes no more: that is read still.
	default:
		_ = s.c.Close() // the client broke off, and the server must see that
	}
}

var errWrite = errors.New("the server takes no more")

// room before a chunk for its size, and behind it for its end.
const room = 8

var buffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

func (s *sender) sized() error {
	buf := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buf)
	for left := s.r.ContentLength; left > 0; {
		n, err := s.r.Body.Read(buf[:min(left, int64(len(buf)))])
		left -= int64(n)
		if n > 0 {
			// The last byte is sent after all is known to be there to be sent: whoever answers it finds us done.
			if left == 0 {
				s.sent.Store(true)
			}
			if _, e := s.c.Write(buf[:n]); e != nil {
				s.sent.Store(false)
				return errWrite
			}
		}
		if err == io.EOF && left > 0 {
			return io.ErrUnexpectedEOF
		}
		if err != nil && err != io.EOF {
			return err
		}
	}
	return nil
}

func (s *sender) chunked() error {
	buf := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buf)
	for {
		n, err := s.r.Body.Read(buf[room : len(buf)-room])
		if n > 0 {
			var digits [room]byte
			size := append(strconv.AppendInt(digits[:0], int64(n), 16), "\r\n"...)
			start := room - len(size)
			copy(buf[start:], size)
			end := room + n + copy(buf[room+n:], "\r\n")
			if _, e := s.c.Write(buf[start:end]); e != nil {
				return errWrite
			}
		}
		if err == io.EOF {
			return s.last()
		}
		if err != nil {
			return err
		}
	}
}

// last sends the end of a chunked body, with its trailers.
func (s *sender) last() error {
	b := []byte("0\r\n")
	for name, values := range s.r.Trailer {
		for _, v := range values {
			if mayTrail(name) && isValue(v) {
				b = append(append(append(append(b, name...), ": "...), v...), "\r\n"...)
			}
		}
	}
	s.sent.Store(true)
	if _, err := s.c.Write(append(b, "\r\n"...)); err != nil {
		s.sent.Store(false)
		return errWrite
	}
	return nil
}
