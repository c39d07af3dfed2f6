package names

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"
)

// stream asks by DNS over TCP (RFC 7766), or over TLS (RFC 7858): all questions at once on
// one conn, whose answers come in any order.
type stream struct {
	addr string
	dial dialer
	tls  *tls.Config // nil for the clear

	mu  sync.Mutex
	now *session // nil if there is none
}

// openLimit is how long a conn may take to be opened, TLS included.
const openLimit = 20 * time.Second

var errSession = errors.New("the connection to the DNS server has ended")

func (s *stream) ask(ctx context.Context, k key) (*answer, error) {
	one, fresh := s.session()
	m, err := one.ask(ctx, k)
	if err != nil && !fresh && ctx.Err() == nil {
		// A conn that was kept may have died of age, which says nothing of the server.
		one, _ = s.session()
		m, err = one.ask(ctx, k)
	}
	if err != nil {
		return nil, err
	}
	return answerOf(m, s.tls != nil, 0), nil
}

// session returns the conn to use, a fresh one if none lives.
func (s *stream) session() (one *session, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now != nil && s.now.alive() {
		return s.now, false
	}
	ctx, cancel := context.WithTimeout(context.Background(), openLimit)
	s.now = &session{
		of: s, cancel: cancel, waiting: make(map[uint16]*question),
		ready: make(chan struct{}), over: make(chan struct{}),
	}
	go s.now.run(ctx)
	return s.now, true
}

// open dials. Questions do not end it: a slow chain would never come to an end of it.
func (s *stream) open(ctx context.Context) (conn, raw net.Conn, err error) {
	raw, err = s.dial(ctx, "tcp", s.addr)
	if err != nil || s.tls == nil {
		return raw, raw, err
	}
	secure := tls.Client(raw, s.tls)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, nil, err
	}
	return secure, raw, nil
}

func (s *stream) close() {
	s.mu.Lock()
	one := s.now
	s.mu.Unlock()
	if one != nil {
		one.fail(errSession)
		<-one.over
	}
}
