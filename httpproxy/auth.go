package httpproxy

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"

	"github.com/byway-proxy/byway/relay"
)

// tokens is what [Server.Users] may be besides: it tells whose secret a Bearer
// token is (RFC 6750 §2.1), in constant time.
type tokens interface {
	UserOf(token string) (user string, ok bool)
}

// userOf returns the user whose credentials are the one value of a request's
// Proxy-Authorization, and whether they are good.
func (s *Server) userOf(values []string) (user string, ok bool) {
	if len(values) != 1 {
		return "", false
	}
	scheme, credentials, _ := strings.Cut(values[0], " ")
	credentials = strings.TrimLeft(credentials, " ")
	switch {
	case strings.EqualFold(scheme, "Basic"):
		return s.basicUser(credentials)
	case strings.EqualFold(scheme, "Bearer"):
		if t, can := s.Users.(tokens); can && credentials != "" {
			return t.UserOf(credentials)
		}
	}
	return "", false
}

// label returns the label of who shows credentials that nobody asked for.
func (s *Server) label(credentials []string) string {
	if s.Users != nil || len(credentials) == 0 || !s.Request.Isolate.Has(relay.ByUser) {
		return ""
	}
	return relay.Label(credentials...)
}

func (s *Server) basicUser(credentials string) (user string, ok bool) {
	plain, err := base64.StdEncoding.DecodeString(credentials)
	if err != nil {
		return "", false
	}
	user, password, ok := strings.Cut(string(plain), ":")
	if !ok || !s.Users.Valid(user, password) {
		return "", false
	}
	return user, true
}

// errAuth is what relay.Trace is told of a client whose credentials are no good.
var errAuth = errors.New("wrong proxy credentials")

// unauthorized is the answer to a request without good credentials, of which it
// had some or none.
func (s *Server) unauthorized(had bool) answer {
	if had {
		s.Relay.Trace.Bad(s.Request.Listener, errAuth)
	}
	a := textAnswer(http.StatusProxyAuthRequired, "this proxy needs credentials\n")
	a.fields["Proxy-Authenticate"] = []string{`Basic realm="byway"`}
	if _, can := s.Users.(tokens); can {
		a.fields.Add("Proxy-Authenticate", `Bearer realm="byway"`)
	}
	return a
}

// demandAuth answers with 407. The conn goes on where nothing hangs on it: not
// after a CONNECT, behind which may come what was meant for the target (RFC 9931).
func (c *client) demandAuth(h *requestHead, size int) (again bool, err error) {
	a := c.s.unauthorized(len(h.auth) > 0)
	if h.method == http.MethodConnect {
		return false, c.last(a.bytes(h.method, true))
	}
	return c.shortAnswer(h, size, a)
}
