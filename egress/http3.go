package egress

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/byway-proxy/byway/httpproxy"
	"github.com/byway-proxy/byway/masque"
	"github.com/byway-proxy/byway/relay"
)

// http3Beside returns the server of HTTP/3 that goes with h, as at Caddy.
func http3Beside(h *http.Server) *masque.Server {
	return &masque.Server{Handler: h.Handler, TLS: h.TLSConfig.Clone(), IdleLimit: h.IdleTimeout, MaxHeaderBytes: h.MaxHeaderBytes}
}

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
	s.altSvc.tell(at)
	return s.http3, nil
}

// An altSvc tells of HTTP/3 in the answers of a website on another version, once it knows of it.
type altSvc struct{ value atomic.Pointer[string] }

// tell takes the address of HTTP/3.
func (a *altSvc) tell(at net.Addr) {
	if p, err := netip.ParseAddrPort(at.String()); err == nil {
		told := masque.AltSvc(p.Port())
		a.value.Store(&told)
	}
}

func (a *altSvc) announce(w http.ResponseWriter, r *http.Request) {
	if told := a.value.Load(); told != nil && r.ProtoMajor < 3 {
		w.Header()["Alt-Svc"] = []string{*told}
	}
}

// An opener makes the Pending of a request for a tunnel or a flow, and the ctx to serve it with.
type opener func(http.ResponseWriter, *http.Request, relay.Request) (context.Context, relay.Pending, error)

// opening returns what makes a Pending of r, or nil if r asks for no tunnel and no flow.
func (s *Server) opening(r *http.Request) opener {
	o := httpproxy.ConnectOptions{ProxyStatus: "byway", Padding: s.Padding}
	if _, udp := httpproxy.UDPTarget(r); udp {
		if r.ProtoMajor == 3 {
			return func(w http.ResponseWriter, r *http.Request, q relay.Request) (context.Context, relay.Pending, error) {
				return masque.ConnectUDP(w, r, q, o)
			}
		}
		return func(w http.ResponseWriter, r *http.Request, q relay.Request) (context.Context, relay.Pending, error) {
			p, err := httpproxy.ConnectUDP(w, r, q, o)
			return r.Context(), p, err
		}
	}
	switch {
	case r.Method != http.MethodConnect:
		return nil
	case r.ProtoMajor == 3 && r.Proto != "HTTP/3.0": // of another protocol
		return nil
	case r.ProtoMajor == 3:
		return func(w http.ResponseWriter, r *http.Request, q relay.Request) (context.Context, relay.Pending, error) {
			return masque.Connect(w, r, q, o)
		}
	}
	return func(w http.ResponseWriter, r *http.Request, q relay.Request) (context.Context, relay.Pending, error) {
		p, err := httpproxy.Connect(w, r, q, o)
		return r.Context(), p, err
	}
}

// statusOf is the status for a request that is none for a tunnel.
func statusOf(err error) int {
	if errors.Is(err, masque.ErrEarly) {
		return http.StatusTooEarly
	}
	return http.StatusBadRequest
}

// flowsPerUser is how many flows a user has at a time, if nothing else is said.
const flowsPerUser = 1024

// flows counts those of each user.
type flows struct {
	mu sync.Mutex
	of map[string]int
}

// begin counts a flow of user until done is called, unless there are as many as limit already.
func (f *flows) begin(user string, limit int) (done func(), room bool) {
	if limit <= 0 {
		limit = flowsPerUser
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.of[user] >= limit {
		return nil, false
	}
	if f.of == nil {
		f.of = make(map[string]int)
	}
	f.of[user]++
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.of[user]--; f.of[user] == 0 {
			delete(f.of, user)
		}
	}, true
}
