package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/byway-proxy/byway/egress/users"
	"github.com/byway-proxy/byway/internal/sockets"
	"github.com/byway-proxy/byway/masque"
	"github.com/byway-proxy/byway/relay"
)

// A Server is an egress. All its fields save the limits are required, of
// the two for certificates one: without a
// credential to ask for it does not serve.
type Server struct {
	Users *users.Set   // whom tunnels are for, and what they cost; not closed here
	Site  http.Handler // for everybody else
	Relay *relay.Relay // carries the tunnels; its router leads to a [Policy]

	// Certificate is the website's. GetCertificate, if it is not nil, chooses another for each handshake,
	// as that of a [tls.Config]; Certificate then need not be given.
	Certificate    tls.Certificate
	GetCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)

	// HeadLimit bounds TLS and the head of a request; 0 means what the website's persona
	// has, a minute.
	HeadLimit time.Duration

	// Windows are for those who have shown a credential; the zero value leaves
	// net/http's to all.
	Windows Windows

	// Padding takes padding from clients that offer it; see [httpproxy.ConnectOptions].
	Padding bool

	// ECH are the keys by which clients hide the name they ask for; nil for none.
	ECH *ECHKeys

	// Datagrams says to whom HTTP/3 offers datagrams; see [masque.Offer].
	Datagrams masque.Offer

	// FlowsPerUser bounds the flows of UDP that a user has at a time; 0 means 1,024.
	FlowsPerUser int

	flows flows
	acme  *ACME             // of the configuration; nil without
	files *CertificateFiles // the same

	// Sockets are those that a service manager has opened, of use to ListenAndServe; may be nil.
	Sockets *sockets.Activated

	mu     sync.Mutex
	http   *http.Server
	http3  *masque.Server
	wide   *wide // nil if Windows is zero
	altSvc altSvc
}

// Serve serves l until Shutdown or Close, and then returns [http.ErrServerClosed].
// It closes l.
func (s *Server) Serve(l net.Listener) error {
	h, err := s.server()
	if err != nil {
		_ = l.Close()
		return err
	}
	if s.wide != nil {
		l = visits{l, s.wide}
	}
	return h.ServeTLS(l, "", "")
}

// server returns the one HTTP server, which can be shut down before it serves.
func (s *Server) server() (*http.Server, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.http != nil {
		return s.http, nil
	}
	switch {
	case s.Users == nil:
		return nil, errors.New("egress: no users: it would be an open proxy")
	case s.Site == nil || s.Relay == nil || s.Relay.Router == nil:
		return nil, errors.New("egress: Site, Relay and its Router are required")
	case s.GetCertificate == nil && len(s.Certificate.Certificate) == 0:
		return nil, errors.New("egress: no certificate")
	}
	s.Relay.Account = s.account
	s.Relay.Router = &userRouter{Router: s.Relay.Router, users: s.Users}
	get := s.GetCertificate
	if get == nil {
		served, err := newByName(s.Certificate)
		if err != nil {
			return nil, err
		}
		get = served.certificate
	}
	h, err := websiteServer(http.HandlerFunc(s.serveHTTP), get, s.ECH, s.HeadLimit)
	if err != nil {
		return nil, err
	}
	s.http3 = http3Beside(h)
	s.http3.Datagrams = s.Datagrams
	if s.Windows != (Windows{}) {
		w, err := widen(h, s.Windows)
		if err != nil {
			return nil, err
		}
		s.wide = w
	}
	s.http = h
	return s.http, nil
}

// serveHTTP makes a tunnel of a CONNECT, or a flow of a CONNECT-UDP, with a good credential.
// Everything else is the website's, after the same work.
func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request) {
	user, ok := s.Users.Verify(r.Header["Proxy-Authorization"])
	open := s.opening(r)
	if !ok || open == nil {
		r.Header.Del("Proxy-Authorization")
		s.altSvc.announce(w, r)
		s.Site.ServeHTTP(w, r)
		return
	}
	prove(r)
	ctx, p, err := open(w, r, relay.Request{User: user, Client: remote(r), Listener: s.listener(r)})
	if err != nil {
		s.Relay.Trace.Bad(s.listener(r), err)
		w.WriteHeader(statusOf(err))
		return
	}
	if p.Request().Network == "udp" {
		done, room := s.flows.begin(user, s.FlowsPerUser)
		if !room {
			s.Relay.Trace.Refused(p.Request(), relay.ErrLimit)
			_ = p.Reject(relay.ErrLimit)
			return
		}
		defer done()
	}
	_ = s.Relay.Serve(ctx, p) // the trace has been told
}

func (s *Server) listener(r *http.Request) string {
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		return a.String()
	}
	return ""
}

func remote(r *http.Request) net.Addr {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return nil
	}
	return net.TCPAddrFromAddrPort(a)
}

// Shutdown takes no more connections and requests, and waits for the tunnels to
// end. When ctx ends first, it cuts them and returns the error of ctx.
func (s *Server) Shutdown(ctx context.Context) error {
	h, err := s.server()
	if err != nil {
		return err // it cannot have served
	}
	// The server closes its listeners at once, then waits for HTTP/2 tunnels,
	// which are its requests; those on HTTP/1.1 are known to the relay alone.
	done := make(chan error, 2)
	go func() { done <- h.Shutdown(ctx) }()
	go func() { done <- s.http3.Shutdown(ctx) }()
	err = s.Relay.Shutdown(ctx)
	for range 2 {
		if e := <-done; err == nil {
			err = e
		}
	}
	_ = h.Close()
	if w, ok := s.Site.(interface{ Close() }); ok {
		w.Close()
	}
	return err
}
