package masque

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/time/rate"
)

// A Server serves HTTP/3. Handler and TLS are required, and no field may change once it
// serves. It is safe for concurrent use.
type Server struct {
	Handler http.Handler

	// TLS has the certificate. It is cloned, and its ALPN is replaced.
	TLS *tls.Config

	// IdleLimit closes a session without requests; 0 means never.
	IdleLimit time.Duration

	// MaxHeaderBytes bounds a request's head; 0 means net/http's default. Clients are told it.
	MaxHeaderBytes int

	// Datagrams says to whom datagrams are offered.
	Datagrams Offer

	once, over sync.Once
	plain      *http3.Server // without datagrams
	wide       *http3.Server // with them
	drained    chan struct{}
	requests   requests
	friends    friends
	offers     offers
}

const (
	// unproven is how many sessions a second may be begun by addresses that are not
	// known to be true. Beyond, a client has to show first that it can be reached there
	// (RFC 9000 §8.1.2).
	unproven = 1000

	// lingering is how long sessions may take to deliver what has been said on them,
	// when the last request has ended.
	lingering = time.Second
)

func (s *Server) init() {
	s.once.Do(func() {
		s.drained = make(chan struct{})
		server := func(datagrams bool) *http3.Server {
			return &http3.Server{
				Handler:         s.requests.counted(s.Handler),
				IdleTimeout:     s.IdleLimit,
				MaxHeaderBytes:  s.MaxHeaderBytes,
				ConnContext:     s.newVisit,
				EnableDatagrams: datagrams,
			}
		}
		s.plain, s.wide = server(false), server(true)
	})
}

// Serve serves conn until Shutdown, and then returns [http.ErrServerClosed]. It closes conn.
func (s *Server) Serve(conn net.PacketConn) error {
	s.init()
	defer conn.Close() //nolint:errcheck // nothing is to be said by it any more
	if _, ok := conn.(interface{ SetReadBuffer(int) error }); !ok {
		conn = quiet{conn}
	}
	limiter := rate.NewLimiter(unproven, unproven)
	t := &quic.Transport{
		Conn:                conn,
		VerifySourceAddress: func(net.Addr) bool { return !limiter.Allow() },
		ConnContext:         s.offers.tell,
	}
	defer t.Close() //nolint:errcheck // as above
	l, err := t.ListenEarly(http3.ConfigureTLSConfig(s.TLS), s.config())
	if err != nil {
		return err
	}
	err = s.serve(l)
	_ = l.Close()
	if err == http.ErrServerClosed {
		<-s.drained
	}
	return err
}

// config is the same for all save for the datagrams, which is told of at a session's start.
func (s *Server) config() *quic.Config {
	plain := &quic.Config{InitialPacketSize: 1200, Allow0RTT: true}
	// A datagram of QUIC's, 1,200 bytes, has to fit from the start.
	wide := &quic.Config{Allow0RTT: true, EnableDatagrams: true}
	plain.GetConfigForClient = func(c *quic.ClientInfo) (*quic.Config, error) {
		if s.Datagrams == ToAll || s.friends.take(c.RemoteAddr) {
			s.offers.made.Store(c, true)
			return wide, nil
		}
		return plain, nil
	}
	return plain
}

// serve gives the sessions of l to the two servers, until the first is shut down.
func (s *Server) serve(l *quic.EarlyListener) error {
	plain, wide := newSorted(l.Addr()), newSorted(l.Addr())
	accepting, stop := context.WithCancel(context.Background())
	var others sync.WaitGroup
	others.Go(func() {
		_ = s.wide.ServeListener(wide)
		wide.end(quic.ErrServerClosed)
	})
	others.Go(func() {
		for {
			c, err := l.Accept(accepting)
			if err != nil {
				plain.end(err)
				wide.end(err)
				return
			}
			if offered(c.Context()) {
				wide.give(c)
			} else {
				plain.give(c)
			}
		}
	})
	err := s.plain.ServeListener(plain)
	plain.end(quic.ErrServerClosed)
	stop()
	others.Wait()
	return err
}

// Shutdown takes no more sessions and requests, and waits for those under way to end.
// When ctx ends first, it cuts them and returns the error of ctx.
func (s *Server) Shutdown(ctx context.Context) error {
	s.init()
	closing, cut := context.WithCancel(ctx)
	defer cut()
	var left sync.WaitGroup
	for _, h := range []*http3.Server{s.plain, s.wide} {
		left.Go(func() { _ = h.Shutdown(closing) }) // it waits for clients to leave, too
	}
	err := s.requests.wait(ctx)
	if err == nil {
		late := time.AfterFunc(lingering, cut)
		defer late.Stop()
	}
	left.Wait()
	s.over.Do(func() { close(s.drained) })
	return err
}

// AltSvc is the value of the field by which a server says that it has HTTP/3 at port of
// the same host (RFC 7838).
func AltSvc(port uint16) string {
	return `h3=":` + strconv.Itoa(int(port)) + `"; ma=2592000`
}

// requests counts those under way.
type requests struct {
	mu   sync.Mutex
	n    int
	none chan struct{} // closed when there are none, if somebody waits
}

func (q *requests) counted(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q.mu.Lock()
		q.n++
		q.mu.Unlock()
		defer func() {
			q.mu.Lock()
			defer q.mu.Unlock()
			if q.n--; q.n == 0 && q.none != nil {
				close(q.none)
				q.none = nil
			}
		}()
		h.ServeHTTP(w, r)
	})
}

func (q *requests) wait(ctx context.Context) error {
	q.mu.Lock()
	if q.n == 0 {
		q.mu.Unlock()
		return nil
	}
	if q.none == nil {
		q.none = make(chan struct{})
	}
	none := q.none
	q.mu.Unlock()
	select {
	case <-none:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
