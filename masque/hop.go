package masque

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"sync"
	"syscall"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/httpproxy"
	"github.com/byway-proxy/byway/internal/stream"
)

// maxIdentities is how many have sessions of their own at the same time.
const maxIdentities = 128

// Hop returns the hop of an h3:// proxy at addr, host:port. Tunnels are streams of
// sessions that are kept for the next ones; sessions and TLS tickets are each
// identity's own (chain.IdentityOf). The way to the hop must carry "udp". The dialer belonging
// to the hop is an io.Closer that closes the sessions.
//
// Refusals are *chain.Error around a *[httpproxy.StatusError].
func Hop(addr string, o httpproxy.HopOptions) chain.Hop {
	o, bad := o.Filled("h3", addr)
	return chain.Hop{Name: o.Name, Wrap: func(next chain.Dialer) (chain.Dialer, error) {
		if bad != nil {
			return nil, bad
		}
		shared := new(lacks)
		return chain.PerIdentity(maxIdentities, func() (chain.Dialer, error) {
			return newDialer(next, addr, o, shared), nil
		}), nil
	}}
}

// lacks are what the hop was found not to do, whoever asked.
type lacks struct{ udp, names httpproxy.Lack }

// Beside returns the hop at addr as the other way of an https hop, for one identity; o is that
// hop's.
func Beside(next chain.Dialer, addr string, o httpproxy.HopOptions) httpproxy.HTTP3 {
	o, _ = o.Filled("https", addr)
	return newDialer(next, addr, o, new(lacks))
}

func newDialer(next chain.Dialer, addr string, o httpproxy.HopOptions, shared *lacks) *dialer {
	cfg := o.TLS.Clone()
	if cfg == nil {
		cfg = &tls.Config{}
	}
	cfg.MinVersion = tls.VersionTLS13 // RFC 9001 §4.2
	cfg.NextProtos = []string{http3.NextProtoH3}
	// Not shared: a ticket would tie this path to another.
	cfg.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	if cfg.ServerName == "" {
		cfg.ServerName, _, _ = net.SplitHostPort(addr)
	}
	return &dialer{next: next, addr: addr, o: o, tls: cfg, lacks: shared}
}

// dialer is a hop for one identity.
type dialer struct {
	next chain.Dialer
	addr string
	o    httpproxy.HopOptions
	tls  *tls.Config
	*lacks

	mu       sync.Mutex
	again    time.Time // when a session with datagrams was last asked for
	sessions []*session
	opening  *opening
	closed   bool
}

// Carries reports whether the hop may carry network: if the way to it carries datagrams, and
// it was not found to carry none itself. It is of chain.Carrier.
func (d *dialer) Carries(network string) bool {
	return (network == "tcp" || network == "udp" && !d.udp.Found()) && chain.Carries(d.next, "udp")
}

// Resolve asks the hop for host, which an egress of byway can answer. It is of [chain.Resolver].
func (d *dialer) Resolve(ctx context.Context, host string) (string, error) {
	return httpproxy.ResolveBy(ctx, d, &d.names, host)
}

// attempts is how many sessions a dial may find dead before it is an error.
const attempts = 3

// errNoUDP is the error of a way that the hop can't be reached by.
var errNoUDP error = unsupportedError("the way to the hop does not carry udp")

type unsupportedError string

func (e unsupportedError) Error() string        { return string(e) }
func (e unsupportedError) Is(target error) bool { return target == errors.ErrUnsupported }

func (d *dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	open := d.connect
	switch network {
	case "tcp":
	case "udp":
		open = d.flow
	default:
		return nil, chain.Fail(chain.PhaseConnect, &net.OpError{Op: "dial", Net: network, Err: errors.ErrUnsupported})
	}
	if _, err := httpproxy.Authority(addr); err != nil {
		return nil, chain.Fail(chain.PhaseConnect, httpproxy.ErrTarget)
	}
	if !chain.Carries(d.next, "udp") {
		return nil, chain.Fail(chain.PhaseDial, errNoUDP)
	}
	for try := 1; ; try++ {
		s, err := d.session(ctx, network == "udp")
		if err != nil {
			return nil, err
		}
		conn, err := open(ctx, s, addr)
		var stale staleError
		if !errors.As(err, &stale) {
			return conn, err
		}
		if try == attempts || chain.FirstDataOf(ctx).Spent() {
			return nil, chain.Fail(chain.PhaseConnect, stale.error)
		}
	}
}

// A staleError is that of a tunnel that a session didn't carry as far as the proxy's
// answer, so that another session may.
type staleError struct{ error }

func (e staleError) Unwrap() error { return e.error }

// request is a CONNECT to target. It has nothing that tells of the client or of byway.
func (d *dialer) request(target string) *http.Request {
	r := &http.Request{
		Method: http.MethodConnect, Host: target, URL: &url.URL{Host: target},
		Header: http.Header{"User-Agent": {""}}, // none
	}
	if a := d.o.Authorization(); a != "" {
		r.Header["Proxy-Authorization"] = []string{a}
	}
	return r
}

// connect opens a tunnel to target on a reserved slot of s. First data goes along
// behind the head.
func (d *dialer) connect(ctx context.Context, s *session, target string) (net.Conn, error) {
	rs, err := s.send(ctx, d.request(target))
	if err != nil {
		return nil, err
	}
	answered := make(chan struct{})
	t := newTunnel(rs, http3.ErrCodeRequestCanceled, answered, s.release)
	conn := stream.NewConn(t, s.h3.LocalAddr(), s.h3.RemoteAddr())
	err = chain.FirstDataOf(ctx).Along(conn, func() (acted bool, err error) {
		_, refused, err := d.await(ctx, s, rs, t.Close)
		return !refused, err
	})
	if err != nil {
		_ = conn.Abort()
		return nil, err
	}
	close(answered)
	return conn, nil
}

// await waits for the answer to a request, and ends the stream by cut if it is none that one
// could wish for. refused goes with an error: the proxy has said that it opened nothing.
func (d *dialer) await(ctx context.Context, s *session, rs *http3.RequestStream, cut func() error) (h http.Header, refused bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, d.o.ReplyLimit)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = cut() })
	resp, err := s.answer(rs) //nolint:bodyclose // its stream is the tunnel
	if !stop() {
		return nil, false, chain.Fail(chain.PhaseConnect, context.Cause(ctx))
	}
	if err != nil {
		_ = cut()
		return nil, codeOf(err) == http3.ErrCodeRequestRejected, d.lost(s, err)
	}
	if err = httpproxy.Refusal(resp.StatusCode, resp.Header, d.o.Authorization() != ""); err != nil {
		_ = cut()
		return nil, resp.StatusCode/100 != 2, err // what a strange 2xx means is not certain
	}
	return resp.Header, false, nil
}

// lost tells what err, by which a request ended without an answer, is about.
func (d *dialer) lost(s *session, err error) error {
	var alert *quic.TransportError
	switch {
	case errors.As(err, &alert) && alert.ErrorCode.IsCryptoError():
		return chain.Fail(chain.PhaseTLS, err) // with TLS 1.3 a client's certificate is refused so
	case codeOf(err) == http3.ErrCodeRequestRejected, s.over():
		s.retire()
		return staleError{lostError{err}}
	case codeOf(err) == http3.ErrCodeConnectError:
		// A proxy may put the target's failure so (RFC 9114 §4.4).
		return chain.Fail(chain.PhaseConnect, syscall.EHOSTUNREACH)
	}
	return chain.Fail(chain.PhaseConnect, lostError{err})
}

// Close closes the sessions: at once those without tunnels, the others when their last
// tunnel ends.
func (d *dialer) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for _, s := range d.sessions {
		s.out = true
		if s.tunnels == 0 {
			go s.end()
		}
	}
	d.sessions = nil
	return nil
}
