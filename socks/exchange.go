package socks

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/byway-proxy/byway/chain"
)

// bufferSize holds what a client may send at once, credentials of full length
// included, so that a pipelined handshake takes one read.
const bufferSize = 1 << 10

var errTooLong = errors.New("string too long or without an end")

// An exchange is a conn during a handshake. Writes are held back until a read
// has to wait, or until flush.
//
// As an io.Reader it is what armon/go-socks5 silently asks for: a Read yields a
// byte at least or an error, and never both.
type exchange struct {
	conn  net.Conn
	ahead []byte // read from conn by others, before in
	err   error  // of reading or writing conn, kept
	out   []byte
	said  bool // something was written to conn
	r, w  int  // unread: in[r:w]

	// Of the client's side:
	phase chain.Phase // of a failure from now on

	in [bufferSize]byte
}

var exchanges = sync.Pool{New: func() any { return new(exchange) }}

func newExchange(conn net.Conn, ahead []byte) *exchange {
	x := exchanges.Get().(*exchange)
	x.conn, x.ahead = conn, ahead
	return x
}

// release gives x back, without the secrets that went through it.
func (x *exchange) release() {
	clear(x.out[:cap(x.out)])
	*x = exchange{out: x.out[:0]}
	exchanges.Put(x)
}

// rest returns a copy of the bytes that were read from conn and not consumed.
func (x *exchange) rest() []byte {
	if x.r == x.w {
		return x.ahead
	}
	rest := make([]byte, 0, x.w-x.r+len(x.ahead))
	return append(append(rest, x.in[x.r:x.w]...), x.ahead...)
}

func (x *exchange) Write(p []byte) (int, error) {
	x.out = append(x.out, p...)
	return len(p), nil
}

func (x *exchange) flush() error {
	if len(x.out) == 0 || x.err != nil {
		return x.err
	}
	_, x.err = x.conn.Write(x.out)
	x.out, x.said = x.out[:0], true
	return x.err
}

// fill waits for more bytes to read, one at least.
func (x *exchange) fill() error {
	if err := x.flush(); err != nil {
		return err
	}
	x.w = copy(x.in[:], x.in[x.r:x.w])
	x.r = 0
	if len(x.ahead) > 0 {
		n := copy(x.in[x.w:], x.ahead)
		x.ahead = x.ahead[n:]
		x.w += n
		return nil
	}
	for range 100 {
		n, err := x.conn.Read(x.in[x.w:])
		x.w += n
		if n > 0 {
			return nil // an err that came along comes again
		}
		if err != nil {
			x.err = err
			return err
		}
	}
	x.err = io.ErrNoProgress
	return x.err
}

func (x *exchange) Read(p []byte) (int, error) {
	if x.r == x.w && len(p) > 0 {
		if err := x.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, x.in[x.r:x.w])
	x.r += n
	return n, nil
}

// peek returns the next n bytes, which stay unread and are valid until the next
// call. n is less than [bufferSize].
func (x *exchange) peek(n int) ([]byte, error) {
	for x.w-x.r < n {
		if err := x.fill(); err != nil {
			return nil, cut(err)
		}
	}
	return x.in[x.r : x.r+n], nil
}

// next is peek, and the bytes are read.
func (x *exchange) next(n int) ([]byte, error) {
	b, err := x.peek(n)
	if err == nil {
		x.r += n
	}
	return b, err
}

// ask is next, after everything written was sent, whether or not an answer is
// here already.
func (x *exchange) ask(n int) ([]byte, error) {
	if err := x.flush(); err != nil {
		return nil, err
	}
	return x.next(n)
}

// text reads up to a NUL and returns what is before it, limit bytes at most.
func (x *exchange) text(limit int) ([]byte, error) {
	for {
		unread := x.in[x.r:x.w]
		switch i := bytes.IndexByte(unread, 0); {
		case i > limit, i < 0 && len(unread) > limit:
			return nil, errTooLong
		case i >= 0:
			x.r += i + 1
			return unread[:i], nil
		}
		if err := x.fill(); err != nil {
			return nil, cut(err)
		}
	}
}

// cut makes of an EOF amid a handshake what it is.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

const (
	lingerTime  = time.Second
	lingerBytes = 16 << 10
)

// hangUp closes c, but lets the peer read a last reply before: to close with
// bytes unread would send an RST, which destroys what is on its way. It takes no
// longer than limit, nor than [lingerTime].
func hangUp(ctx context.Context, c net.Conn, limit time.Duration) {
	defer func() { _ = c.Close() }()
	if limit <= 0 {
		return
	}
	_ = chain.Handshake(ctx, c, min(limit, lingerTime), func() error {
		if err := chain.CloseWrite(c); err != nil {
			return err
		}
		_, err := io.CopyN(io.Discard, c, lingerBytes)
		return err
	})
}
