package egress

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"

	"github.com/byway-proxy/byway/httpproxy"
	"github.com/byway-proxy/byway/masque"
	"github.com/byway-proxy/byway/relay"
)

// ServePacket serves HTTP/3 on conn beside what [Server.Serve] does, until Shutdown, and
// then returns [http.ErrServerClosed]. It closes conn. From its call on the website tells by
// Alt-Svc that it has HTTP/3 at conn's port.
func (s *Server) ServePacket(conn net.PacketConn) error {
	q, err := s.quic(conn.LocalAddr())
	if err != nil {
		_ = conn.Close()
		return err
	}
	return q.Serve(conn)
}

// quic returns the one server of HTTP/3.
func (s *Server) quic(at net.Addr) (*masque.Server, error) {
	if _, err := s.server(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if a, err := netip.ParseAddrPort(at.String()); err == nil {
		told := masque.AltSvc(a.Port())
		s.altSvc.Store(&told)
	}
	return s.http3, nil
}

// announce tells of HTTP/3 in an answer of the website on another version.
func (s *Server) announce(w http.ResponseWriter, r *http.Request) {
	if told := s.altSvc.Load(); told != nil && r.ProtoMajor < 3 {
		w.Header()["Alt-Svc"] = []string{*told}
	}
}

// pending returns the request for a tunnel that r is, and the ctx to serve it with.
func pending(w http.ResponseWriter, r *http.Request, q relay.Request) (context.Context, relay.Pending, error) {
	o := httpproxy.ConnectOptions{ProxyStatus: "byway"}
	if r.ProtoMajor == 3 {
		return masque.Connect(w, r, q, o)
	}
	p, err := httpproxy.Connect(w, r, q, o)
	return r.Context(), p, err
}

// statusOf is the status for a request that is none for a tunnel.
func statusOf(err error) int {
	if errors.Is(err, masque.ErrEarly) {
		return http.StatusTooEarly
	}
	return http.StatusBadRequest
}
