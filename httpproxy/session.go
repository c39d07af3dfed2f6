package httpproxy

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/h2"
)

// A staleError is that of a tunnel that a session didn't carry as far as the
// proxy's answer, so that another session may.
type staleError struct{ error }

func (e staleError) Unwrap() error { return e.error }

// open opens a tunnel to target on a reserved slot of s. First data goes along
// behind the head (RFC 9113 has no rule like that of RFC 9931).
func (h *tlsHop) open(ctx context.Context, s *h2.Session, target string) (net.Conn, error) {
	fields := connectFields(target, h.o.authorization())
	if h.o.Padding {
		fields = append(fields, h2.Field{Name: paddingField, Value: paddingText(16, 32), Sensitive: true})
	}
	stream, err := s.Open(h2.Request{Fields: fields, Accept: filterOf})
	if err != nil {
		return nil, lost(err)
	}
	conn := net.Conn(stream)
	if h.o.Padding {
		conn = newPadded(stream)
	}
	err = chain.FirstDataOf(ctx).Along(conn, func() (acted bool, err error) {
		refused, err := h.await(ctx, stream)
		return !refused && stream.Begun(), err
	})
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// await waits for the answer to conn's request; with an error conn is over. refused
// goes with one: the proxy has said that it opened nothing.
func (h *tlsHop) await(ctx context.Context, conn *h2.Stream) (refused bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, h.o.ReplyLimit)
	defer cancel()
	resp, err := conn.Answer(ctx)
	switch {
	case err != nil && ctx.Err() != nil:
		return false, chain.Fail(chain.PhaseConnect, context.Cause(ctx))
	case err != nil:
		var e *h2.Error
		return errors.As(err, &e) && e.Unprocessed, lost(err)
	}
	if err := replyOf(resp).err(h.o.authorization() != ""); err != nil {
		_ = conn.Abort()
		return resp.Status/100 != 2, err // what a strange 2xx means is not certain
	}
	if h.o.Padding && !has(resp, paddingField) {
		_ = conn.Abort()
		return false, chain.Fail(chain.PhaseConnect, errNoPadding)
	}
	if filterOf(resp) != nil {
		h.widen(conn.Window())
	}
	return false, nil
}

const (
	// wideWindow is what a server's window for a tunnel is if bulk on a long path is
	// to be bound by something else.
	wideWindow = 4 << 20

	// rewiden is how long a server that gave no larger windows is not asked again.
	rewiden = 5 * time.Minute
)

// widen begins to open a further session when an egress of ours gave small windows
// on this one: it gives larger ones to those who come back, having shown their credential.
func (h *tlsHop) widen(window int64) {
	if window == 0 || window >= wideWindow {
		return
	}
	h.mu.Lock()
	again := time.Since(h.widened) > rewiden
	if again {
		h.widened = time.Now()
	}
	h.mu.Unlock()
	if again {
		h.prepare()
	}
}

// connectFields has nothing that tells of the client or of byway.
func connectFields(target, authorization string) []h2.Field {
	fields := []h2.Field{
		{Name: ":method", Value: "CONNECT"},
		{Name: ":authority", Value: target},
		{Name: "capsule-protocol", Value: "?1"},
	}
	if authorization != "" {
		fields = append(fields, h2.Field{Name: "proxy-authorization", Value: authorization})
	}
	return fields
}

// filterOf takes the tunnel's bytes out of capsules where the proxy has taken our
// offer of them.
func filterOf(resp *h2.Response) h2.Filter {
	var values []string
	for _, f := range resp.Fields {
		if f.Name == "capsule-protocol" {
			values = append(values, f.Value)
		}
	}
	if wantsCapsules(values) {
		return &capsules{}
	}
	return nil
}

func has(resp *h2.Response, name string) bool {
	for _, f := range resp.Fields {
		if f.Name == name {
			return true
		}
	}
	return false
}

// lost tells what err, by which a CONNECT ended without an answer, is about.
func lost(err error) error {
	var e *h2.Error
	switch {
	case isAlert(err):
		return chain.Fail(chain.PhaseTLS, err)
	case errors.As(err, &e) && (e.Session || e.Unprocessed):
		return staleError{err}
	case errors.As(err, &e) && e.Code == h2.CodeConnect:
		// A proxy may put the target's failure so (RFC 9113 §8.5).
		return chain.Fail(chain.PhaseConnect, syscall.EHOSTUNREACH)
	}
	return chain.Fail(chain.PhaseConnect, err)
}

// isAlert reports whether the proxy sent a TLS alert. With TLS 1.3 that is how it
// refuses a client's certificate, after the handshake as the client sees it.
func isAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}
