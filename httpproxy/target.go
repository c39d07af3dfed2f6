package httpproxy

import (
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
)

// splitAuthority takes host [":" port] apart, strictly: a name of the characters
// that names have, an IPv4 address, or an IPv6 address in brackets. host comes
// without brackets; port is "" where there is none.
func splitAuthority(s string) (host, port string, ok bool) {
	if strings.HasPrefix(s, "[") {
		var rest string
		if host, rest, ok = strings.Cut(s[1:], "]"); !ok {
			return "", "", false
		}
		a, err := netip.ParseAddr(host)
		if err != nil || !a.Is6() || a.Zone() != "" {
			return "", "", false
		}
		if rest == "" {
			return host, "", true
		}
		if rest[0] != ':' {
			return "", "", false
		}
		port = rest[1:]
	} else {
		host, port, _ = strings.Cut(s, ":")
		if !isName(host) {
			return "", "", false
		}
	}
	return host, port, port == "" || isPort(port)
}

// isName reports whether s can be a host name or an IPv4 address. Underscores
// are in use, whatever the standards say.
func isName(s string) bool {
	if len(s) == 0 || len(s) > 255 {
		return false
	}
	for i := range len(s) {
		if c := lower(s[i]); !isDigit(c) && (c < 'a' || c > 'z') && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	return true
}

func isPort(s string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return false
		}
	}
	n, err := strconv.Atoi(s)
	return err == nil && 1 <= n && n <= 65535 && len(s) <= 5
}

// connectTarget returns the address that a CONNECT names in authority-form
// (RFC 9112 §3.2.3), in which the port is required.
func connectTarget(target string) (string, *refusal) {
	host, port, ok := splitAuthority(target)
	if !ok || port == "" {
		return "", bad("CONNECT takes host:port")
	}
	return net.JoinHostPort(host, port), nil
}

// An absolute is a request target in absolute-form (RFC 9112 §3.2.2).
type absolute struct {
	authority string // as the client wrote it
	addr      string // host:port to connect to
	path      string // path and query, as the client wrote them; "" if there is none
}

func absoluteTarget(target string) (a absolute, err *refusal) {
	scheme, rest, ok := strings.Cut(target, "://")
	switch {
	case !ok:
		return a, bad("the request target is no http:// URL")
	case strings.EqualFold(scheme, "https"):
		// To send it in the clear would betray it; to speak TLS for the client
		// would hide from it whether that worked.
		return a, &refusal{http.StatusNotImplemented, "https:// needs CONNECT: this proxy does not speak TLS for its clients"}
	case !strings.EqualFold(scheme, "http"):
		return a, bad("the request target is no http:// URL")
	}
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	a.authority, a.path = rest[:end], rest[end:]
	if strings.HasPrefix(a.path, "?") {
		a.path = "/" + a.path
	}
	if strings.Contains(a.authority, "@") {
		return a, bad("user names in URLs are not accepted")
	}
	host, port, ok := splitAuthority(a.authority)
	if !ok {
		return a, bad("malformed host in the request target")
	}
	if port == "" {
		port = "80"
		a.authority = strings.TrimSuffix(a.authority, ":")
	}
	a.addr = net.JoinHostPort(host, port)
	return a, nil
}
