package masque

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/byway-proxy/byway/internal/stream"
)

// half is what both ends' streams of HTTP/3 have.
type half interface {
	io.ReadWriteCloser // Close ends the sending direction
	CancelRead(quic.StreamErrorCode)
	CancelWrite(quic.StreamErrorCode)
}

// A tunnel is the stream of a CONNECT, as a [stream.Stream]. The deadlines are those of
// package stream: quic-go's would lose its place in a frame whose head has come in part.
type tunnel struct {
	half
	code     http3.ErrCode   // tells the peer of an end that is not in order
	answered <-chan struct{} // nothing can be read before; nil at the server
	gone     chan struct{}
	ended    atomic.Bool // the sending direction, in order
	once     sync.Once
	release  func()
}

var _ stream.Stream = (*tunnel)(nil)

func newTunnel(h half, code http3.ErrCode, answered <-chan struct{}, release func()) *tunnel {
	return &tunnel{half: h, code: code, answered: answered, release: release, gone: make(chan struct{})}
}

func (t *tunnel) Read(p []byte) (int, error) {
	if t.answered != nil {
		select {
		case <-t.answered:
		case <-t.gone:
			return 0, net.ErrClosed
		}
	}
	n, err := t.half.Read(p)
	return n, streamError(err)
}

func (t *tunnel) Write(p []byte) (int, error) {
	n, err := t.half.Write(p)
	return n, streamError(err)
}

// CloseWrite is never called while Write is under way.
func (t *tunnel) CloseWrite() error {
	t.ended.Store(true)
	return streamError(t.half.Close())
}

// Close ends both directions. What was written before a CloseWrite is still delivered.
func (t *tunnel) Close() error {
	t.once.Do(func() {
		close(t.gone)
		t.CancelRead(quic.StreamErrorCode(t.code))
		if !t.ended.Load() {
			t.CancelWrite(quic.StreamErrorCode(t.code))
		}
		t.release()
	})
	return nil
}

// A lostError is that of a stream or session that did not end in order. Its errno is
// ECONNRESET; that quic-go calls some of them timeouts is not for those who set deadlines.
type lostError struct{ error }

func (e lostError) Is(target error) bool { return target == syscall.ECONNRESET }
func (e lostError) Timeout() bool        { return false }

func streamError(err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return lostError{err}
}

// codeOf returns the code by which a stream or session was ended from afar, or 0.
func codeOf(err error) http3.ErrCode {
	var e *http3.Error
	if errors.As(err, &e) && e.Remote {
		return e.ErrorCode
	}
	return 0
}
