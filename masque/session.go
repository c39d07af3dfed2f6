package masque

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/byway-proxy/byway/chain"
)

const (
	// maxTunnels is how many tunnels a session has at most: what servers allow if they
	// are not told otherwise.
	maxTunnels = 100

	// slotLimit is how long a session may keep a tunnel waiting for a stream of its own
	// before another is asked: it allows fewer than we thought.
	slotLimit = time.Second

	// maxInterim is how many interim answers a proxy may send before the final one.
	maxInterim = 16
)

// A session is one connection to the proxy.
type session struct {
	d    *dialer
	w    *way
	qc   *quic.Conn
	h3   *http3.ClientConn
	once sync.Once

	// Guarded by d.mu.
	tunnels int
	room    int         // for tunnels
	out     bool        // it gets no more, and ends with its last
	rest    *time.Timer // ends it when it has been idle for long
}

// A way is the flow of datagrams that sessions are made of.
type way struct {
	raw   net.Conn
	t     *quic.Transport
	lease chain.Lease

	mu       sync.Mutex
	sessions int
}

// reach opens a way.
func (d *dialer) reach(ctx context.Context) (*way, error) {
	w := &way{}
	// It outlives the tunnel for which it is opened, and so does its count.
	ctx, cancel := context.WithTimeout(chain.WithLease(ctx, &w.lease), d.o.DialLimit)
	defer cancel()
	raw, err := d.next.DialContext(ctx, "udp", d.addr)
	if err != nil {
		w.lease.Release()
		return nil, err
	}
	w.raw, w.t = raw, &quic.Transport{Conn: packetConn(raw)}
	return w, nil
}

// use adds a session, unless the last has ended.
func (w *way) use(first bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !first && w.sessions == 0 {
		return false
	}
	w.sessions++
	return true
}

// leave takes a session away.
func (w *way) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sessions--; w.sessions == 0 {
		_ = w.t.Close()
		_ = w.raw.Close()
		w.lease.Release()
	}
}

// start opens a session by a way of its own.
func (d *dialer) start(ctx context.Context) (*session, error) {
	w, err := d.reach(ctx)
	if err != nil {
		return nil, err
	}
	w.use(true)
	return d.greet(ctx, w)
}

// greet opens a session by w, which counts it already.
func (d *dialer) greet(ctx context.Context, w *way) (*session, error) {
	s := &session{d: d, w: w, room: maxTunnels}
	limit, cancel := context.WithTimeout(ctx, d.o.HandshakeLimit)
	defer cancel()
	var err error
	s.qc, err = w.t.Dial(limit, w.raw.RemoteAddr(), d.tls, &quic.Config{
		EnableDatagrams:      true,
		HandshakeIdleTimeout: d.o.HandshakeLimit,
		MaxIdleTimeout:       5 * d.o.PingAfter / 2,
		KeepAlivePeriod:      d.o.PingAfter,
		MaxIncomingStreams:   -1, // none
		// As far ahead as a reader may be, on a long path.
		InitialStreamReceiveWindow: 1 << 20, MaxStreamReceiveWindow: 16 << 20,
		InitialConnectionReceiveWindow: 2 << 20, MaxConnectionReceiveWindow: 64 << 20,
	})
	if err != nil {
		w.leave()
		return nil, handshakeError(ctx, err)
	}
	s.h3 = (&http3.Transport{EnableDatagrams: true, DisableCompression: true, MaxResponseHeaderBytes: 64 << 10}).NewClientConn(s.qc)
	return s, nil
}

// handshakeError says in which phase a session could not be opened.
func handshakeError(ctx context.Context, err error) error {
	var alert *quic.TransportError
	switch {
	case ctx.Err() != nil:
		return chain.Fail(chain.PhaseDial, context.Cause(ctx))
	case errors.As(err, &alert) && alert.ErrorCode.IsCryptoError():
		return chain.Fail(chain.PhaseTLS, err)
	}
	return chain.Fail(chain.PhaseDial, err)
}

// over reports whether the connection has ended.
func (s *session) over() bool { return s.qc.Context().Err() != nil }

// end closes the connection.
func (s *session) end() {
	s.once.Do(func() {
		_ = s.h3.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
		s.w.leave()
	})
}

// send opens a stream and sends the request by it. After an error the slot is given back.
func (s *session) send(ctx context.Context, r *http.Request) (*http3.RequestStream, error) {
	limit, cancel := context.WithTimeout(ctx, slotLimit)
	defer cancel()
	rs, err := s.h3.OpenRequestStream(limit)
	if err == nil {
		if err = rs.SendRequestHeader(r); err == nil {
			return rs, nil
		}
		rs.CancelRead(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
		rs.CancelWrite(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
	}
	if limit.Err() != nil && !s.over() {
		s.full()
	} else {
		s.retire()
	}
	s.release()
	if ctx.Err() != nil {
		return nil, chain.Fail(chain.PhaseConnect, context.Cause(ctx))
	}
	return nil, staleError{lostError{err}}
}

// answer reads the final answer to a request.
func (s *session) answer(rs *http3.RequestStream) (*http.Response, error) {
	for range maxInterim {
		resp, err := rs.ReadResponse()
		if err != nil || resp.StatusCode >= 200 {
			return resp, err
		}
	}
	return nil, errors.New("too many interim answers")
}
