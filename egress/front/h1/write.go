package h1

import (
	"net/http"
	"strconv"
	"strings"
)

// appendHead appends the head of r. The framing fields are its own (RFC 9112 §6); all others are r's.
func appendHead(b []byte, r *http.Request) ([]byte, error) {
	if !isToken(r.Method) {
		return b, ErrRequest
	}
	b = append(b, r.Method...)
	b = append(b, ' ')
	b = appendTarget(b, r.URL.RequestURI())
	b = append(b, " HTTP/1.1\r\nHost: "...)
	host := r.Host
	if host == "" {
		host = r.URL.Host
	}
	if !isValue(host) {
		return b, ErrRequest
	}
	b = append(b, host...)
	b = append(b, "\r\n"...)
	for name, values := range r.Header {
		switch name {
		case "Host", "Content-Length", "Transfer-Encoding", "Trailer":
			continue
		}
		if !isToken(name) {
			return b, ErrRequest
		}
		for _, v := range values {
			if !isValue(v) {
				return b, ErrRequest
			}
			b = append(b, name...)
			b = append(b, ": "...)
			b = append(b, v...)
			b = append(b, "\r\n"...)
		}
	}
	return append(appendFraming(b, r), "\r\n"...), nil
}

func appendFraming(b []byte, r *http.Request) []byte {
	switch {
	case !hasBody(r):
		// A method that has content as a rule says that there is none (RFC 9110 §8.6).
		if r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch {
			b = append(b, "Content-Length: 0\r\n"...)
		}
	case r.ContentLength >= 0:
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, r.ContentLength, 10)
		b = append(b, "\r\n"...)
	default:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
		if names := trailerNames(r.Trailer); names != "" {
			b = append(b, "Trailer: "...)
			b = append(b, names...)
			b = append(b, "\r\n"...)
		}
	}
	return b
}

func trailerNames(h http.Header) string {
	var names []string
	for name := range h {
		if mayTrail(name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// mayTrail reports whether a field may stand in trailers: none that frames the message does (RFC 9110 §6.5.1).
func mayTrail(name string) bool {
	switch name {
	case "Content-Length", "Transfer-Encoding", "Trailer", "Host", "Connection":
		return false
	}
	return isToken(name)
}

// appendTarget appends a request's target, in which what can't stand there is percent-encoded: HTTP/2 has no
// request line that it could break.
func appendTarget(b []byte, target string) []byte {
	for i := range len(target) {
		if c := target[i]; c <= ' ' || c == 0x7f {
			const hex = "0123456789ABCDEF"
			b = append(b, '%', hex[c>>4], hex[c&15])
		} else {
			b = append(b, c)
		}
	}
	return b
}

// isValue reports whether s can stand in a line of a head.
func isValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

var tokens = func() (t [256]bool) {
	for c := range t {
		letter := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		t[c] = letter || c < 0x80 && strings.IndexByte("!#$%&'*+-.^_`|~", byte(c)) >= 0
	}
	return t
}()

// isToken reports whether s is a token (RFC 9110 §5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		if !tokens[s[i]] {
			return false
		}
	}
	return s != ""
}
