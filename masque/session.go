package masque

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
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

// A session is one connection to the proxy, with the flow of datagrams that it is made of.
type session struct {
	d     *dialer
	raw   net.Conn
	t     *quic.Transport
	qc    *quic.Conn
	h3    *http3.ClientConn
	lease chain.Lease
	once  sync.Once

	// Guarded by d.mu.
	tunnels int
	room    int         // for tunnels
	out     bool        // it gets no more, and ends with its last
	rest    *time.Timer // ends it when it has been idle for long
}

// start opens a session.
func (d *dialer) start(ctx context.Context) (*session, error) {
	s := &session{d: d, room: maxTunnels}
	// A session outlives the tunnel for which it is opened, and so does its count.
	dialCtx, cancel := context.WithTimeout(chain.WithLease(ctx, &s.lease), d.o.DialLimit)
	raw, err := d.next.DialContext(dialCtx, "udp", d.addr)
	cancel()
	if err != nil {
		s.lease.Release()
		return nil, err
	}
	s.raw, s.t = raw, &quic.Transport{Conn: packetConn(raw)}
	limit, cancel := context.WithTimeout(ctx, d.o.HandshakeLimit)
	defer cancel()
	s.qc, err = s.t.Dial(limit, raw.RemoteAddr(), d.tls, &quic.Config{
		HandshakeIdleTimeout: d.o.HandshakeLimit,
		MaxIdleTimeout:       5 * d.o.PingAfter / 2,
		KeepAlivePeriod:      d.o.PingAfter,
		MaxIncomingStreams:   -1, // none
		// As far ahead as a reader may be, on a long path.
		InitialStreamReceiveWindow: 1 << 20, MaxStreamReceiveWindow: 16 << 20,
		InitialConnectionReceiveWindow: 2 << 20, MaxConnectionReceiveWindow: 64 << 20,
	})
	if err != nil {
		_ = s.t.Close()
		_ = raw.Close()
		s.lease.Release()
		return nil, handshakeError(ctx, err)
	}
	s.h3 = (&http3.Transport{DisableCompression: true, MaxResponseHeaderBytes: 64 << 10}).NewClientConn(s.qc)
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
		_ = s.t.Close()
		_ = s.raw.Close()
		s.lease.Release()
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

// retire has the session get no more tunnels.
func (s *session) retire() {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	s.d.remove(s)
}

// full notes that the session has no room for more tunnels than it has without the one
// that found out.
func (s *session) full() {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	s.room = max(1, s.tunnels-1)
}

// release ends the count of a tunnel.
func (s *session) release() {
	d := s.d
	d.mu.Lock()
	defer d.mu.Unlock()
	s.tunnels--
	switch {
	case s.tunnels > 0:
	case s.out:
		go s.end() // to say goodbye may take time
	case s.rest == nil:
		s.rest = time.AfterFunc(d.o.IdleLimit, s.rested)
	default:
		s.rest.Reset(d.o.IdleLimit)
	}
}

// rested ends a session that has been idle for long.
func (s *session) rested() {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	if s.tunnels == 0 {
		s.d.remove(s)
	}
}

// remove takes s from the sessions; mu is held.
func (d *dialer) remove(s *session) {
	d.sessions = slices.DeleteFunc(d.sessions, func(o *session) bool { return o == s })
	s.out = true
	if s.rest != nil {
		s.rest.Stop()
	}
	if s.tunnels == 0 {
		go s.end()
	}
}

// reserve returns a session with a slot reserved, or nil; mu is held.
func (d *dialer) reserve() *session {
	for _, s := range slices.Clone(d.sessions) {
		if s.over() {
			d.remove(s)
			continue
		}
		if s.tunnels < s.room {
			s.tunnels++
			if s.rest != nil {
				s.rest.Stop()
			}
			return s
		}
	}
	return nil
}

// An opening is a session on its way, for which several dials may wait.
type opening struct {
	done    chan struct{}
	waiters int // guarded by the dialer's mu
	cancel  context.CancelCauseFunc
	err     error
}

// session returns a session with a slot reserved.
func (d *dialer) session(ctx context.Context) (*session, error) {
	for {
		d.mu.Lock()
		if s := d.reserve(); s != nil {
			d.mu.Unlock()
			return s, nil
		}
		if d.closed {
			d.mu.Unlock()
			return nil, chain.Fail(chain.PhaseConnect, net.ErrClosed)
		}
		o := d.join(ctx)
		d.mu.Unlock()
		if err := d.wait(ctx, o); err != nil {
			return nil, err
		}
	}
}

// join returns the opening to wait for, and begins one if none is on its way; mu is held.
func (d *dialer) join(ctx context.Context) *opening {
	o := d.opening
	if o == nil {
		o = &opening{done: make(chan struct{})}
		var own context.Context
		own, o.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
		d.opening = o
		go d.run(own, o)
	}
	o.waiters++
	return o
}

// wait waits for o. What nobody waits for is given up.
func (d *dialer) wait(ctx context.Context, o *opening) error {
	var late bool
	select {
	case <-o.done:
	case <-ctx.Done():
		late = true
	}
	d.mu.Lock()
	o.waiters--
	last := o.waiters == 0
	if last {
		o.cancel(context.Cause(ctx))
		if d.opening == o {
			d.opening = nil // nobody joins what was cancelled
		}
	}
	d.mu.Unlock()
	switch {
	case !late:
		return o.err
	case last:
		return chain.GivenUp(ctx, o.done, func() error { return o.err })
	}
	return chain.Fail(chain.PhaseDial, context.Cause(ctx))
}

func (d *dialer) run(ctx context.Context, o *opening) {
	s, err := d.start(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.opening == o {
		d.opening = nil
	}
	o.err = err
	switch {
	case err != nil:
	case d.closed:
		s.out = true
		go s.end()
	default:
		d.sessions = append(d.sessions, s)
		s.rest = time.AfterFunc(d.o.IdleLimit, s.rested)
	}
	close(o.done)
}
