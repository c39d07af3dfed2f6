package httpproxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/connectudp"
)

// askAgain is after what time a proxy that can't do something is asked again whether it can.
const askAgain = time.Hour

// A Lack remembers, for all identities of a hop, that it does not know how to do something.
// Its zero value is ready.
type Lack struct{ until atomic.Pointer[time.Time] }

// Found reports whether the hop was lately found to lack it.
func (l *Lack) Found() bool {
	until := l.until.Load()
	return until != nil && time.Now().Before(*until)
}

// Note takes note of err, by which a hop answered a request for it, if that says so.
func (l *Lack) Note(err error) {
	var e *StatusError
	if !errors.As(err, &e) || e.Token != "" {
		return
	}
	switch e.Code {
	case http.StatusOK, http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented,
		http.StatusHTTPVersionNotSupported, http.StatusMisdirectedRequest:
		l.begin()
	}
}

func (l *Lack) begin() { l.beginFor(askAgain) }

func (l *Lack) beginFor(d time.Duration) {
	until := time.Now().Add(d)
	l.until.Store(&until)
}

// Carries reports that the hop carries "udp" too, unless it was found not to. It is of
// chain.Carrier.
func (h *tlsHop) Carries(network string) bool {
	return network == "tcp" || network == "udp" && !h.tcpOnly.Found()
}

// flowsByThree reports whether a flow should go by HTTP/3: unless that is known not to come.
func (h *tlsHop) flowsByThree(ctx context.Context) bool {
	if h.three == nil || h.noThree.Found() || !chain.Carries(h.three, "udp") {
		return false
	}
	if h.ready(ctx) {
		return true
	}
	if ctx.Err() == nil {
		h.noThree.beginFor(forget)
	}
	return false
}

// flow opens a flow to addr on a conn of its own: net/http's servers have no extended CONNECT
// on HTTP/2.
func (h *tlsHop) flow(ctx context.Context, addr string) (net.Conn, error) {
	path, err := connectudp.Path(addr)
	if err == nil {
		_, err = Authority(addr)
	}
	if err != nil {
		return nil, chain.Fail(chain.PhaseConnect, ErrTarget)
	}
	raw, err := dial(ctx, h.next, h.addr, h.o.DialLimit)
	if err != nil {
		return nil, err
	}
	cfg := h.tls.Clone()
	cfg.NextProtos = []string{"http/1.1"}
	conn := tls.Client(raw, cfg)
	if err := chain.Handshake(ctx, raw, h.o.HandshakeLimit, conn.Handshake); err != nil {
		_ = raw.Close()
		return nil, chain.Fail(chain.PhaseTLS, err)
	}
	var rep reply
	var rest []byte
	err = chain.Handshake(ctx, conn, h.o.ReplyLimit, func() (err error) {
		if _, err = conn.Write(upgradeRequest(h.o.Host(h.addr), path, h.o.authorization())); err == nil {
			rep, rest, err = readReply(conn)
		}
		return err
	})
	if err == nil {
		err = rep.upgradeErr(h.o.authorization() != "")
		h.tcpOnly.Note(err)
	}
	if err != nil {
		_ = conn.Close()
		if isAlert(err) {
			return nil, chain.Fail(chain.PhaseTLS, err)
		}
		return nil, chain.Fail(chain.PhaseConnect, err)
	}
	return newFlow(chain.Unread(conn, rest)), nil
}

func upgradeRequest(host, path, authorization string) []byte {
	b := make([]byte, 0, 256+len(path)+len(authorization))
	b = append(b, "GET "...)
	b = append(b, path...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, host...)
	b = append(b, "\r\nConnection: Upgrade\r\nUpgrade: "+connectudp.Protocol+"\r\n"+connectudp.CapsuleField+": ?1\r\n"...)
	if authorization != "" {
		b = append(b, "Proxy-Authorization: "...)
		b = append(b, authorization...)
		b = append(b, "\r\n"...)
	}
	return append(b, "\r\n"...)
}
