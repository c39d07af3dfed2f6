package httpproxy

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/relay"
)

// plainAnswer is a whole answer with a text for people; fields are further field
// lines, each with its CRLF.
func plainAnswer(status int, text, fields string, last bool) []byte {
	if last {
		fields += "Connection: close\r\n"
	}
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\n%sContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n\r\n%s",
		status, http.StatusText(status), fields, len(text), text)
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
	return errors.Join(r, c.last(plainAnswer(r.status, r.text+"\n", "", true)))
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

// authenticate returns the user of a request whose credentials are good.
func (c *client) authenticate(h *requestHead) (user string, ok bool) {
	scheme, token, _ := strings.Cut(h.auth, " ")
	if h.auths != 1 || !strings.EqualFold(scheme, "Basic") {
		return "", false
	}
	plain, err := base64.StdEncoding.DecodeString(strings.TrimLeft(token, " "))
	if err != nil {
		return "", false
	}
	user, password, ok := strings.Cut(string(plain), ":")
	if !ok || !c.s.Users.Valid(user, password) {
		return "", false
	}
	return user, true
}

// errAuth is what relay.Trace is told of a client whose credentials are no good.
var errAuth = errors.New("wrong proxy credentials")

// demandAuth answers with 407. The conn goes on where nothing hangs on it: not
// after a CONNECT, behind which may come what was meant for the target (RFC 9931).
func (c *client) demandAuth(h *requestHead, size int) (again bool, err error) {
	if h.auths > 0 {
		c.s.Relay.Trace.Bad(c.s.Request.Listener, errAuth)
	}
	again = h.method != http.MethodConnect && h.minor == 1 && !h.hasBody()
	answer := plainAnswer(http.StatusProxyAuthRequired, "this proxy needs credentials\n",
		"Proxy-Authenticate: Basic realm=\"byway\"\r\n", !again)
	if !again {
		return false, c.last(answer)
	}
	return c.shortAnswer(h, size, answer)
}

// shortAnswer answers a request without a body, and goes on.
func (c *client) shortAnswer(h *requestHead, size int, answer []byte) (again bool, err error) {
	if _, err := c.br.Discard(size); err != nil {
		return false, err
	}
	if h.method == http.MethodHead {
		head, _, _ := strings.Cut(string(answer), "\r\n\r\n")
		answer = []byte(head + "\r\n\r\n")
	}
	return true, c.write(answer)
}

// about is all that the proxy says of itself to who asks it for a page.
const about = "This is byway, an HTTP and SOCKS proxy.\n"

// answerSelf answers a request that is for the proxy and not to be passed on.
func (c *client) answerSelf(h *requestHead, size int) (again bool, err error) {
	status, text, fields := http.StatusNotFound, about, ""
	switch {
	case h.hasBody():
	case h.method == http.MethodOptions:
		status, text, fields = http.StatusOK, "", "Allow: CONNECT, GET, HEAD, OPTIONS\r\n"
	case h.method != http.MethodGet && h.method != http.MethodHead:
		status, fields = http.StatusMethodNotAllowed, "Allow: CONNECT, GET, HEAD, OPTIONS\r\n"
	case h.target == "/":
		status = http.StatusOK
	}
	if h.hasBody() || h.minor == 0 {
		return false, c.last(plainAnswer(status, text, fields, true))
	}
	return c.shortAnswer(h, size, plainAnswer(status, text, fields, false))
}

// A tunnel is a CONNECT that a client sent.
type tunnel struct {
	c   *client
	req relay.Request
}

func (t *tunnel) Request() relay.Request { return t.req }

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
	return t.c.last(plainAnswer(statusOf(err), reason(err), "", true))
}
