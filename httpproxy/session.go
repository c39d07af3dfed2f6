package httpproxy

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"syscall"
	"time"

	"github.com/byway-proxy/byway/chain"
)

// Windows of a session, in bytes: they bound the speed of a tunnel on a long path.
const (
	streamWindow  = 16 << 20
	sessionWindow = 64 << 20
	readFrame     = 64 << 10
)

// A session is one HTTP/2 conn to a proxy, which carries many tunnels.
type session struct {
	cc   *http.ClientConn
	conn net.Conn
}

type connKey struct{}

// newTransport returns the maker of sessions over conns that are at hand.
func newTransport(o *HopOptions) *http.Transport {
	t := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			if conn, ok := ctx.Value(connKey{}).(net.Conn); ok {
				return conn, nil
			}
			return nil, errors.New("httpproxy: a session dials nothing by itself")
		},
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHead,
		IdleConnTimeout:        o.IdleLimit,
		Protocols:              new(http.Protocols),
		HTTP2: &http.HTTP2Config{
			MaxReceiveBufferPerStream:     streamWindow,
			MaxReceiveBufferPerConnection: sessionWindow,
			MaxReadFrameSize:              readFrame,
			SendPingTimeout:               o.PingAfter,
			PingTimeout:                   o.PingAfter / 2,
		},
	}
	// The TLS below is ours, so that its failures can be told from others.
	t.Protocols.SetUnencryptedHTTP2(true)
	return t
}

// newSession starts HTTP/2 on conn, which it owns.
func newSession(ctx context.Context, t *http.Transport, conn net.Conn) (*session, error) {
	ctx = context.WithValue(ctx, connKey{}, net.Conn(&frameCap{Conn: conn}))
	cc, err := t.NewClientConn(ctx, "http", "session:80")
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return &session{cc: cc, conn: conn}, nil
}

// errStale is the error of a tunnel that a session didn't carry as far as the
// proxy's answer, so that another session may.
type staleError struct{ error }

func (e staleError) Unwrap() error { return e.error }

// open opens a tunnel to target on a reserved slot of s. First data goes along
// behind the head (RFC 9113 has no rule like that of RFC 9931).
func (s *session) open(ctx context.Context, target string, o *HopOptions) (net.Conn, error) {
	c := &clientStream{out: newOutbound(), local: s.conn.LocalAddr(), remote: s.conn.RemoteAddr()}
	err := chain.FirstDataOf(ctx).Along(c, func() (acted bool, err error) {
		refused, err := s.ask(ctx, c, target, o)
		return !refused && c.out.begun.Load(), err
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// ask sends the request for c, and reads the answer. refused goes with an error: the
// proxy has said that it opened nothing.
func (s *session) ask(ctx context.Context, c *clientStream, target string, o *HopOptions) (refused bool, err error) {
	// The stream outlives the dial: ctx ends it until the answer is here.
	sctx, cancel := context.WithCancelCause(context.Background())
	c.cancel = cancel
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	limit := time.AfterFunc(o.ReplyLimit, func() { cancel(context.DeadlineExceeded) })
	resp, err := s.cc.RoundTrip(s.request(sctx, c, target, o.authorization()))
	intime := limit.Stop()
	if live := stop(); err == nil && live && intime {
		if err = replyOf(resp).err(o.authorization() != ""); err == nil {
			c.body = resp.Body
			c.in = newInbound(sourceOf(resp))
			return false, nil
		}
		cancel(err)
		_ = resp.Body.Close()
		return true, err
	}
	cause := context.Cause(sctx)
	cancel(net.ErrClosed)
	if err == nil {
		_ = resp.Body.Close()
	}
	if cause != nil {
		return false, chain.Fail(chain.PhaseConnect, cause)
	}
	var e h2Error
	return errors.As(err, &e) && e.Code == codeRefusedStream, s.failure(err)
}

func sourceOf(resp *http.Response) source {
	if wantsCapsules(resp.Header[capsuleField]) {
		return &capsules{r: resp.Body}
	}
	return plain{resp.Body}
}

func (s *session) request(ctx context.Context, c *clientStream, target, authorization string) *http.Request {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteRequest: func(httptrace.WroteRequestInfo) { c.wrote() },
	})
	h := http.Header{
		"User-Agent": {""}, // none
		capsuleField: {"?1"},
	}
	if authorization != "" {
		h["Proxy-Authorization"] = []string{authorization}
	}
	r := &http.Request{
		Method: http.MethodConnect,
		URL:    &url.URL{Host: target},
		Host:   target,
		Header: h,
		Body:   c.out,
	}
	return r.WithContext(ctx)
}

// h2Error has the shape of an error of net/http's HTTP/2, which errors.As fills in.
type h2Error struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (h2Error) Error() string { return "HTTP/2 stream error" }

// Codes of RFC 9113 §7.
const (
	codeRefusedStream = 0x7
	codeConnectError  = 0xa
)

// failure tells what err, by which a CONNECT ended without an answer, is about.
func (s *session) failure(err error) error {
	var e h2Error
	switch {
	case isAlert(err):
		return chain.Fail(chain.PhaseTLS, err)
	case !errors.As(err, &e):
		return staleError{streamError(err)}
	case e.Code == codeRefusedStream:
		// It was not processed at all (RFC 9113 §8.7).
		return staleError{streamError(err)}
	case e.Code == codeConnectError:
		// A proxy may put the target's failure so (RFC 9113 §8.5).
		return chain.Fail(chain.PhaseConnect, syscall.EHOSTUNREACH)
	}
	return chain.Fail(chain.PhaseConnect, streamError(err))
}

// isAlert reports whether the proxy sent a TLS alert. With TLS 1.3 that is how it
// refuses a client's certificate, after the handshake as the client sees it.
func isAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}

// pool holds the sessions of one hop.
type pool struct {
	mu       sync.Mutex
	sessions []*session
	closed   bool
}

// reserve returns a session with a slot reserved on it, or nil. The first that
// has room is taken, so that the others can fall idle.
func (p *pool) reserve() *session {
	p.mu.Lock()
	all := append([]*session(nil), p.sessions...)
	p.mu.Unlock()
	for _, s := range all {
		if s.cc.Reserve() == nil {
			return s
		}
		if s.cc.Err() != nil || s.cc.Available() == 0 && s.cc.InFlight() == 0 {
			p.drop(s)
			_ = s.cc.Close()
		}
	}
	return nil
}

// add puts s into the pool, and reports whether the pool is open.
func (p *pool) add(s *session) bool {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return false
	}
	p.sessions = append(p.sessions, s)
	p.mu.Unlock()
	s.cc.SetStateHook(func(cc *http.ClientConn) {
		if cc.Err() != nil {
			p.drop(s)
		}
	})
	return true
}

func (p *pool) drop(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, one := range p.sessions {
		if one == s {
			p.sessions = append(p.sessions[:i:i], p.sessions[i+1:]...)
			return
		}
	}
}

// close ends the sessions: at once where no tunnel is, else with the last one.
func (p *pool) close() {
	p.mu.Lock()
	all := p.sessions
	p.sessions, p.closed = nil, true
	p.mu.Unlock()
	for _, s := range all {
		s.cc.SetStateHook(func(cc *http.ClientConn) {
			if cc.InFlight() == 0 {
				_ = cc.Close()
			}
		})
		// The last tunnel may have ended before there was a hook to tell of it.
		if s.cc.InFlight() == 0 {
			_ = s.cc.Close()
		}
	}
}
