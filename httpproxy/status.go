package httpproxy

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/dunglas/httpsfv"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/relay"
)

// A StatusError is an upstream proxy's refusal of a CONNECT. It satisfies
// errors.Is for the errno that it stands for: that of Error if the proxy sent
// one, else that of Code.
type StatusError struct {
	Code  int    // the HTTP status
	Token string // the error type of its Proxy-Status field (RFC 9209 §2.3), or ""
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("the proxy answered %d %s", e.Code, http.StatusText(e.Code))
	if e.Token != "" {
		text += ", " + e.Token
	}
	return text
}

// Is reports whether target is the errno that e stands for.
func (e *StatusError) Is(target error) bool {
	errno, ok := target.(syscall.Errno)
	return ok && errno != 0 && errno == e.errno()
}

func (e *StatusError) errno() syscall.Errno {
	if errno, ok := tokenErrno[e.Token]; ok {
		return errno
	}
	return statusErrno[e.Code]
}

var tokenErrno = map[string]syscall.Errno{
	"connection_refused":        syscall.ECONNREFUSED,
	"connection_terminated":     syscall.ECONNRESET,
	"connection_timeout":        syscall.ETIMEDOUT,
	"connection_read_timeout":   syscall.ETIMEDOUT,
	"connection_write_timeout":  syscall.ETIMEDOUT,
	"dns_timeout":               syscall.ETIMEDOUT,
	"dns_error":                 syscall.EHOSTUNREACH,
	"destination_not_found":     syscall.EHOSTUNREACH,
	"destination_unavailable":   syscall.EHOSTUNREACH,
	"destination_ip_unroutable": syscall.ENETUNREACH,
	"destination_ip_prohibited": syscall.EACCES,
	"http_request_denied":       syscall.EACCES,
	"connection_limit_reached":  syscall.EMFILE,
	"proxy_internal_error":      0,
	"proxy_configuration_error": 0,
}

// statusErrno reads what proxies in the field mean: squid says 503 where a
// target can't be reached or resolved, tinyproxy 500, others 502.
var statusErrno = map[int]syscall.Errno{
	http.StatusForbidden:                  syscall.EACCES,
	http.StatusUnavailableForLegalReasons: syscall.EACCES,
	http.StatusInternalServerError:        syscall.EHOSTUNREACH,
	http.StatusNotImplemented:             syscall.EOPNOTSUPP,
	http.StatusBadGateway:                 syscall.EHOSTUNREACH,
	http.StatusServiceUnavailable:         syscall.EHOSTUNREACH,
	http.StatusGatewayTimeout:             syscall.ETIMEDOUT,
}

// statusOf returns the status that tells a client of err. What a hop on the way did is
// the gateway's fault, and no news of the target.
func statusOf(err error) int {
	if errors.Is(err, relay.ErrClosed) {
		return http.StatusServiceUnavailable
	}
	switch chain.TargetErrno(err) {
	case syscall.EACCES:
		return http.StatusForbidden
	case syscall.ETIMEDOUT:
		return http.StatusGatewayTimeout
	case syscall.EOPNOTSUPP, syscall.EAFNOSUPPORT:
		return http.StatusNotImplemented
	case syscall.EMFILE:
		return http.StatusServiceUnavailable
	}
	return http.StatusBadGateway
}

// tokenOf returns the error type of RFC 9209 §2.3 for err.
func tokenOf(err error) string {
	var dns *net.DNSError
	errno := chain.TargetErrno(err)
	switch {
	case errors.As(err, &dns) && dns.IsTimeout:
		return "dns_timeout"
	case errors.As(err, &dns):
		return "dns_error"
	case errors.Is(err, relay.ErrClosed):
		return "connection_limit_reached"
	case errno == syscall.EACCES:
		return "http_request_denied"
	case errno == syscall.ECONNREFUSED:
		return "connection_refused"
	case errno == syscall.ECONNRESET:
		return "connection_terminated"
	case errno == syscall.ETIMEDOUT:
		return "connection_timeout"
	case errno == syscall.EHOSTUNREACH:
		return "destination_unavailable"
	case errno == syscall.ENETUNREACH:
		return "destination_ip_unroutable"
	case errno == syscall.EMFILE:
		return "connection_limit_reached"
	}
	return "proxy_internal_error"
}

// proxyStatus returns the value of a Proxy-Status field by the proxy of that name (a
// token) that tells of err: with details, which hop failed, too.
func proxyStatus(name string, err error, details bool) string {
	item := httpsfv.NewItem(httpsfv.Token(name))
	item.Params.Add("error", httpsfv.Token(tokenOf(err)))
	if details {
		item.Params.Add("details", strings.Map(func(r rune) rune {
			if r < ' ' || r > '~' {
				return '?' // RFC 9651 §3.3.3
			}
			return r
		}, chain.Reason(err)))
	}
	value, err := httpsfv.Marshal(httpsfv.List{item})
	if err != nil {
		return ""
	}
	return value
}

// proxyStatusError returns the error type of a Proxy-Status field: the first,
// which is that of the proxy nearest to the target (RFC 9209 §2), or "".
func proxyStatusError(field string) string {
	for _, param := range splitUnquoted(field) {
		key, value, _ := strings.Cut(param, "=")
		if strings.TrimSpace(key) != "error" {
			continue
		}
		if value = strings.TrimSpace(value); len(value) <= 64 && isToken([]byte(value)) {
			return value
		}
	}
	return ""
}

// splitUnquoted splits s at ';' and ',' outside of quoted strings.
func splitUnquoted(s string) (parts []string) {
	quoted, from := false, 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ';' || c == ','):
			parts = append(parts, s[from:i])
			from = i + 1
		}
	}
	return append(parts, s[from:])
}
