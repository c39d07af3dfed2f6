package egress

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"net"
	"net/http"
	"sync"

	"golang.org/x/net/http2"

	"github.com/byway-proxy/byway/masque"
)

// Windows says how much a client may send ahead of the targets on HTTP/2, in bytes:
// on a long path that bounds the speed of an upload. They are for clients that have shown a
// credential before; whoever has not meets the ordinary ones (1 MiB), as on any website
// of a Go server.
//
// A server tells its windows at a session's start, before any credential, and no Go server can
// enlarge them later. So a TLS ticket that was given on a connection with a good credential
// is remembered, and the connection that comes back with it gets these windows. The tickets
// are like all others; a stranger's is never remembered.
type Windows struct {
	Stream  int // of each tunnel
	Session int // of all tunnels of a connection together

	// Budget bounds the sum of Session over all connections that have it at a time. Those
	// for which nothing is left get the ordinary windows. 0 means that none has it.
	Budget int64
}

// maxTickets is how many tickets are remembered; the oldest are forgotten.
const maxTickets = 1 << 14

type ticket [sha256.Size]byte

// wide gives the windows.
type wide struct {
	o    Windows
	keys *tls.Config // of the tickets
	http *http.Server

	mu    sync.Mutex
	left  int64 // of the budget
	known map[ticket]bool
	order []ticket // the oldest first
}

// widen has h give the windows to those whom it may.
func widen(h *http.Server, o Windows) (*wide, error) {
	w := &wide{o: o, keys: &tls.Config{}, left: o.Budget, known: make(map[ticket]bool)}
	w.http = &http.Server{
		IdleTimeout: h.IdleTimeout, MaxHeaderBytes: h.MaxHeaderBytes, ErrorLog: h.ErrorLog, TLSConfig: h.TLSConfig.Clone(),
		HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: o.Stream, MaxReceiveBufferPerConnection: o.Session},
	}
	if err := http2.ConfigureServer(w.http, &http2.Server{}); err != nil { //nolint:staticcheck // as the front's, which it must look like
		return nil, err
	}
	serve, serveWide := h.TLSNextProto["h2"], w.http.TLSNextProto["h2"]
	h.TLSNextProto["h2"] = func(hs *http.Server, c *tls.Conn, handler http.Handler) {
		if v := visitOf(c); v != nil && v.friend && c.ConnectionState().DidResume && w.take() {
			defer w.give()
			serveWide(w.http, c, handler)
			return
		}
		serve(hs, c, handler)
	}
	h.RegisterOnShutdown(func() { _ = w.http.Shutdown(context.Background()) })
	plain := h.TLSConfig.Clone()
	h.TLSConfig.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		v, ok := hello.Conn.(*visit)
		if !ok {
			return plain, nil
		}
		cfg := plain.Clone()
		cfg.WrapSession = v.wrap
		cfg.UnwrapSession = v.unwrap
		return cfg, nil
	}
	h.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if t, ok := c.(*tls.Conn); ok {
			return context.WithValue(ctx, visitKey{}, visitOf(t))
		}
		return ctx
	}
	return w, nil
}

func (w *wide) take() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.left < int64(w.o.Session) {
		return false
	}
	w.left -= int64(w.o.Session)
	return true
}

func (w *wide) give() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left += int64(w.o.Session)
}

func (w *wide) remember(t ticket) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.known[t] {
		return
	}
	if len(w.order) == maxTickets {
		delete(w.known, w.order[0])
		w.order = w.order[1:]
	}
	w.known[t] = true
	w.order = append(w.order, t)
}

func (w *wide) knows(t ticket) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.known[t]
}

// visits is a listener whose conns are [visit]s.
type visits struct {
	net.Listener
	w *wide
}

func (l visits) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &visit{Conn: c, w: l.w}, nil
}

// A visit is the conn below a TLS conn.
type visit struct {
	net.Conn
	w      *wide
	friend bool // it came with a ticket that is known; set by the handshake

	mu      sync.Mutex
	tickets []ticket // given on it
	proven  bool     // a credential was shown
}

type visitKey struct{}

func visitOf(c *tls.Conn) *visit {
	v, _ := c.NetConn().(*visit)
	return v
}

// NetConn returns the conn as it was accepted.
func (v *visit) NetConn() net.Conn { return v.Conn }

// wrap makes a ticket as crypto/tls does by itself.
func (v *visit) wrap(cs tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
	b, err := v.w.keys.EncryptTicket(cs, ss)
	if err != nil {
		return nil, err
	}
	t := ticket(sha256.Sum256(b))
	v.mu.Lock()
	defer v.mu.Unlock()
	v.tickets = append(v.tickets, t)
	if v.proven {
		v.w.remember(t)
	}
	return b, nil
}

func (v *visit) unwrap(identity []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
	ss, err := v.w.keys.DecryptTicket(identity, cs)
	if ss != nil && v.w.knows(sha256.Sum256(identity)) {
		v.friend = true
	}
	return ss, err
}

// prove notes that a request on the visit's conn has shown a credential.
func prove(r *http.Request) {
	if r.ProtoMajor == 3 {
		masque.Prove(r)
		return
	}
	v, _ := r.Context().Value(visitKey{}).(*visit)
	if v == nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.proven {
		v.proven = true
		for _, t := range v.tickets {
			v.w.remember(t)
		}
	}
}
