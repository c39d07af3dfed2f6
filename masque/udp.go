package masque

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/byway-proxy/byway/httpproxy"
	"github.com/byway-proxy/byway/internal/connectudp"
	"github.com/byway-proxy/byway/relay"
)

// ConnectUDP is [Connect] for a CONNECT-UDP (RFC 9298), whose target stands in its path.
func ConnectUDP(w http.ResponseWriter, r *http.Request, req relay.Request, o httpproxy.ConnectOptions) (context.Context, relay.Pending, error) {
	addr, ok := httpproxy.UDPTarget(r)
	if !ok || r.ProtoMajor != 3 {
		return nil, nil, errors.New("not a CONNECT-UDP of HTTP/3")
	}
	addr, err := httpproxy.Authority(addr)
	if err != nil {
		return nil, nil, err
	}
	req.Network, req.Addr = "udp", addr
	p, err := newPending(w, r, req, o)
	if err != nil {
		return nil, nil, err
	}
	return p.ctx, &connectUDP{p}, nil
}

// connectUDP is a CONNECT-UDP: capsules on the stream and datagrams beside it are the flow.
type connectUDP struct{ pending }

// Values of the field Capsule-Protocol. A parameter that isn't known is ignored (RFC 9297 §3.4).
const (
	capsules      = "?1"
	capsulesAgain = "?1;again" // a further session from where this one comes from is offered datagrams
)

func (c *connectUDP) Accept() (net.Conn, error) {
	v := visitOf(c.r.Context())
	says := capsules
	if v.promise() {
		says = capsulesAgain
	}
	str, err := c.accept(http.Header{connectudp.CapsuleField: {says}})
	if err != nil {
		return nil, err
	}
	local, remote := c.addrs()
	var d connectudp.Datagrams
	if v.datagrams {
		d = apart{str}
	}
	return connectudp.NewFlow(newFlowStream(str, http3.ErrCodeConnectError, func() {}), d, connectudp.AsTheyDid, local, remote), nil
}

// sized is what streams of both ends have for flows.
type sized interface {
	half
	SetWriteDeadline(time.Time) error
}

// flowStream is the stream of a CONNECT-UDP.
type flowStream struct {
	sized
	code    http3.ErrCode
	writing sync.Mutex
	once    sync.Once
	release func()
}

func newFlowStream(s sized, code http3.ErrCode, release func()) *flowStream {
	return &flowStream{sized: s, code: code, release: release}
}

func (f *flowStream) Read(p []byte) (int, error) {
	n, err := f.sized.Read(p)
	return n, streamError(err)
}

func (f *flowStream) Write(p []byte) (int, error) {
	f.writing.Lock()
	defer f.writing.Unlock()
	n, err := f.sized.Write(p)
	var late interface{ Timeout() bool }
	if errors.As(err, &late) && late.Timeout() && !isIdle(err) {
		return n, err
	}
	return n, streamError(err)
}

// isIdle reports whether err tells of a session that died in silence.
func isIdle(err error) bool {
	var idle *quic.IdleTimeoutError
	return errors.As(err, &idle)
}

func (f *flowStream) Close() error { return f.over(http3.ErrCodeNoError, true) }
func (f *flowStream) Abort() error { return f.over(f.code, false) }

func (f *flowStream) over(code http3.ErrCode, inOrder bool) error {
	f.once.Do(func() {
		f.CancelRead(quic.StreamErrorCode(code))
		// To end in order while a Write is under way is not possible.
		if inOrder && f.writing.TryLock() {
			_ = f.sized.Close()
			f.writing.Unlock()
		} else {
			f.CancelWrite(quic.StreamErrorCode(code))
		}
		f.release()
	})
	return nil
}

// apart are the datagrams of a stream.
type apart struct {
	s interface {
		SendDatagram(p []byte) error
		ReceiveDatagram(ctx context.Context) ([]byte, error)
	}
}

func (a apart) SendDatagram(p []byte) error {
	err := a.s.SendDatagram(p)
	var long *quic.DatagramTooLargeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &long):
		return syscall.EMSGSIZE
	}
	return lostError{err}
}

func (a apart) ReceiveDatagram(ctx context.Context) ([]byte, error) { return a.s.ReceiveDatagram(ctx) }

var _ io.Closer = (*flowStream)(nil)
