package httpproxy

import (
	"bufio"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/relay"
)

// A Server is an HTTP proxy for local clients on HTTP/2, 1.1 and 1.0. Which of them
// a client speaks is told by its first bytes, be there TLS below or not. Its fields
// must not change once it serves. It is safe for concurrent use.
type Server struct {
	// Relay carries the tunnels and opens the conns to targets. It is required.
	Relay *relay.Relay

	// Users, if not nil, says which Basic credentials in Proxy-Authorization are
	// good, and nothing is served without, save for the page about the proxy and the
	// PAC file. It compares in constant time. If it has a method
	// UserOf(token string) (user string, ok bool), Bearer credentials are taken too.
	Users interface {
		Valid(user, password string) bool
	}

	// Limit bounds the reading of a request's head; 0 means 10 s.
	Limit time.Duration

	// IdleLimit bounds the wait for a client's next request; 0 means 2 minutes.
	IdleLimit time.Duration

	// Via is the name under which the proxy appears in Via fields. With "" it adds
	// none, which RFC 9110 §7.6.3 does not allow: see the package's doc.
	Via string

	// SOCKS tells that the listener speaks SOCKS5 too, which the PAC file then says.
	SOCKS bool

	// Certificate is that of the TLS below the conns, if there is any. Who calls the
	// proxy by a name in it is not taken for a stranger to the page about it.
	Certificate *x509.Certificate

	// Request is what each request begins as: its Listener, and all else that is
	// the listener's to say.
	Request relay.Request

	targets targets
	h2      sessions
	rest    rest
}

// ServeConn serves one client until it leaves, ctx ends, it breaks the
// protocol, or its tunnel is parked (see [relay.Relay.Serve]). It owns conn and closes it. The error says why the conn did not end
// in good order; relay.Trace's BadClient has been told of clients at fault.
func (s *Server) ServeConn(ctx context.Context, conn net.Conn) error {
	c := &client{s: s, conn: conn, br: readers.Get().(*bufio.Reader)}
	c.br.Reset(conn)
	defer c.release()
	stop := context.AfterFunc(ctx, func() { _ = chain.Abort(conn) })
	defer stop()
	for {
		again, err := c.serve(ctx)
		if err != nil && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil || !again {
			return err
		}
	}
}

// Close closes the conns to targets that are kept for further requests, and has
// clients begin no more of these: those on HTTP/2 are told, and the conns of others are closed when
// they have their answer.
func (s *Server) Close() error {
	s.rest.close()
	s.h2.close(s)
	s.targets.close()
	return nil
}

func (s *Server) limit() time.Duration     { return orElse(s.Limit, 10*time.Second) }
func (s *Server) idleLimit() time.Duration { return orElse(s.IdleLimit, 2*time.Minute) }

// moveLimit is how long a body may make no progress: the relay's limit.
func (s *Server) moveLimit() time.Duration { return s.Relay.Limits().IdleLimit }

// readers is of *bufio.Reader with room for an ordinary head.
var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 4<<10) }}

// client is the conn of one client.
type client struct {
	s      *Server
	conn   net.Conn
	br     *bufio.Reader
	big    bool // br is not of the pool
	served bool // a request was served
	gone   bool // conn is closed, or another's
}

func (c *client) release() {
	if !c.gone {
		_ = c.conn.Close()
	}
	if !c.big {
		c.br.Reset(nil)
		readers.Put(c.br)
	}
}

// serve serves one request, and reports whether there may be another.
func (c *client) serve(ctx context.Context) (again bool, err error) {
	head, err := c.readHead()
	if err != nil || head == nil {
		return false, c.fault(err)
	}
	if !c.served && string(head) == preface {
		return false, c.serve2(ctx)
	}
	h, refused := parseHead(head)
	if refused != nil {
		return false, c.refuse(refused)
	}
	c.served = true
	ownForm := h.target[0] == '/' || h.target == "*"
	user := ""
	if c.s.Users != nil && !ownForm {
		var ok bool
		if user, ok = c.s.userOf(h.auth); !ok {
			return c.demandAuth(h, len(head))
		}
	}
	q := c.s.Request
	q.Network, q.User, q.Client = "tcp", user, c.conn.RemoteAddr()
	q.Label = c.s.label(h.auth)
	switch {
	case h.method == http.MethodConnect:
		if h.hasLength || h.chunked {
			return false, c.refuse(bad("a CONNECT with a body"))
		}
		if q.Addr, refused = connectTarget(h.target); refused != nil {
			return false, c.refuse(refused)
		}
		if _, err := c.br.Discard(len(head)); err != nil {
			return false, err
		}
		return false, c.s.Relay.Serve(ctx, &tunnel{c: c, req: q})
	case ownForm:
		return c.shortAnswer(h, len(head), c.s.own(ownRequest{
			method: h.method, path: h.target, authority: h.host, foreign: h.foreign, body: h.hasBody(), conn: c.conn,
		}))
	}
	a, refused := absoluteTarget(h.target)
	if refused != nil {
		return false, c.refuse(refused)
	}
	q.Addr = a.addr
	return c.forward(ctx, h, a, q)
}

// readHead returns the next head, which remains in br, or nil if the client left
// without a word.
func (c *client) readHead() ([]byte, error) {
	wait := c.s.limit()
	if c.served {
		wait = c.s.idleLimit()
	}
	if err := c.conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return nil, err
	}
	if c.served && !c.s.rest.begin(c) {
		return nil, nil
	}
	b, err := c.br.Peek(1)
	if c.served {
		c.s.rest.end(c)
	}
	if err != nil {
		if err == io.EOF || c.served && errors.Is(err, os.ErrDeadlineExceeded) {
			err = nil
		}
		return nil, err
	}
	if c.served {
		_ = c.conn.SetReadDeadline(time.Now().Add(c.s.limit()))
	}
	if b[0] == '\r' { // an empty line before a request is ignored: RFC 9112 §2.2
		if b, err = c.br.Peek(2); err == nil && b[1] == '\n' {
			_, _ = c.br.Discard(2)
		}
	}
	return c.wholeHead()
}

func (c *client) wholeHead() ([]byte, error) {
	seen, want := 0, 1
	for {
		_, err := c.br.Peek(want)
		b, _ := c.br.Peek(c.br.Buffered())
		if len(b) > 0 && !tokenChar[b[0]] {
			return nil, bad("no HTTP request")
		}
		end, next, refused := headEnd(b, seen)
		switch {
		case refused != nil:
			return nil, refused
		case end > 0:
			return b[:end], nil
		case err != nil:
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		case len(b) < c.br.Size():
		case c.big:
			return nil, &refusal{http.StatusRequestHeaderFieldsTooLarge, "the head of the request is too long"}
		default:
			held := append([]byte(nil), b...)
			c.br.Reset(nil)
			readers.Put(c.br)
			c.br, c.big = bufio.NewReaderSize(chain.Unread(c.conn, held), maxHead), true
		}
		seen, want = next, len(b)+1
	}
}

// fault deals with a client that sent no whole head.
func (c *client) fault(err error) error {
	var refused *refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused):
		return c.refuse(refused)
	case errors.Is(err, os.ErrDeadlineExceeded) && c.br.Buffered() > 0:
		_ = c.write(textAnswer(http.StatusRequestTimeout, "the request did not come in time\n").bytes("", true))
	}
	c.s.Relay.Trace.Bad(c.s.Request.Listener, err)
	return err
}
