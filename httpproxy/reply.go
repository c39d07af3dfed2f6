package httpproxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/connectudp"
	"github.com/byway-proxy/byway/internal/h2"
)

// errNotHTTP is the error of a proxy whose answer is no HTTP/1.x.
var errNotHTTP = errors.New("the answer is not HTTP/1.1")

// A reply is the head of a proxy's answer to CONNECT.
type reply struct {
	code    int
	website bool   // it has the fields of a page's answer
	status  string // Proxy-Status
	upgrade string // the protocol that was switched to
}

// err returns what the reply says of the tunnel: nil if it is open. withAuth
// tells whether a credential was presented.
func (r reply) err(withAuth bool) error {
	e := &StatusError{Code: r.code, Token: proxyStatusError(r.status)}
	switch {
	case r.code/100 == 2 && !r.website:
		return nil
	case r.code == http.StatusProxyAuthRequired && withAuth:
		return chain.Fail(chain.PhaseAuth, fmt.Errorf("credentials rejected: %w", e))
	case r.code == http.StatusProxyAuthRequired:
		return chain.Fail(chain.PhaseAuth, fmt.Errorf("credentials needed: %w", e))
	case e.Token == "" && (r.code/100 == 2 || r.code/100 == 3 || r.code == http.StatusUnauthorized ||
		r.code == http.StatusNotFound || r.code == http.StatusMethodNotAllowed):
		return chain.Fail(chain.PhaseAuth, fmt.Errorf(
			"%w, as a website does and a proxy does not: check the credentials and the address", e))
	}
	return chain.Fail(chain.PhaseConnect, e)
}

// upgradeErr is err for a request to upgrade to connect-udp.
func (r reply) upgradeErr(withAuth bool) error {
	if r.code == http.StatusSwitchingProtocols && strings.EqualFold(r.upgrade, connectudp.Protocol) {
		return nil
	}
	r.website = true // any other 2xx is
	return r.err(withAuth)
}

// readReply reads the final answer to a CONNECT, or to a request to upgrade, from r. Interim answers are
// skipped. rest is what followed the head; it is the tunnel's.
func readReply(r io.Reader) (rep reply, rest []byte, err error) {
	buf := make([]byte, 0, 1<<10)
	seen, past := 0, 0
	for {
		if len(buf) == cap(buf) {
			if past+len(buf) >= maxHead {
				return rep, nil, errors.New("the answer's head is too long")
			}
			buf = append(make([]byte, 0, 4*cap(buf)), buf...)
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		for n > 0 {
			end, next, bad := headEnd(buf, seen)
			if bad != nil {
				return rep, nil, errNotHTTP
			}
			if seen = next; end == 0 {
				break
			}
			if rep, err = parseReply(buf[:end]); err != nil {
				return rep, nil, err
			}
			if rep.code >= 200 || rep.code == http.StatusSwitchingProtocols {
				return rep, append([]byte(nil), buf[end:]...), nil
			}
			if past += end; past >= maxHead {
				return rep, nil, errors.New("too many interim answers")
			}
			buf, seen = buf[:copy(buf, buf[end:])], 0
		}
		if len(buf) >= 5 && string(buf[:5]) != "HTTP/" {
			return rep, nil, errNotHTTP
		}
		if err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return rep, nil, err
		}
	}
}

// parseReply checks a whole head, as found by headEnd (RFC 9112 §4, §5).
func parseReply(b []byte) (r reply, err error) {
	line, rest, ok := bytes.Cut(b, crlf)
	if !ok || len(line) < 12 || string(line[:7]) != "HTTP/1." || !isDigit(line[7]) || line[8] != ' ' ||
		len(line) > 12 && line[12] != ' ' {
		return r, errNotHTTP
	}
	for _, c := range line[9:12] {
		if !isDigit(c) {
			return r, errNotHTTP
		}
		r.code = 10*r.code + int(c-'0')
	}
	if r.code < 100 || r.code > 599 {
		return r, fmt.Errorf("the proxy answered with status %d", r.code)
	}
	for {
		if line, rest, ok = bytes.Cut(rest, crlf); !ok {
			return r, errNotHTTP
		}
		if len(line) == 0 {
			return r, nil
		}
		name, value, bad := field(line)
		if bad != nil {
			return r, errNotHTTP
		}
		r.note(name, value)
	}
}

func (r *reply) note(name, value []byte) {
	switch {
	case is(name, "Content-Length"), is(name, "Transfer-Encoding"), is(name, "Content-Type"):
		r.website = true
	case is(name, "Upgrade"):
		r.upgrade = string(value)
	case is(name, "Proxy-Status"):
		if r.status != "" {
			r.status += ", "
		}
		r.status += string(value)
	}
}

// replyOf reads an HTTP/2 answer in the same terms.
func replyOf(resp *h2.Response) reply {
	// An answer that ended with its head is a page, too: an empty one.
	r := reply{code: resp.Status, website: resp.Ended}
	for _, f := range resp.Fields {
		r.note([]byte(f.Name), []byte(f.Value))
	}
	return r
}
