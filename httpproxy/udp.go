package httpproxy

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/connectudp"
	"github.com/byway-proxy/byway/relay"
)

// UDPTarget returns the target of a request for a flow of UDP (RFC 9298), on whatever version
// of HTTP, and whether r is one. Whether the target is valid, [Authority] tells.
func UDPTarget(r *http.Request) (addr string, ok bool) {
	switch {
	case r.ProtoMajor == 1 && r.ProtoMinor == 1:
		ok = r.Method == http.MethodGet && lists(r.Header["Connection"], "upgrade") &&
			len(r.Header["Upgrade"]) == 1 && strings.EqualFold(r.Header["Upgrade"][0], connectudp.Protocol)
	case r.ProtoMajor == 3:
		ok = r.Method == http.MethodConnect && r.Proto == connectudp.Protocol
	}
	if !ok || r.URL.RawQuery != "" || r.URL.ForceQuery {
		return "", false
	}
	return connectudp.Target(r.URL.EscapedPath())
}

// ConnectUDP returns the Pending of a request for a flow that a net/http server received on
// HTTP/1.1, by "Upgrade: connect-udp" (RFC 9298 §3.2). It is used as [Connect] is.
func ConnectUDP(w http.ResponseWriter, r *http.Request, req relay.Request, o ConnectOptions) (relay.Pending, error) {
	addr, ok := UDPTarget(r)
	if !ok || r.ProtoMajor != 1 {
		return nil, errors.New("not a request to upgrade to connect-udp")
	}
	if r.ContentLength != 0 {
		return nil, bad("a request to upgrade with a body")
	}
	addr, err := Authority(addr)
	if err != nil {
		return nil, err
	}
	req.Network, req.Addr = "udp", addr
	return &upgradeUDP{received{w: w, r: r, req: req, o: o}}, nil
}

// upgradeUDP is a request for a flow: the conn carries capsules from the answer on.
type upgradeUDP struct{ received }

// switched is the answer that a flow begins with.
const switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + connectudp.Protocol +
	"\r\n" + connectudp.CapsuleField + ": ?1\r\n\r\n"

func (u *upgradeUDP) Accept() (net.Conn, error) {
	conn, rw, err := http.NewResponseController(u.w).Hijack()
	if err != nil {
		return nil, err
	}
	ahead, err := buffered(rw.Reader)
	if err == nil {
		_ = conn.SetDeadline(time.Now().Add(answerLimit))
		_, err = io.WriteString(conn, switched)
	}
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return newFlow(chain.Unread(conn, ahead)), nil
}

// newFlow returns the flow whose capsules go by conn.
func newFlow(conn net.Conn) net.Conn {
	return connectudp.NewFlow(capsuleConn{conn}, nil, connectudp.Capsules, conn.LocalAddr(), conn.RemoteAddr())
}

// capsuleConn is a conn as a connectudp.Stream.
type capsuleConn struct{ net.Conn }

func (c capsuleConn) Abort() error { return chain.Abort(c.Conn) }
