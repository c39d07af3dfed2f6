package httpproxy

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/relay"
)

// upgradeOf returns the protocols that a request asks to switch to (RFC 9110
// §7.8), or "". HTTP/2 in the clear is not passed on: the request stands as it is.
func upgradeOf(in *http.Request, h *requestHead) string {
	protocol := strings.Join(in.Header["Upgrade"], ", ")
	if h.minor == 0 || h.hasBody() || !lists(in.Header["Connection"], "upgrade") || lists(in.Header["Upgrade"], "h2c") {
		return ""
	}
	return protocol
}

// maxInterim is how many interim responses a target may send before the final one.
const maxInterim = 16

var errInterim = errors.New("too many interim responses")

// upgrade sends a request that asks for another protocol, on a conn of its own. If
// the target agrees, both conns become a tunnel, else the response is passed on.
func (x *exchange) upgrade(ctx context.Context, out *http.Request, protocol string, q routed) (again bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	x.begin(cancel)
	target, err := x.c.s.Relay.Dial(ctx, q.Request, q.Decision)
	if err != nil {
		return x.fail(x.cause(ctx, err))
	}
	defer target.Close() //nolint:errcheck // Copy has closed it, or it is given up
	out.Header.Set("Connection", "Upgrade")
	out.Header.Set("Upgrade", protocol)

	br := bufio.NewReader(target)
	var resp *http.Response
	err = chain.Handshake(ctx, target, x.c.s.moveLimit(), func() error {
		if err := out.Write(target); err != nil {
			return err
		}
		resp, err = x.finalResponse(br, out) //nolint:bodyclose // closed below, or the conn is
		return err
	})
	if err != nil {
		return x.fail(x.cause(ctx, err))
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		// What the client sent behind the request may be of the other protocol, and
		// must not be read as a request: RFC 9931.
		x.in.Header.Set("Connection", "close")
		stop := context.AfterFunc(ctx, func() { _ = target.Close() })
		defer stop()
		defer resp.Body.Close() //nolint:errcheck // as the conn below
		return x.respond(resp)
	}
	x.finish()
	return false, x.switchOver(resp, target, br)
}

func (x *exchange) finalResponse(br *bufio.Reader, out *http.Request) (*http.Response, error) {
	for {
		resp, err := http.ReadResponse(br, out)
		if err != nil || resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			return resp, err
		}
		if err := x.interim(resp.StatusCode, resp.Header); err != nil {
			return nil, err
		}
	}
}

// switchOver answers with 101 and carries the bytes from there on.
func (x *exchange) switchOver(resp *http.Response, target net.Conn, br *bufio.Reader) error {
	c := x.c
	protocol := resp.Header["Upgrade"]
	fields := responseFields(resp.Header)
	fields["Connection"], fields["Upgrade"] = []string{"Upgrade"}, protocol
	x.answer()
	if err := c.write(responseHead(http.StatusSwitchingProtocols, "", fields)); err != nil {
		return err
	}
	fromClient, err := buffered(c.br)
	if err != nil {
		return err
	}
	fromTarget, err := buffered(br)
	if err != nil {
		return err
	}
	if err := c.conn.SetDeadline(time.Time{}); err != nil {
		return err
	}
	c.gone = true
	_, _, err = relay.Copy(chain.Unread(c.conn, fromClient), chain.Unread(target, fromTarget), c.s.moveLimit())
	return err
}
