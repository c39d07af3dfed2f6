package httpproxy

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/relay"
)

// Limits of one client on HTTP/2. A browser has all of its tunnels in one session,
// and none of them may wait for another.
const (
	maxStreams    = 1000
	uploadStream  = 1 << 20  // bytes on their way up a stream that nobody has taken yet
	uploadSession = 16 << 20 // and on all streams
)

// preface is what a client on HTTP/2 sends first (RFC 9113 §3.4), as far as it
// looks like the head of a request.
const preface = "PRI * HTTP/2.0\r\n\r\n"

// sessions serves clients on HTTP/2. Its zero value is ready.
//
// It is x/net's server, which is net/http's, because only its ServeConn tells the
// scheme of a request on a conn without TLS: a request for an https:// URL must be
// refused, and net/http lets it pass for one that may go in the clear.
type sessions struct {
	once sync.Once
	base *http.Server
	h2   *http2.Server //nolint:staticcheck // SA1019: see above
}

func (s *Server) sessions() *sessions {
	h := &s.h2
	h.once.Do(func() {
		h.base = &http.Server{
			MaxHeaderBytes:    maxHead,
			IdleTimeout:       s.idleLimit(),
			ReadHeaderTimeout: s.limit(),
			ErrorLog:          log.New(io.Discard, "", 0), // it would tell who came
			HTTP2: &http.HTTP2Config{
				MaxConcurrentStreams:          maxStreams,
				MaxReceiveBufferPerStream:     uploadStream,
				MaxReceiveBufferPerConnection: uploadSession,
				WriteByteTimeout:              s.moveLimit(),
			},
		}
		h.h2 = new(http2.Server)                                    //nolint:staticcheck // SA1019: see above
		if err := http2.ConfigureServer(h.base, h.h2); err != nil { //nolint:staticcheck // SA1019: see above
			panic(err) // it is about TLS settings, and there are none
		}
	})
	return h
}

// close tells the clients to open no more streams here (GOAWAY, RFC 9113 §6.8).
func (h *sessions) close(s *Server) {
	s.sessions() // lest one that begins now has none
	now, cancel := context.WithCancel(context.Background())
	cancel()
	_ = h.base.Shutdown(now) // the streams have their own time
}

// A client2 is one client on HTTP/2.
type client2 struct {
	s    *Server
	conn net.Conn

	mu      sync.Mutex
	ended   bool
	running sync.WaitGroup // handlers
}

// serve2 serves a client whose preface is next in br, until it leaves.
func (c *client) serve2(ctx context.Context) error {
	ahead, err := buffered(c.br)
	if err == nil {
		err = c.conn.SetDeadline(time.Time{})
	}
	if err != nil {
		return err
	}
	c.gone = true
	// A session is none of its tunnels, and lives on without any: it keeps the place
	// that it has as a handshake, lest nothing bound how many there are.
	ctx = relay.WithHandshake(ctx, func() {})
	all := &client2{s: c.s, conn: c.conn}
	defer all.end()
	h := c.s.sessions()
	h.h2.ServeConn( //nolint:staticcheck // SA1019: see sessions
		&schemed{Conn: chain.Unread(c.conn, ahead), state: stateOf(c.conn)},
		&http2.ServeConnOpts{Context: ctx, BaseConfig: h.base, Handler: all}, //nolint:staticcheck // SA1019: as above
	)
	return ctx.Err()
}

// schemed is a conn by whose TLS the server tells requests for https from those for
// http, be there TLS or not: Request.TLS is not nil for https.
type schemed struct {
	net.Conn
	state tls.ConnectionState
}

func (c *schemed) ConnectionState() tls.ConnectionState { return c.state }

func stateOf(conn net.Conn) tls.ConnectionState {
	if c := tlsOf(conn); c != nil {
		return c.ConnectionState()
	}
	return tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256}
}

// begin lets a handler run, unless the client has gone.
func (c *client2) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return false
	}
	c.running.Add(1)
	return true
}

// end waits for the handlers, whose requests have been cancelled.
func (c *client2) end() {
	c.mu.Lock()
	c.ended = true
	c.mu.Unlock()
	c.running.Wait()
}

func (c *client2) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !c.begin() {
		return
	}
	defer c.running.Done()
	s := c.s
	if c.isOwn(r) {
		s.own(ownRequest{
			method: r.Method, path: r.RequestURI, authority: r.Host, foreign: foreign(r.Header),
			body: r.ContentLength != 0, conn: c.conn,
		}).send(w, r.Method)
		return
	}
	q := s.Request
	q.Network, q.Client = "tcp", c.conn.RemoteAddr()
	credentials := r.Header["Proxy-Authorization"]
	q.Label = s.label(credentials)
	if s.Users != nil {
		var ok bool
		if q.User, ok = s.userOf(credentials); !ok {
			s.unauthorized(len(credentials) > 0).send(w, r.Method)
			return
		}
	}
	if r.Method == http.MethodConnect {
		c.connect(w, r, q)
		return
	}
	a, refused := requestTarget(r)
	if refused != nil {
		c.refuse(w, r, refused)
		return
	}
	q.Addr = a.addr
	c.forward(w, r, a, q)
}

func (c *client2) connect(w http.ResponseWriter, r *http.Request, q relay.Request) {
	var o ConnectOptions
	if q.User != "" {
		o = ConnectOptions{ProxyStatus: ownName, Details: true}
	}
	p, err := Connect(w, r, q, o)
	if err != nil {
		c.refuse(w, r, bad(err.Error()))
		return
	}
	_ = c.s.Relay.Serve(r.Context(), p) // the trace has been told
}

func (c *client2) refuse(w http.ResponseWriter, r *http.Request, refused *refusal) {
	c.s.Relay.Trace.Bad(c.s.Request.Listener, refused)
	textAnswer(refused.status, refused.text+"\n").send(w, r.Method)
}

// isOwn reports whether r is for the proxy itself. HTTP/2 has one form for that and
// for what is to be passed on: they are told by the authority. An https:// URL that
// is not ours can't be passed on.
func (c *client2) isOwn(r *http.Request) bool {
	if r.Method == http.MethodConnect || r.Host == "" {
		return false
	}
	authority, ok := c.s.ownAuthority(r.Host, c.conn)
	if !ok || r.TLS != nil {
		return ok
	}
	_, port, err := net.SplitHostPort(c.conn.LocalAddr().String())
	return err == nil && strings.HasSuffix(withPort(authority, c.conn), ":"+port)
}

// requestTarget returns where a request on HTTP/2 is to go. What HTTP/1.1 can't
// carry is refused, as the target may get it in that form.
func requestTarget(r *http.Request) (a absolute, refused *refusal) {
	scheme, path := "http", r.RequestURI
	if r.TLS != nil {
		scheme = "https"
	}
	if r.Method == http.MethodOptions && path == "*" {
		path = ""
	} else if !strings.HasPrefix(path, "/") {
		return a, bad("malformed path")
	}
	if !isToken([]byte(r.Method)) || !isTarget([]byte(path)) {
		return a, bad("a character in the request that has no place there")
	}
	if _, _, ok := splitAuthority(r.Host); !ok {
		return a, bad("malformed authority")
	}
	// net/http counts what comes against the length, save where nothing comes.
	if n := r.Header["Content-Length"]; len(n) > 1 || len(n) == 1 && r.ContentLength == 0 && strings.Trim(n[0], "0") != "" {
		return a, bad("a Content-Length that is not the body's")
	}
	return absoluteTarget(scheme + "://" + r.Host + path)
}
