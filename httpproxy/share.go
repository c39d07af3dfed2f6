package httpproxy

import (
	"errors"
	"net"
	"net/http"
	"strings"
)

// What stands here is for proxies on other versions of HTTP, whose answers say the
// same in the same way.

// Authority returns the target of a CONNECT whose authority is s. The error says what
// is wrong with it.
func Authority(s string) (addr string, err error) {
	addr, refused := connectTarget(s)
	if refused != nil {
		return "", refused
	}
	return addr, nil
}

// Refuse answers r, which asked for a tunnel, with err, as [Connect] does. It returns
// before the answer is on its way: that goes when the handler returns.
func Refuse(w http.ResponseWriter, r *http.Request, err error, o ConnectOptions) error {
	return (&received{w: w, r: r, o: o}).Reject(err)
}

// Refusal returns what a proxy's answer to a CONNECT says of the tunnel: nil if it is
// open. withAuth tells whether a credential was presented. Errors are *chain.Error
// around a *[StatusError].
func Refusal(status int, fields http.Header, withAuth bool) error {
	r := reply{code: status}
	for name, values := range fields {
		for _, v := range values {
			r.note([]byte(name), []byte(v))
		}
	}
	return r.err(withAuth)
}

// Authorization returns the value of Proxy-Authorization by which o's credentials are
// shown, or "".
func (o *HopOptions) Authorization() string { return o.authorization() }

// Host is the authority of requests to the proxy at addr itself.
func (o *HopOptions) Host(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if o.TLS != nil && o.TLS.ServerName != "" {
		host = o.TLS.ServerName // its name, whatever the address
	}
	switch {
	case err != nil:
		return addr
	case port == "443" && !strings.Contains(host, ":"):
		return host
	}
	return net.JoinHostPort(host, port)
}

// Filled returns o with the defaults in place of what is zero, for a hop of scheme at addr.
func (o HopOptions) Filled(scheme, addr string) (HopOptions, error) {
	o.fill(scheme, addr)
	return o, checkHop(addr)
}

// ErrTarget is the error of a target that can't be written into a request.
var ErrTarget = errors.New("the target is not a valid host:port")
