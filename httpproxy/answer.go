package httpproxy

import (
	"errors"
	"html"
	"io"
	"maps"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/relay"
)

// An answer is what the proxy says itself, in whatever version of HTTP.
type answer struct {
	status int
	fields http.Header
	body   string
}

// textAnswer is an answer with a text for people.
func textAnswer(status int, text string) answer {
	return answer{status, http.Header{"Content-Type": {"text/plain; charset=utf-8"}}, text}
}

// failure is the answer to a request that could not be served because of err. The
// pages of the target's site can read it, so it tells nothing of the hops.
func failure(err error) answer {
	text := chain.Reason(err)
	if e := (*chain.Error)(nil); errors.As(err, &e) {
		text = "the way to the target failed; the proxy's log tells where"
		if errno := chain.TargetErrno(err); errno != 0 {
			text = errno.Error()
		}
	}
	return textAnswer(statusOf(err), text+"\n")
}

// ownName is by what this proxy calls itself in a Proxy-Status field.
const ownName = "byway"

// plainFailure is failure for a request whose answer a browser shows: one that is
// not for a tunnel.
func plainFailure(err error) answer {
	var blocked *relay.BlockedError
	if !errors.As(err, &blocked) || blocked.Block != relay.Page {
		return failure(err)
	}
	return answer{statusOf(err), http.Header{
		"Content-Type":            {"text/html; charset=utf-8"},
		"Content-Security-Policy": {"default-src 'none'; base-uri 'none'; form-action 'none'"},
		"Cache-Control":           {"no-store"},
	}, "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n" +
		"<meta name=\"color-scheme\" content=\"light dark\">\n<title>Blocked</title>\n<h1>Blocked</h1>\n" +
		"<p>byway did not pass this request on. The rule is at <code>" + html.EscapeString(blocked.Rule) + "</code>.</p>\n</html>\n"}
}

// head sets what is about the body, which a HEAD gets none of.
func (a *answer) head(method string) {
	a.fields.Set("Content-Length", strconv.Itoa(len(a.body)))
	if method == http.MethodHead {
		a.body = ""
	}
}

// bytes is the answer to a method on HTTP/1.1; the conn ends after the last one.
func (a answer) bytes(method string, last bool) []byte {
	a.head(method)
	if last {
		a.fields.Set("Connection", "close")
	}
	return append(responseHead(a.status, "", a.fields), a.body...)
}

// send is the answer to a method on HTTP/2.
func (a answer) send(w http.ResponseWriter, method string) {
	a.head(method)
	h := w.Header()
	clear(h)
	maps.Copy(h, a.fields)
	h["Date"] = nil // nobody needs it
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerLimit))
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, a.body)
}

// write sends b to the client, under the limit on progress.
func (c *client) write(b []byte) error {
	if err := c.conn.SetWriteDeadline(time.Now().Add(c.s.moveLimit())); err != nil {
		return err
	}
	_, err := c.conn.Write(b)
	return err
}

// refuse answers a client at fault, and ends its conn.
func (c *client) refuse(r *refusal) error {
	c.s.Relay.Trace.Bad(c.s.Request.Listener, r)
	return errors.Join(r, c.last(textAnswer(r.status, r.text+"\n").bytes("", true)))
}

// last sends an answer and closes the conn, so that the answer arrives: to close
// with bytes unread would reset the conn and destroy it (RFC 9112 §9.6).
func (c *client) last(answer []byte) error {
	_ = c.conn.SetDeadline(time.Now().Add(answerLimit))
	_, err := c.conn.Write(answer)
	return errors.Join(err, c.leave())
}

// lingering bounds the wait for a client to take a last answer.
const lingering = time.Second

func (c *client) leave() error {
	c.gone = true
	if err := chain.CloseWrite(c.conn); err == nil {
		_ = c.conn.SetReadDeadline(time.Now().Add(lingering))
		_, _ = io.CopyN(io.Discard, onlyReader{c.conn}, 256<<10)
	}
	if err := c.conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

type onlyReader struct{ io.Reader }

// shortAnswer answers a request whose head is next in br, and goes on if there is
// nothing against it.
func (c *client) shortAnswer(h *requestHead, size int, a answer) (again bool, err error) {
	if h.hasBody() || h.minor == 0 {
		return false, c.last(a.bytes(h.method, true))
	}
	if _, err := c.br.Discard(size); err != nil {
		return false, err
	}
	return true, c.write(a.bytes(h.method, false))
}

// A tunnel is a CONNECT that a client sent.
type tunnel struct {
	c   *client
	req relay.Request
}

func (t *tunnel) Request() relay.Request { return t.req }

// Ahead returns what the client said behind the request, without an answer.
func (t *tunnel) Ahead() []byte {
	b, _ := buffered(t.c.br)
	return b
}

func (t *tunnel) Accept() (net.Conn, error) {
	c := t.c
	c.gone = true
	ahead, err := buffered(c.br)
	if err == nil {
		_ = c.conn.SetDeadline(time.Now().Add(answerLimit))
		_, err = io.WriteString(c.conn, established)
	}
	if err == nil {
		err = c.conn.SetDeadline(time.Time{})
	}
	if err != nil {
		_ = c.conn.Close()
		return nil, err
	}
	return chain.Unread(c.conn, ahead), nil
}

func (t *tunnel) Reject(err error) error {
	a := textAnswer(statusOf(err), reason(err))
	if t.req.User != "" {
		a.fields.Set("Proxy-Status", proxyStatus(ownName, err, true))
	}
	return t.c.last(a.bytes(http.MethodConnect, true))
}
