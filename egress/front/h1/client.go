// Package h1 is a client of one server by HTTP/1.1 (RFC 9112), for a reverse proxy: it has no
// goroutine of its own for a connection, nor for a request without a body, and reads responses no further than they
// are asked for. Heads are parsed by net/http.
package h1

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"
)

// A Client speaks to one server. Its fields stay as they are once it is used.
type Client struct {
	Dial          func(ctx context.Context) (net.Conn, error) // required; its errors are returned as they are
	MaxIdle       int                                         // connections kept for the next request; 0 for none
	IdleLimit     time.Duration                               // of one of these; 0 for none
	ResponseLimit time.Duration                               // until a response's head is there, from when the request's is sent; 0 for none

	mu     sync.Mutex
	idle   []*conn // the one used last at the end
	sweep  *time.Timer
	closed bool
}

// ErrRequest says that a request can't be written: it is not the server's fault.
var ErrRequest = errors.New("the request cannot be sent by HTTP/1.1")

// Do sends r and returns the response once its head is there; r's body may still be on its way then, and is
// closed when it has ended. The caller closes the response's body, which is an io.ReadWriteCloser with CloseWrite after a 101. If it is
// not nil, early is called with the informational responses save 100 and 101. The connection is used
// again once both bodies have ended, and cut when r's context ends before.
//
// A request that may be sent twice (RFC 9110 §9.2.2) and has no body is sent again if a kept connection turns out to be closed.
func (c *Client) Do(r *http.Request, early func(status int, h http.Header)) (*http.Response, error) {
	for {
		cn, kept, err := c.get(r)
		if err != nil {
			closeBody(r)
			return nil, err
		}
		resp, err := cn.do(r, early)
		if err == nil {
			return resp, nil
		}
		_ = cn.Close()
		var unseen *unansweredError
		again := kept && errors.As(err, &unseen) && !errors.Is(err, os.ErrDeadlineExceeded) && !hasBody(r) && idempotent(r.Method)
		if r.Context().Err() != nil {
			return nil, context.Cause(r.Context())
		}
		if !again {
			return nil, err
		}
	}
}

// get returns a connection, and whether it was kept from an earlier request.
func (c *Client) get(r *http.Request) (cn *conn, kept bool, err error) {
	careful := hasBody(r) || !idempotent(r.Method) // it can't be sent again
	for {
		c.mu.Lock()
		n := len(c.idle)
		if n == 0 {
			c.mu.Unlock()
			break
		}
		cn := c.idle[n-1]
		c.idle[n-1] = nil
		c.idle = c.idle[:n-1]
		c.mu.Unlock()
		rested := time.Since(cn.since)
		if c.IdleLimit > 0 && rested >= c.IdleLimit || (careful || rested > time.Second) && cn.raw != nil && !silent(cn.raw) {
			_ = cn.Close()
			continue
		}
		return cn, true, nil
	}
	conn, err := c.Dial(r.Context())
	if err != nil {
		return nil, false, err
	}
	return newConn(conn, c), false, nil
}

// put keeps a connection on which nothing is left of a request or response.
func (c *Client) put(cn *conn) {
	cn.since = time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || len(c.idle) >= c.MaxIdle {
		_ = cn.Close()
		return
	}
	c.idle = append(c.idle, cn)
	if c.IdleLimit > 0 && c.sweep == nil {
		c.sweep = time.AfterFunc(c.IdleLimit, c.expire)
	}
}

// expire closes the connections that have been idle for too long.
func (c *Client) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := 0
	for old < len(c.idle) && time.Since(c.idle[old].since) >= c.IdleLimit {
		_ = c.idle[old].Close()
		old++
	}
	c.idle = slices.Delete(c.idle, 0, old)
	if c.sweep = nil; len(c.idle) > 0 {
		c.sweep = time.AfterFunc(c.IdleLimit-time.Since(c.idle[0].since), c.expire)
	}
}

// Close closes the connections that are not in use; those that are will not be kept.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, cn := range c.idle {
		_ = cn.Close()
	}
	c.idle = nil
	if c.sweep != nil {
		c.sweep.Stop()
		c.sweep = nil
	}
}

func hasBody(r *http.Request) bool { return r.Body != nil && r.Body != http.NoBody }

func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
}

func idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

// An unansweredError is that of a connection which ended before a byte of a response.
type unansweredError struct{ err error }

func (e *unansweredError) Error() string {
	if e.err == io.EOF {
		return "the server closed the connection without an answer"
	}
	return e.err.Error()
}

func (e *unansweredError) Unwrap() error { return e.err }
