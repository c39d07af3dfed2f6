package httpproxy

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/relay"
)

// answerLimit bounds the sending of an answer to a client.
const answerLimit = 10 * time.Second

// ConnectOptions changes how [Connect] answers. Its zero value is fit for any peer.
type ConnectOptions struct {
	// ProxyStatus is this proxy's name in the Proxy-Status field of a refusal
	// (RFC 9209), which tells the peer why in a form that [StatusError] reads. Empty
	// sends none. It is for peers that have shown their credential.
	ProxyStatus string

	// Padding takes NaiveProxy's padding from clients that offer it, on HTTP/2.
	Padding bool

	// Details adds which hop failed, for peers who may know the chain.
	Details bool
}

// Connect returns the Pending of a CONNECT request that a net/http server
// received on HTTP/1.1 or HTTP/2. req is what to ask of the relay; if its Addr is
// empty, it is the request's authority. The error says why r is no CONNECT for a
// tunnel; nothing has been answered then, and the status for it is 400.
//
// The handler calls relay.Serve with the Pending and returns when that does: a
// tunnel on HTTP/2 is over when its handler returns. On HTTP/1.1 the conn is
// hijacked, so http.Server.Shutdown does not wait for it; the relay's does.
//
// Fields that the handler has put into w.Header() are sent along on HTTP/2 and
// with refusals, save for Content-Length, Content-Type and Transfer-Encoding; a
// 200 on HTTP/1.1 has no fields.
func Connect(w http.ResponseWriter, r *http.Request, req relay.Request, o ConnectOptions) (relay.Pending, error) {
	if r.Method != http.MethodConnect {
		return nil, errors.New("not a CONNECT")
	}
	if r.ContentLength > 0 || len(r.TransferEncoding) > 0 || len(r.Header["Content-Length"]) > 0 {
		return nil, bad("a CONNECT with a body")
	}
	addr, refused := connectTarget(r.Host)
	if refused != nil {
		return nil, refused
	}
	if req.Addr == "" {
		req.Addr = addr
	}
	if req.Network == "" {
		req.Network = "tcp"
	}
	p := received{w: w, r: r, req: req, o: o}
	switch {
	case r.ProtoMajor == 1:
		return &connect1{p}, nil
	case r.ProtoMajor == 2 && r.Header.Get(":protocol") == "":
		return &connect2{p}, nil
	}
	return nil, errors.New("CONNECT by way of " + r.Proto + " is not known here")
}

// received is a CONNECT that a net/http server received.
type received struct {
	w   http.ResponseWriter
	r   *http.Request
	req relay.Request
	o   ConnectOptions
}

func (c *received) Request() relay.Request { return c.req }

func (c *received) header() http.Header {
	h := c.w.Header()
	h.Del("Content-Length")
	h.Del("Content-Type")
	h.Del("Transfer-Encoding")
	return h
}

// Reject answers with a status and a line for people. It returns before the
// answer is on its way: that goes when the handler returns.
func (c *received) Reject(err error) error {
	h := c.header()
	if c.o.ProxyStatus != "" {
		h.Set("Proxy-Status", proxyStatus(c.o.ProxyStatus, err, c.o.Details))
	}
	if c.r.ProtoMajor == 1 {
		h.Set("Connection", "close") // RFC 9931: what follows may be meant for the target
	}
	text := reason(err)
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	rc := http.NewResponseController(c.w)
	_ = rc.SetWriteDeadline(time.Now().Add(answerLimit))
	c.w.WriteHeader(statusOf(err))
	_, werr := io.WriteString(c.w, text)
	return werr
}

// reason is the body of a refusal of a CONNECT, which no page in a browser reads.
func reason(err error) string { return chain.Reason(err) + "\n" }

// connect1 is on HTTP/1.1: the conn itself is the tunnel.
type connect1 struct{ received }

func (c *connect1) Accept() (net.Conn, error) {
	conn, rw, err := http.NewResponseController(c.w).Hijack()
	if err != nil {
		return nil, err
	}
	ahead, err := buffered(rw.Reader)
	if err == nil {
		_ = conn.SetDeadline(time.Now().Add(answerLimit))
		_, err = io.WriteString(conn, established)
	}
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return chain.Unread(conn, ahead), nil
}

// established has no Content-Length and no Transfer-Encoding (RFC 9110 §9.3.6).
const established = "HTTP/1.1 200 OK\r\n\r\n"

// buffered returns a copy of what br has read ahead.
func buffered(br *bufio.Reader) ([]byte, error) {
	b, err := br.Peek(br.Buffered())
	return append([]byte(nil), b...), err
}

// connect2 is on HTTP/2: the bodies of request and response are the tunnel.
type connect2 struct{ received }

func (c *connect2) Accept() (net.Conn, error) {
	h := c.header()
	capsules := wantsCapsules(c.r.Header[capsuleField])
	if capsules {
		h.Set(capsuleField, "?1")
	}
	padding := c.o.Padding && len(c.r.Header["Padding"]) > 0
	if padding {
		h.Set(paddingField, paddingText(30, 61))
	}
	if _, ok := h["Date"]; !ok {
		h["Date"] = nil // nobody needs it
	}
	s := newServerStream(c.w, c.r, capsules)
	c.w.WriteHeader(http.StatusOK)
	if err := s.flush(); err != nil {
		_ = s.Close()
		return nil, err
	}
	if padding {
		return newPadded(s), nil
	}
	return s, nil
}
