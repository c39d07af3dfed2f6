package masque

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/httpproxy"
	"github.com/byway-proxy/byway/internal/connectudp"
)

const (
	// leastRoom is what a datagram must have room for if flows are to go by them: the
	// least that QUIC asks of a path (RFC 9000 §14.1), the context and the stream's number.
	leastRoom = 1200 + 1 + 4

	// askAgain is how long a hop that offered no datagrams is not asked for a session with them.
	askAgain = 5 * time.Minute
)

var errNoExtendedConnect error = unsupportedError("the proxy has no extended CONNECT")

// flow opens a flow to target on a reserved slot of s, by CONNECT-UDP.
func (d *dialer) flow(ctx context.Context, s *session, target string) (net.Conn, error) {
	r, err := d.requestUDP(target)
	if err == nil {
		err = s.settle(ctx, d.o.ReplyLimit)
	}
	if err != nil {
		s.release()
		return nil, chain.Fail(chain.PhaseConnect, err)
	}
	rs, err := s.send(ctx, r)
	if err != nil {
		return nil, err
	}
	f := newFlowStream(rs, http3.ErrCodeRequestCanceled, s.release)
	h, _, err := d.await(ctx, s, rs, f.Abort)
	if err != nil {
		d.udp.Note(err)
		return nil, err
	}
	how := connectudp.Capsules
	var beside connectudp.Datagrams
	if s.datagrams() {
		beside = apart{rs}
		if s.apart() {
			how = connectudp.Apart
		}
	} else if h.Get(connectudp.CapsuleField) == capsulesAgain {
		d.comeBack(s)
	}
	return connectudp.NewFlow(f, beside, how, s.h3.LocalAddr(), s.h3.RemoteAddr()), nil
}

// requestUDP is a CONNECT-UDP to target.
func (d *dialer) requestUDP(target string) (*http.Request, error) {
	path, err := connectudp.Path(target)
	if err != nil {
		return nil, httpproxy.ErrTarget
	}
	u, err := url.ParseRequestURI(path)
	if err != nil {
		return nil, httpproxy.ErrTarget
	}
	u.Scheme, u.Host = "https", d.o.Host(d.addr)
	r := d.request(u.Host)
	r.Proto, r.URL = connectudp.Protocol, u
	r.Header[connectudp.CapsuleField] = []string{capsules}
	return r, nil
}

// settle waits for the server's SETTINGS, without which it can't be asked (RFC 9220 §3).
func (s *session) settle(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	select {
	case <-s.h3.ReceivedSettings():
	case <-s.qc.Context().Done():
		s.retire()
		return staleError{lostError{context.Cause(s.qc.Context())}}
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if !s.h3.Settings().EnableExtendedConnect {
		return errNoExtendedConnect
	}
	return nil
}

// datagrams reports whether both ends take datagrams.
func (s *session) datagrams() bool {
	select {
	case <-s.h3.ReceivedSettings():
		return s.h3.Settings().EnableDatagrams && s.qc.ConnectionState().SupportsDatagrams.Remote
	default:
		return false
	}
}

// apart reports whether flows should go by datagrams: both ends take them, and the path has
// room for what QUIC itself needs at least.
func (s *session) apart() bool {
	if !s.datagrams() {
		return false
	}
	var long *quic.DatagramTooLargeError
	err := s.qc.SendDatagram(make([]byte, 1<<16)) // never sent: it asks how long it may be
	return errors.As(err, &long) && long.MaxDatagramPayloadSize >= leastRoom
}

// comeBack begins to open a further session by the way of s, to which the hop will offer datagrams:
// see [ToFriends].
func (d *dialer) comeBack(s *session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || time.Since(d.again) < askAgain || !s.w.use(false) {
		return
	}
	d.again = time.Now()
	go func() {
		wider, err := d.greet(context.Background(), s.w)
		if err != nil {
			return
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.add(wider)
	}()
}
