package httpproxy

import (
	"bytes"
	"net/http"
	"strconv"
)

// maxHead bounds the head of a request or an answer, in bytes.
const maxHead = 64 << 10

// A refusal is the answer to a request that is not served.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return "refused a request: " + r.text }

func bad(text string) *refusal { return &refusal{http.StatusBadRequest, text} }

// A requestHead is what the head of a request says about itself and its framing.
type requestHead struct {
	method, target string
	minor          byte // of the version HTTP/1.x
	hosts          int  // how many Host fields there are
	host           string
	length         int64
	hasLength      bool
	chunked        bool
	auth           []string // the values of Proxy-Authorization
	hasCache       bool     // a Cache-Control field is there
	foreign        bool     // it is a web page that asks, and none of ours
}

func (h *requestHead) hasBody() bool { return h.chunked || h.length > 0 }

// headEnd looks for the end of a head in b, of which the first seen bytes have
// been looked at before. It returns the length of the head, or 0 and how many
// bytes need no second look. Lines end in CRLF and nothing else (RFC 9112 §2.2
// lets a recipient be lenient; what two recipients read differently, a smuggler
// uses).
func headEnd(b []byte, seen int) (end, next int, err *refusal) {
	for i := seen; i < len(b); i++ {
		switch b[i] {
		case 0:
			return 0, 0, bad("NUL in the head")
		case '\n':
			if i == 0 || b[i-1] != '\r' {
				return 0, 0, bad("a line that ends in a bare LF")
			}
			if i >= 3 && b[i-2] == '\n' {
				return i + 1, 0, nil
			}
		case '\r':
			if i+1 == len(b) {
				return 0, i, nil
			}
			if b[i+1] != '\n' {
				return 0, 0, bad("a bare CR in the head")
			}
		}
	}
	return 0, len(b), nil
}

// parseHead checks a whole head, as found by headEnd, by RFC 9112 §3, §5 and §6.
func parseHead(b []byte) (*requestHead, *refusal) {
	line, rest, ok := bytes.Cut(b, crlf)
	if !ok {
		return nil, bad("no request line")
	}
	h := &requestHead{}
	if err := h.requestLine(line); err != nil {
		return nil, err
	}
	te := ""
	for {
		if line, rest, ok = bytes.Cut(rest, crlf); !ok {
			return nil, bad("the head does not end in an empty line")
		}
		if len(line) == 0 {
			break
		}
		name, value, err := field(line)
		if err != nil {
			return nil, err
		}
		if err := h.note(name, value, &te); err != nil {
			return nil, err
		}
	}
	if len(rest) != 0 {
		return nil, bad("an empty line within the head")
	}
	return h, h.framing(te)
}

var crlf = []byte("\r\n")

func (h *requestHead) requestLine(line []byte) *refusal {
	method, rest, ok := bytes.Cut(line, []byte(" "))
	target, version, ok2 := bytes.Cut(rest, []byte(" "))
	if !ok || !ok2 || !isToken(method) || len(target) == 0 {
		return bad("malformed request line")
	}
	if !isTarget(target) {
		return bad("a character in the request target that has no place there")
	}
	v := string(version)
	switch {
	case v == "HTTP/1.1" || v == "HTTP/1.0":
		h.minor = v[7] - '0'
	case len(v) == 8 && v[:5] == "HTTP/" && isDigit(v[5]) && v[6] == '.' && isDigit(v[7]):
		return &refusal{http.StatusHTTPVersionNotSupported, "this version of HTTP is not spoken here"}
	default:
		return bad("malformed request line")
	}
	h.method, h.target = string(method), string(target)
	return nil
}

// isTarget reports whether b has only characters that a request target may have.
func isTarget(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c >= 0x7f || c == '#' {
			return false
		}
	}
	return true
}

// field takes a field line apart (RFC 9112 §5).
func field(line []byte) (name, value []byte, err *refusal) {
	if line[0] == ' ' || line[0] == '\t' {
		return nil, nil, bad("a field line that begins with whitespace")
	}
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok || !isToken(name) {
		return nil, nil, bad("malformed field name")
	}
	if !isFieldValue(value) {
		return nil, nil, bad("a control character in a field")
	}
	return name, bytes.Trim(value, " \t"), nil
}

// isFieldValue reports whether b is free of control characters (RFC 9110 §5.5).
func isFieldValue(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// note remembers the fields that matter before the request is understood.
func (h *requestHead) note(name, value []byte, te *string) *refusal {
	switch {
	case is(name, "Host"):
		h.hosts++
		if h.hosts > 1 {
			return bad("more than one Host")
		}
		if len(value) > 0 {
			if _, _, ok := splitAuthority(string(value)); !ok {
				return bad("malformed Host")
			}
		}
		h.host = string(value)
	case is(name, "Content-Length"):
		// Several, even if they agree, are refused: see RFC 9112 §6.3.
		n, ok := parseLength(value)
		if h.hasLength || !ok {
			return bad("malformed or repeated Content-Length")
		}
		h.hasLength, h.length = true, n
	case is(name, "Transfer-Encoding"):
		if *te != "" || len(value) == 0 {
			return bad("empty or repeated Transfer-Encoding")
		}
		*te = string(value)
	case is(name, "Proxy-Authorization"):
		h.auth = append(h.auth, string(value))
	case is(name, "Cache-Control"):
		h.hasCache = true
	case is(name, "Origin"):
		h.foreign = true
	case is(name, "Sec-Fetch-Site"):
		h.foreign = h.foreign || foreignSite(string(value))
	}
	return nil
}

// framing decides how long the message is (RFC 9112 §6.3), and whether that is
// beyond doubt.
func (h *requestHead) framing(te string) *refusal {
	switch {
	case h.hosts == 0 && h.minor >= 1:
		return bad("no Host")
	case te == "":
		return nil
	case h.minor == 0:
		return bad("Transfer-Encoding in HTTP/1.0")
	case h.hasLength:
		return bad("both Transfer-Encoding and Content-Length")
	case !is([]byte(te), "chunked"):
		return &refusal{http.StatusNotImplemented, "chunked is the only transfer coding known here"}
	}
	h.chunked = true
	return nil
}

func parseLength(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	for _, c := range b {
		if !isDigit(c) {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(string(b), 10, 64)
	return n, err == nil
}

func is(name []byte, want string) bool {
	if len(name) != len(want) {
		return false
	}
	for i, c := range name {
		if lower(c) != lower(want[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// isToken reports whether b is a token (RFC 9110 §5.6.2).
func isToken(b []byte) bool {
	for _, c := range b {
		if !tokenChar[c] {
			return false
		}
	}
	return len(b) > 0
}

var tokenChar = func() (t [256]bool) {
	for c := range t {
		b := byte(c)
		t[c] = isDigit(b) || 'a' <= lower(b) && lower(b) <= 'z' ||
			bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), b) >= 0
	}
	return t
}()
