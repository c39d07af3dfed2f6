package stream_test

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/stream"
	"github.com/byway-proxy/byway/internal/testnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// blocking is a TCP conn as a Stream. Closed without CloseWrite it resets, so that
// an abort can be told from a good end.
type blocking struct {
	*net.TCPConn
	ended bool
}

func (b *blocking) CloseWrite() error {
	b.ended = true
	return b.TCPConn.CloseWrite()
}

func (b *blocking) Close() error { return b.TCPConn.Close() }

// resetting is a blocking whose Close is an abort, unless CloseWrite came before.
type resetting struct{ blocking }

func (r *resetting) Close() error {
	if !r.ended {
		_ = r.SetLinger(0)
	}
	return r.TCPConn.Close()
}

func TestConn(t *testing.T) {
	testnet.TestConn(t, func(t *testing.T) (a, b net.Conn) {
		x, y := testnet.TCPPair(t)
		return stream.NewConn(&resetting{blocking{TCPConn: x}}, x.LocalAddr(), x.RemoteAddr()),
			stream.NewConn(&resetting{blocking{TCPConn: y}}, y.LocalAddr(), y.RemoteAddr())
	})
}

// stuck is a stream to a peer that takes nothing.
type stuck struct {
	closed chan struct{}
	ends   int
}

func (s *stuck) Read([]byte) (int, error) {
	<-s.closed
	return 0, syscall.ECONNRESET
}

func (s *stuck) Write([]byte) (int, error) {
	<-s.closed
	return 0, syscall.ECONNRESET
}

func (s *stuck) CloseWrite() error { s.ends++; return nil }
func (s *stuck) Close() error      { close(s.closed); return nil }

// TestFarewell closes a conn whose stream takes nothing: it is given 10 s.
func TestFarewell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stuck{closed: make(chan struct{})}
		c := stream.NewConn(s, nil, nil)
		if _, err := c.Write([]byte("last words")); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		<-s.closed
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("the stream was closed after %v", took)
		}
		synctest.Wait()
		if s.ends != 0 {
			t.Error("a stream that lost bytes was ended in good order")
		}
		if err := c.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Close again: %v", err)
		}
	})
}

// TestAbortDropsWhatIsHeld makes sure that an abort waits for nothing.
func TestAbortDropsWhatIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stuck{closed: make(chan struct{})}
		c := stream.NewConn(s, nil, nil)
		_, _ = c.Write(make([]byte, 1000))
		began := time.Now()
		_ = chain.Abort(c)
		<-s.closed
		synctest.Wait()
		if took := time.Since(began); took != 0 || s.ends != 0 {
			t.Errorf("closed after %v, with %d ends", took, s.ends)
		}
	})
}

// failing fails each Write.
type failing struct{ stuck }

func (f *failing) Write([]byte) (int, error) { return 0, syscall.EPIPE }

// TestWriteErrorIsTold makes sure that a later Write fails as the stream did.
func TestWriteErrorIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := stream.NewConn(&failing{stuck{closed: make(chan struct{})}}, nil, nil)
		defer c.Close()
		_, _ = io.WriteString(c, "x")
		synctest.Wait()
		if _, err := io.WriteString(c, "y"); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("error %v", err)
		}
	})
}
