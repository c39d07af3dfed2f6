package h1

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"
)

const (
	mostHead  = 1 << 20 // bytes of a response's head
	mostEarly = 16      // informational responses before the final one
)

// A conn is a connection to the server.
type conn struct {
	net.Conn
	client *Client
	raw    syscall.RawConn // nil if it is no socket
	in     *bufio.Reader
	out    []byte    // what a head is written into
	left   int       // bytes that may still be read as a head
	since  time.Time // when it was last put away

	sending *sender // the body on its way, or nil
	stop    func() bool
}

func newConn(c net.Conn, client *Client) *conn {
	cn := &conn{Conn: c, client: client}
	cn.in = bufio.NewReaderSize((*limited)(cn), 4<<10)
	if sc, ok := c.(syscall.Conn); ok {
		cn.raw, _ = sc.SyscallConn()
	}
	return cn
}

// limited reads the conn, and no more than left while a head is read.
type limited conn

var errHead = fmt.Errorf("the head of the response is longer than %d bytes", mostHead)

func (l *limited) Read(p []byte) (int, error) {
	if l.left == 0 {
		return l.Conn.Read(p)
	}
	if l.left < 0 {
		return 0, errHead
	}
	n, err := l.Conn.Read(p)
	if l.left -= n; l.left == 0 {
		l.left = -1
	}
	return n, err
}

// do sends r and reads the head of the response. After an error the caller closes the conn.
func (c *conn) do(r *http.Request, early func(int, http.Header)) (*http.Response, error) {
	var err error
	if c.out, err = appendHead(c.out[:0], r); err != nil {
		closeBody(r)
		return nil, err
	}
	c.stop = context.AfterFunc(r.Context(), func() { _ = c.Close() })
	if _, err := c.Write(c.out); err != nil {
		// It may have answered and closed; if not, that is what is read.
		err = &unansweredError{err}
		if _, e := c.in.Peek(1); e != nil {
			c.stop()
			closeBody(r)
			return nil, err
		}
	}
	if cap(c.out) > 16<<10 {
		c.out = nil
	}
	c.sending = nil
	if hasBody(r) {
		c.sending = newSender(c, r)
		go c.sending.run()
	}
	if limit := c.client.ResponseLimit; limit > 0 {
		_ = c.SetReadDeadline(time.Now().Add(limit))
	}
	resp, err := c.head(r, early)
	if err != nil {
		c.stop()
		if c.sending != nil {
			c.sending.goOn(false)
		}
		return nil, err
	}
	if c.client.ResponseLimit > 0 {
		_ = c.SetReadDeadline(time.Time{})
	}
	return resp, nil
}

// head reads the head of the final response, and passes on those before.
func (c *conn) head(r *http.Request, early func(int, http.Header)) (*http.Response, error) {
	for range mostEarly {
		c.left = mostHead
		if _, err := c.in.Peek(1); err != nil {
			return nil, &unansweredError{err}
		}
		resp, err := http.ReadResponse(c.in, r)
		if err != nil {
			if err == io.ErrUnexpectedEOF || err == io.EOF {
				err = errors.New("the server broke off in the head of its response")
			}
			return nil, err
		}
		c.left = 0
		switch code := resp.StatusCode; {
		case code == http.StatusSwitchingProtocols:
			c.stop()
			resp.Body = &upgraded{c}
			return resp, nil
		case code < 200:
			if code == http.StatusContinue {
				if c.sending != nil {
					c.sending.goOn(true)
				}
			} else if early != nil {
				early(code, resp.Header)
			}
			continue
		}
		if c.sending != nil {
			c.sending.goOn(false)
		}
		return resp, c.body(r, resp)
	}
	return nil, fmt.Errorf("the server sent more than %d informational responses", mostEarly)
}

// An upgraded conn is the body of a 101.
type upgraded struct{ c *conn }

func (u *upgraded) Read(p []byte) (int, error)  { return u.c.in.Read(p) }
func (u *upgraded) Write(p []byte) (int, error) { return u.c.Conn.Write(p) }
func (u *upgraded) Close() error                { return u.c.Conn.Close() }

// CloseWrite ends what is sent.
func (u *upgraded) CloseWrite() error {
	cw, ok := u.c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return cw.CloseWrite()
}
