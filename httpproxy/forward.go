package httpproxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"

	"github.com/byway-proxy/byway/relay"
)

var errNoRequest = errors.New("httpproxy: a dial for no request")

// forward passes on a request in absolute-form, whose head is next in br.
func (c *client) forward(ctx context.Context, h *requestHead, a absolute, q relay.Request) (again bool, err error) {
	in, err := http.ReadRequest(c.br)
	if err != nil {
		return false, c.refuse(bad("malformed request"))
	}
	if !h.hasCache {
		delete(in.Header, "Cache-Control") // net/http makes one of Pragma
	}
	if a, stops, refused := maxForwards(in, h.hasBody()); refused != nil {
		return false, c.refuse(refused)
	} else if stops {
		if h.hasBody() || h.minor == 0 {
			return false, c.last(a.bytes(h.method, true))
		}
		return true, c.write(a.bytes(h.method, false))
	}
	if !expectable(in.Header, h) {
		return false, c.refuse(&refusal{http.StatusExpectationFailed, "100-continue is the only expectation known here"})
	}
	x := newExchange(c, h, in)
	defer x.finish()
	// Every request is routed, as a conn to the target may be there already.
	d, err := c.s.Relay.Route(ctx, q)
	if err != nil {
		return x.fail(err)
	}
	out := x.outgoing(a)
	if protocol := upgradeOf(in, h); protocol != "" {
		return x.upgrade(ctx, out, protocol, routed{Request: q, Decision: d})
	}
	return x.roundTrip(ctx, out, c.s.targets.of(c.s.Relay, q, d), routed{q, d, !h.hasBody()})
}

// expectable reports whether the Expect field, if any, can be met, and removes
// one that means nothing.
func expectable(fields http.Header, h *requestHead) bool {
	values := fields["Expect"]
	if len(values) == 0 {
		return true
	}
	if h.minor == 0 || !h.hasBody() {
		fields.Del("Expect") // RFC 9110 §10.1.1
		return true
	}
	return len(values) == 1 && strings.EqualFold(values[0], "100-continue")
}

// maxForwards counts down how far a TRACE or OPTIONS may go, and answers one that
// stops here (RFC 9110 §7.6.2). On HTTP/2 a body is not known to be there until it is.
func maxForwards(in *http.Request, hasBody bool) (a answer, stops bool, refused *refusal) {
	if in.Method != http.MethodTrace && in.Method != http.MethodOptions {
		return a, false, nil
	}
	if in.Method == http.MethodTrace && hasBody {
		return a, false, bad("a TRACE with a body")
	}
	values := in.Header["Max-Forwards"]
	if len(values) == 0 {
		return a, false, nil
	}
	n, ok := parseLength([]byte(values[0]))
	if len(values) > 1 || !ok {
		return a, false, bad("malformed Max-Forwards")
	}
	if n > 0 {
		in.Header.Set("Max-Forwards", strconv.FormatInt(n-1, 10))
		return a, false, nil
	}
	if in.Method == http.MethodTrace {
		return echoAnswer(in), true, nil
	}
	a = textAnswer(http.StatusOK, "")
	a.fields.Set("Allow", "CONNECT, GET, HEAD, OPTIONS, TRACE")
	return a, true, nil
}

// echoAnswer reflects a TRACE without what may be secret (RFC 9110 §9.3.8).
func echoAnswer(in *http.Request) answer {
	var echo strings.Builder
	echo.WriteString(in.Method + " " + in.RequestURI + " " + in.Proto + "\r\nHost: " + in.Host + "\r\n")
	fields := in.Header.Clone()
	for _, name := range []string{"Proxy-Authorization", "Authorization", "Cookie"} {
		fields.Del(name)
	}
	_ = fields.Write(&echo)
	echo.WriteString("\r\n")
	return answer{http.StatusOK, http.Header{"Content-Type": {"message/http"}}, echo.String()}
}

// outgoing is in as the target gets it, without its body.
func (s *Server) outgoing(in *http.Request, a absolute) *http.Request {
	u := &url.URL{Scheme: "http", Host: a.authority, Opaque: a.path}
	switch {
	case a.path == "" && in.Method == http.MethodOptions:
		u.Opaque = "*" // RFC 9112 §3.2.4
	case a.path == "":
		u.Opaque = "/"
	case strings.HasPrefix(a.path, "//"): // net/http takes an Opaque like this for a host
		u.Opaque, u.Path, u.RawPath, u.RawQuery, u.ForceQuery = "", in.URL.Path, in.URL.RawPath, in.URL.RawQuery, in.URL.ForceQuery
	}
	out := &http.Request{
		Method: in.Method, URL: u, Host: a.authority,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: requestFields(in.Header), Body: http.NoBody,
	}
	if s.Via != "" {
		out.Header.Set("Via", strings.TrimPrefix(in.Proto, "HTTP/")+" "+s.Via)
	}
	return out
}

// outgoing is the request as the target gets it.
func (x *exchange) outgoing(a absolute) *http.Request {
	out := x.c.s.outgoing(x.in, a)
	if x.h.hasBody() {
		out.Body, out.ContentLength = x.body, x.in.ContentLength
	}
	if x.h.chunked {
		out.Trailer = announced(x.in.Trailer)
		x.body.trailer = out.Trailer
	}
	return out
}

// roundTrip sends out by a pooled conn or a new one, and passes the response on.
func (x *exchange) roundTrip(ctx context.Context, out *http.Request, t *http.Transport, q routed) (again bool, err error) {
	ctx, cancel := context.WithCancelCause(context.WithValue(ctx, requestKey{}, q))
	defer cancel(nil)
	x.begin(cancel)
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotFirstResponseByte: x.respondsNow,
		Got1xxResponse: func(code int, fields textproto.MIMEHeader) error {
			return x.interim(code, http.Header(fields))
		},
	})
	resp, err := t.RoundTrip(out.WithContext(ctx))
	if err != nil {
		return x.fail(x.cause(ctx, err))
	}
	defer resp.Body.Close() //nolint:errcheck // it was read to its end, or is given up
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return x.fail(errors.New("the target switched protocols without being asked"))
	}
	return x.respond(resp)
}

// cause returns why err came about, if that was on our side.
func (x *exchange) cause(ctx context.Context, err error) error {
	if err := x.body.failure(); err != nil {
		return err
	}
	if x.tooManyInterim() {
		return errInterim
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
