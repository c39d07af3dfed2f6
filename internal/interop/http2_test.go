//go:build interop

package interop

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// dialHTTP2 sends a CONNECT by net/http's client, on an HTTP/2 session of its own.
func dialHTTP2(ctx context.Context, p peer, target string) (duplex, error) {
	t := &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // as dialHTTP
		ForceAttemptHTTP2: true,
	}
	body, w := io.Pipe()
	ctx, cancel := context.WithCancel(ctx)
	r := (&http.Request{
		Method: http.MethodConnect, URL: &url.URL{Scheme: "https", Host: p.addr}, Host: target,
		Header: http.Header{}, Body: body, ContentLength: -1,
	}).WithContext(ctx)
	resp, err := t.RoundTrip(r)
	if err == nil && (resp.StatusCode != http.StatusOK || resp.ProtoMajor != 2) {
		err = replyError(resp.StatusCode)
	}
	if err != nil {
		cancel()
		t.CloseIdleConnections()
		return nil, err
	}
	return &stream2{Reader: resp.Body, PipeWriter: w, body: resp.Body, session: t, cancel: cancel}, nil
}

// stream2 is a tunnel that dialHTTP2 opened. Its deadlines are those of its context.
type stream2 struct {
	io.Reader
	*io.PipeWriter
	body    io.Closer
	session *http.Transport
	cancel  func()
}

// CloseWrite sends END_STREAM.
func (s *stream2) CloseWrite() error { return s.PipeWriter.Close() }

// Close ends the stream as net/http does: END_STREAM, and a reset if the peer had not ended.
func (s *stream2) Close() error {
	_ = s.PipeWriter.Close()
	err := s.body.Close()
	s.cancel()
	s.session.CloseIdleConnections()
	return err
}

func (*stream2) LocalAddr() net.Addr              { return nil }
func (*stream2) RemoteAddr() net.Addr             { return nil }
func (*stream2) SetDeadline(time.Time) error      { return nil }
func (*stream2) SetReadDeadline(time.Time) error  { return nil }
func (*stream2) SetWriteDeadline(time.Time) error { return nil }
