package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/byway-proxy/byway/egress/front/h1"
)

// A Client speaks to one server.
type Client interface {
	// Do sends r, whose URL has scheme and host, and returns the response once its head is there. The caller closes the
	// body, which is an io.ReadWriteCloser after a 101. Do does not wait for r's body to end, and closes it. If it is not
	// nil, early is called with the informational responses save 100 and 101. Do returns a [*DialError] if nothing of r has been sent.
	Do(r *http.Request, early func(status int, h http.Header)) (*http.Response, error)

	// Close closes the connections that are not in use.
	Close()
}

// A DialError says that a server was not reached. Nothing has been sent then.
type DialError struct{ Err error }

func (e *DialError) Error() string { return "connecting: " + e.Err.Error() }

// Unwrap returns Err.
func (e *DialError) Unwrap() error { return e.Err }

// A Dial connects to a server: network "tcp" and host:port, or "unix" and a path.
type Dial func(ctx context.Context, network, addr string) (net.Conn, error)

// Options are how servers are reached.
type Options struct {
	Dial Dial // required

	// TLS is of https; its ServerName is the URL's host if empty.
	TLS *tls.Config

	DialLimit     time.Duration // with TLS; 0 for none
	ResponseLimit time.Duration // from the end of a request to the head of the response; 0 for none
	IdleLimit     time.Duration // of connections kept for the next request; 0 for none
}

// maxIdle is how many connections to a server are kept for the next request.
const maxIdle = 256

// A target is what a URL says of a server.
type target struct {
	network, addr string
	scheme        string // http, https or h2c
}

// parse takes apart the URL of a server: http, https or h2c, each with +unix for a socket.
func parse(u *url.URL) (t target, err error) {
	t.scheme, t.network = strings.TrimSuffix(u.Scheme, "+srv"), "tcp"
	if s, ok := strings.CutSuffix(u.Scheme, "+unix"); ok {
		t.scheme, t.network, t.addr = s, "unix", u.Path
	} else {
		t.addr = net.JoinHostPort(u.Hostname(), portOf(u))
	}
	if t.scheme != "http" && t.scheme != "https" && t.scheme != "h2c" {
		return target{}, fmt.Errorf("scheme %q is not known", u.Scheme)
	}
	if t.network == "tcp" && u.Hostname() == "" || t.network == "unix" && t.addr == "" {
		return target{}, errors.New("the URL does not say where the server is")
	}
	return t, nil
}

// portOf is that of a URL, or its scheme's.
func portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

// NewClient returns a client of the server at u, an http, https (HTTP/2 where it is offered) or
// h2c URL, each with +unix for a socket of this machine. It is dialled at addr (host:port) instead, if that is not empty. What else is in u does not matter.
func NewClient(u *url.URL, addr string, o Options) (Client, error) {
	t, err := parse(u)
	if err != nil {
		return nil, err
	}
	if addr != "" {
		t.addr = addr
	}
	if t.scheme == "http" {
		return &h1.Client{
			Dial:    func(ctx context.Context) (net.Conn, error) { return dial(ctx, o, t) },
			MaxIdle: maxIdle, IdleLimit: o.IdleLimit, ResponseLimit: o.ResponseLimit,
		}, nil
	}
	return newTransport(t, o), nil
}

// A transport is net/http's client, kept to one server: for HTTP/2, and where it may be offered.
type transport struct {
	t      *http.Transport
	target target
}

func newTransport(t target, o Options) *transport {
	protocols := new(http.Protocols)
	switch t.scheme {
	case "h2c":
		protocols.SetUnencryptedHTTP2(true)
	case "https":
		protocols.SetHTTP2(true)
		fallthrough
	default:
		protocols.SetHTTP1(true)
	}
	return &transport{target: t, t: &http.Transport{
		// Proxy stays nil: the environment has no say in where requests go.
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dial(ctx, o, t)
		},
		TLSClientConfig:       o.TLS,
		TLSHandshakeTimeout:   o.DialLimit,
		ResponseHeaderTimeout: o.ResponseLimit,
		IdleConnTimeout:       o.IdleLimit,
		MaxIdleConns:          maxIdle,
		MaxIdleConnsPerHost:   maxIdle,
		DisableCompression:    true,
		Protocols:             protocols,
		ExpectContinueTimeout: time.Second,
		HTTP2: &http.HTTP2Config{
			// A server that went silent costs the requests of one connection.
			SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second,
		},
	}}
}

func dial(ctx context.Context, o Options, t target) (net.Conn, error) {
	if o.DialLimit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.DialLimit)
		defer cancel()
	}
	c, err := o.Dial(ctx, t.network, t.addr)
	if err != nil {
		return nil, &DialError{err}
	}
	return c, nil
}

func (t *transport) Do(r *http.Request, early func(status int, h http.Header)) (*http.Response, error) {
	ctx := r.Context()
	if early != nil {
		var g guard
		defer g.end()
		early = g.guarded(early)
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
			Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
				if code != http.StatusContinue && code != http.StatusSwitchingProtocols {
					early(code, http.Header(h))
				}
				return nil
			},
		})
	}
	out := r.WithContext(ctx)
	u := *r.URL
	u.Scheme = "http"
	if t.target.scheme == "https" {
		u.Scheme = "https"
	}
	if t.target.network == "unix" {
		u.Host = "localhost" // net/http wants one; the dialer knows better
		if out.Host == "" {
			out.Host = "localhost"
		}
	} else {
		u.Host = t.target.addr
	}
	out.URL = &u
	return t.t.RoundTrip(out)
}

// A guard keeps a callback from coming late: net/http calls it from another goroutine.
type guard struct {
	mu    sync.Mutex
	ended bool
}

func (g *guard) guarded(early func(int, http.Header)) func(int, http.Header) {
	return func(status int, h http.Header) {
		g.mu.Lock()
		defer g.mu.Unlock()
		if !g.ended {
			early(status, h)
		}
	}
}

func (g *guard) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended = true
}

func (t *transport) Close() { t.t.CloseIdleConnections() }
