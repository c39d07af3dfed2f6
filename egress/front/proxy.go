package front

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"github.com/byway-proxy/byway/egress/front/upstream"
)

// A Proxy passes requests on to the servers of a pool, and their responses back, each
// as it comes: bodies stream in both directions at once, and informational responses,
// trailers and upgrades pass. CONNECT does not, lest a server be a proxy.
type Proxy struct {
	Pool *upstream.Pool

	// Trusted are the peers that are believed what they say of where a request came from.
	Trusted []netip.Prefix

	// Name is what requests and responses are told in Via (RFC 9110 §7.6.3);
	// empty for nothing, which that forbids.
	Name string

	// Tries is how many servers a request that may be sent again is sent to at most; 0 means 3.
	Tries int

	// RetryOn are the statuses of a server for which a request is sent to another, if it may be.
	RetryOn []int

	tunnels tunnels
}

func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodConnect {
		notAllowed(w)
		return
	}
	// The server reads a request's body to its end before a response, unless told (HTTP/1.1 only).
	if r.Body != http.NoBody && r.ProtoMajor == 1 {
		_ = http.NewResponseController(w).EnableFullDuplex()
	}
	x := &exchange{p: p, w: w, r: r, out: p.outgoing(r), body: newReplay(r)}
	x.wish = upstream.Wish{Request: r, Client: client(r, p.Trusted).client}
	if r.ProtoAtLeast(1, 1) { // RFC 9110 §15.2
		x.early = earlyTo(w)
	}
	for !x.try() {
	}
}

// Close ends the tunnels that upgrades made, and the pool.
func (p *Proxy) Close() {
	p.tunnels.close()
	p.Pool.Close()
}

func (p *Proxy) tries() int {
	if p.Tries == 0 {
		return 3
	}
	return p.Tries
}

// outgoing returns r as an upstream is to see it, without its URL and body.
func (p *Proxy) outgoing(r *http.Request) *http.Request {
	shallow := *r
	out := &shallow
	h := r.Header.Clone()
	out.Header = h
	upgrade := upgradeOf(h)
	if isTransport(upgrade) {
		upgrade = ""
	}
	trailers := hasItem(h["Te"], "trailers")
	dropPerConnection(h)
	if trailers {
		h["Te"] = []string{"trailers"} // gRPC asks servers for it
	}
	if upgrade != "" {
		h["Connection"], h["Upgrade"] = []string{"Upgrade"}, []string{upgrade}
	}
	forwarded(h, r, client(r, p.Trusted), p.Trusted)
	p.via(h, r.ProtoMajor, r.ProtoMinor)
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = nil // net/http would say its own
	}
	out.RequestURI, out.Close = "", false
	out.Trailer = r.Trailer // filled when the body has been read
	if r.ContentLength == 0 {
		out.Body = http.NoBody
	}
	return out
}

func (p *Proxy) via(h http.Header, major, minor int) {
	if p.Name == "" {
		return
	}
	version := string([]byte{'0' + byte(major), '.', '0' + byte(minor)})
	if major >= 2 {
		version = version[:1]
	}
	h["Via"] = append(h["Via"][:len(h["Via"]):len(h["Via"])], version+" "+p.Name)
}

// at returns the URL of a request at a server.
func at(server, request *url.URL) *url.URL {
	u := &url.URL{
		Scheme: server.Scheme, Host: server.Host,
		Path: request.Path, RawPath: request.RawPath, RawQuery: request.RawQuery, ForceQuery: request.ForceQuery,
	}
	if base := strings.TrimSuffix(server.Path, "/"); base != "" && !strings.HasSuffix(server.Scheme, "+unix") {
		if u.RawPath != "" || server.RawPath != "" {
			u.RawPath = strings.TrimSuffix(server.EscapedPath(), "/") + request.EscapedPath()
		}
		u.Path = base + u.Path
	}
	if u.Path == "" && request.Opaque == "" {
		u.Path = "/"
	}
	if request.Path == "*" { // OPTIONS * (RFC 9110 §9.3.7)
		u.Path, u.RawPath, u.Opaque = "", "", "*"
	}
	return u
}

// statusOf is the status that tells a client of a failure to get a response.
func statusOf(err error) int {
	var timeout interface{ Timeout() bool }
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		return http.StatusGatewayTimeout
	}
	return http.StatusBadGateway
}

// earlyTo passes on informational responses.
func earlyTo(w http.ResponseWriter) func(int, http.Header) {
	return func(status int, early http.Header) {
		h := w.Header()
		for name, values := range early {
			h[name] = values
		}
		w.WriteHeader(status)
		for name := range early {
			delete(h, name)
		}
	}
}
