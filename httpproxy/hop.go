package httpproxy

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"net"
	"time"

	"github.com/byway-proxy/byway/chain"
)

// HopOptions describes an upstream proxy beyond its address.
type HopOptions struct {
	// Name is the hop's name; empty means scheme://host:port.
	Name string

	// User and Password are its Basic credentials (RFC 7617). They go to this hop
	// alone. With both empty none are sent.
	User, Password string

	// TLS is for HopTLS; nil means the system's roots. It is cloned, and what
	// concerns ALPN and the session cache is replaced; an empty ServerName becomes
	// the host of the address. See also PinSPKI.
	TLS *tls.Config

	// Padding, for HopTLS, hides the lengths of the first bytes of each tunnel in NaiveProxy's way,
	// on HTTP/2. The proxy has to take it: without, tunnels fail, as first data has gone so.
	Padding bool

	// DialLimit bounds reaching the proxy, HandshakeLimit the TLS handshake; 0
	// means 10 s each.
	DialLimit, HandshakeLimit time.Duration

	// ReplyLimit bounds the wait for the answer to CONNECT, in which the proxy does
	// its own dial; 0 means 20 s.
	ReplyLimit time.Duration

	// IdleLimit closes an HTTP/2 session without tunnels; 0 means 5 minutes.
	IdleLimit time.Duration

	// HTTP3, if not nil, returns the hop's other way by next, for HopTLS: tunnels race for it, and
	// flows of UDP prefer it. It is used where next carries "udp".
	HTTP3 func(next chain.Dialer) HTTP3

	// PingAfter is how long an HTTP/2 session may be silent before it is asked for
	// a sign of life, for which it has half of that again; 0 means 10 s.
	PingAfter time.Duration
}

func orElse(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}

func (o *HopOptions) fill(scheme, addr string) {
	if o.Name == "" {
		o.Name = scheme + "://" + addr
	}
	o.DialLimit = orElse(o.DialLimit, 10*time.Second)
	o.HandshakeLimit = orElse(o.HandshakeLimit, 10*time.Second)
	o.ReplyLimit = orElse(o.ReplyLimit, 20*time.Second)
	o.IdleLimit = orElse(o.IdleLimit, 5*time.Minute)
	o.PingAfter = orElse(o.PingAfter, 10*time.Second)
}

// authorization returns the value of Proxy-Authorization, or "".
func (o *HopOptions) authorization() string {
	if o.User == "" && o.Password == "" {
		return ""
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(o.User+":"+o.Password))
}

// Hop returns the hop of an http:// proxy at addr, host:port. Each tunnel has a
// conn of its own, which is handed on raw once the proxy has answered.
//
// Refusals are *chain.Error around a *[StatusError].
func Hop(addr string, o HopOptions) chain.Hop {
	o.fill("http", addr)
	return chain.Hop{Name: o.Name, Wrap: func(next chain.Dialer) (chain.Dialer, error) {
		if err := checkHop(addr); err != nil {
			return nil, err
		}
		return &plainHop{next: next, addr: addr, o: o}, nil
	}}
}

func checkHop(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "" || port == "" {
		return errors.New("the address of a proxy is host:port")
	}
	return nil
}

type plainHop struct {
	next chain.Dialer
	addr string
	o    HopOptions
}

func (h *plainHop) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if err := checkTarget(network, addr); err != nil {
		return nil, err
	}
	conn, err := h.Prepare(ctx)
	if err != nil {
		return nil, err
	}
	return connectOver(ctx, conn, addr, &h.o)
}

// Prepare dials the proxy. It is of [chain.Preparer].
func (h *plainHop) Prepare(ctx context.Context) (net.Conn, error) {
	return dial(ctx, h.next, h.addr, h.o.DialLimit)
}

// DialOver asks for a tunnel on a conn of Prepare.
func (h *plainHop) DialOver(ctx context.Context, conn net.Conn, network, addr string) (net.Conn, error) {
	if err := checkTarget(network, addr); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return connectOver(ctx, conn, addr, &h.o)
}

// checkTarget makes sure that addr can be written into a request.
func checkTarget(network, addr string) error {
	if network != "tcp" {
		return chain.Fail(chain.PhaseConnect, &net.OpError{Op: "dial", Net: network, Err: errors.ErrUnsupported})
	}
	if _, refused := connectTarget(addr); refused != nil {
		return chain.Fail(chain.PhaseConnect, ErrTarget)
	}
	return nil
}

func dial(ctx context.Context, d chain.Dialer, addr string, limit time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return d.DialContext(ctx, "tcp", addr)
}

// connectOver asks for a tunnel to target on conn, which it owns, by HTTP/1.1.
// Nothing of the tunnel's data leaves before the answer (RFC 9931).
func connectOver(ctx context.Context, conn net.Conn, target string, o *HopOptions) (net.Conn, error) {
	var rep reply
	var rest []byte
	err := chain.Handshake(ctx, conn, o.ReplyLimit, func() (err error) {
		if _, err = conn.Write(connectRequest(target, o.authorization())); err == nil {
			rep, rest, err = readReply(conn)
		}
		return err
	})
	if err == nil {
		err = rep.err(o.authorization() != "")
	}
	if err != nil {
		_ = conn.Close()
		if isAlert(err) {
			return nil, chain.Fail(chain.PhaseTLS, err)
		}
		return nil, chain.Fail(chain.PhaseConnect, err)
	}
	return chain.Unread(conn, rest), nil
}

// connectRequest has nothing that tells of the client or of byway.
func connectRequest(target, authorization string) []byte {
	b := make([]byte, 0, 64+2*len(target)+len(authorization))
	b = append(b, "CONNECT "...)
	b = append(b, target...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, target...)
	if authorization != "" {
		b = append(b, "\r\nProxy-Authorization: "...)
		b = append(b, authorization...)
	}
	return append(b, "\r\n\r\n"...)
}
