package masque

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/byway-proxy/byway/httpproxy"
	"github.com/byway-proxy/byway/internal/stream"
	"github.com/byway-proxy/byway/relay"
)

// ErrEarly is the error of a request for a tunnel that came in early data. The status for
// it is 425 (RFC 8470 §5.2).
var ErrEarly = errors.New("a tunnel is not opened for early data")

// Connect returns the Pending of a CONNECT that a [Server] received, and a ctx to serve
// it with: that of r ends when the client's direction does. req is what to ask of the
// relay; if its Addr is empty, it is the request's authority. The error says why r is
// no CONNECT for a tunnel; nothing has been answered then.
//
// The handler returns when relay.Serve does.
func Connect(w http.ResponseWriter, r *http.Request, req relay.Request, o httpproxy.ConnectOptions) (context.Context, relay.Pending, error) {
	switch {
	case r.ProtoMajor != 3 || r.Method != http.MethodConnect || r.Proto != "HTTP/3.0":
		return nil, nil, errors.New("not a CONNECT of HTTP/3")
	case r.ContentLength > 0 || len(r.Header["Content-Length"]) > 0:
		return nil, nil, errors.New("a CONNECT with a body")
	}
	addr, err := httpproxy.Authority(r.Host)
	if err != nil {
		return nil, nil, err
	}
	if req.Addr == "" {
		req.Addr = addr
	}
	if req.Network == "" {
		req.Network = "tcp"
	}
	p, err := newPending(w, r, req, o)
	if err != nil {
		return nil, nil, err
	}
	return p.ctx, &connect{p}, nil
}

// pending is a request for a tunnel or a flow.
type pending struct {
	w    http.ResponseWriter
	r    *http.Request
	req  relay.Request
	o    httpproxy.ConnectOptions
	ctx  context.Context
	open func() bool // unties ctx from the request's, which ends with the first direction
}

func newPending(w http.ResponseWriter, r *http.Request, req relay.Request, o httpproxy.ConnectOptions) (pending, error) {
	if r.TLS == nil || !r.TLS.HandshakeComplete {
		return pending{}, ErrEarly
	}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(r.Context()))
	open := context.AfterFunc(r.Context(), func() { cancel(context.Cause(r.Context())) })
	return pending{w: w, r: r, req: req, o: o, ctx: ctx, open: open}, nil
}

func (p *pending) Request() relay.Request { return p.req }

// Reject answers with a status and a line for people.
func (p *pending) Reject(err error) error {
	p.open()
	return httpproxy.Refuse(p.w, p.r, err, p.o)
}

// answerLimit bounds the sending of an answer to a client.
const answerLimit = 10 * time.Second

// accept says yes, and takes the stream over.
func (p *pending) accept(fields http.Header) (*http3.Stream, error) {
	if !p.open() {
		return nil, context.Cause(p.ctx)
	}
	h := p.w.Header()
	for name, values := range fields {
		h[name] = values
	}
	h["Date"] = nil // nobody needs it
	taker, ok := p.w.(http3.HTTPStreamer)
	if !ok {
		return nil, errors.New("masque: not a stream of HTTP/3")
	}
	_ = http.NewResponseController(p.w).SetWriteDeadline(time.Now().Add(answerLimit))
	p.w.WriteHeader(http.StatusOK)
	str, err := taker.HTTPStream()
	if err != nil {
		return nil, err
	}
	return str, str.SetWriteDeadline(time.Time{})
}

func (p *pending) addrs() (local, remote net.Addr) {
	local, _ = p.r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	remote, _ = p.r.Context().Value(http3.RemoteAddrContextKey).(net.Addr)
	return local, remote
}

// connect is a CONNECT: the stream's bytes are the tunnel.
type connect struct{ pending }

func (c *connect) Accept() (net.Conn, error) {
	str, err := c.accept(nil)
	if err != nil {
		return nil, err
	}
	local, remote := c.addrs()
	return stream.NewConn(newTunnel(str, http3.ErrCodeConnectError, nil, func() {}), local, remote), nil
}
