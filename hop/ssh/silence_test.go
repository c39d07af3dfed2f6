package ssh

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
)

// frozen is a dialer whose conns can be made to carry nothing.
type frozen struct {
	next chain.Dialer
	mu   sync.Mutex
	ice  chan struct{} // closed: the conns dialled so far are frozen
}

func (f *frozen) freeze() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.ice)
	f.ice = make(chan struct{})
}

type frozenConn struct {
	net.Conn
	ice    chan struct{}
	once   sync.Once
	closed chan struct{}
}

func (f *frozen) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := f.next.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return &frozenConn{Conn: c, ice: f.ice, closed: make(chan struct{})}, nil
}

func (c *frozenConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	select {
	case <-c.ice:
		<-c.closed
		return 0, net.ErrClosed
	default:
		return n, err
	}
}

func (c *frozenConn) Write(p []byte) (int, error) {
	select {
	case <-c.ice:
		return len(p), nil // into the void
	default:
		return c.Conn.Write(p)
	}
}

func (c *frozenConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// inBubble runs test with a server on an in-memory network.
func inBubble(t *testing.T, test func(t *testing.T, s *server, next *frozen)) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New()
		l, err := n.Host("server.example").Listen(":22")
		if err != nil {
			t.Fatal(err)
		}
		test(t, serve(t, l, echo(t)), &frozen{next: n.Host("here"), ice: make(chan struct{})})
	})
}

// TestKeepAlive has a server fall silent: it is dead a quarter of a minute after the
// third keep-alive.
func TestKeepAlive(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server, next *frozen) {
		d := s.dialer(next, s.options())
		c := dial(t, d)
		ping(t, c)
		time.Sleep(10 * time.Minute) // silent tunnels live on
		ping(t, c)
		began := time.Now()
		next.freeze()
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("error %v", err)
		}
		if took := time.Since(began); took < 45*time.Second || took > 90*time.Second {
			t.Errorf("it was found dead after %v", took)
		}
		ping(t, dial(t, d))
		if n := s.count(); n != 2 {
			t.Errorf("%d connections", n)
		}
	})
}

// TestSilentServerIsLeft has a dial time out on a connection that may be dead: the
// next one does not wait for that.
func TestSilentServerIsLeft(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server, next *frozen) {
		d := s.dialer(next, s.options())
		ping(t, dial(t, d))
		next.freeze()
		began := time.Now()
		_, err := d.Dial("tcp", "target.example:80")
		if took := time.Since(began); took != 20*time.Second || !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("after %v: %v", took, err)
		}
		ping(t, dial(t, d))
		time.Sleep(2 * time.Minute) // until the first connection has been found dead
	})
}

// TestIdle closes a connection without tunnels after 5 minutes.
func TestIdle(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server, next *frozen) {
		d := s.dialer(next, s.options())
		_ = dial(t, d).Close()
		time.Sleep(4 * time.Minute)
		_ = dial(t, d).Close()
		if n := s.count(); n != 1 {
			t.Errorf("%d connections within 5 minutes", n)
		}
		began := time.Now()
		s.mu.Lock()
		conn := s.conns[0]
		s.mu.Unlock()
		_ = conn.Wait()
		if took := time.Since(began).Round(time.Second); took != 5*time.Minute {
			t.Errorf("the idle connection was closed after %v", took)
		}
	})
}

// TestHandshakeLimit has a server that says nothing.
func TestHandshakeLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New()
		l, err := n.Host("server.example").Listen(":22")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, key := newKey(t, "")
		h, err := Hop("server.example:22", Options{
			User: "alice", Keys: []string{key}, Pins: []string{"SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"},
		})
		if err != nil {
			t.Fatal(err)
		}
		d, err := h.Wrap(n.Host("here"))
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, err = d.DialContext(t.Context(), "tcp", "target.example:80")
		var e *chain.Error
		if took := time.Since(began); took != 10*time.Second || !errors.As(err, &e) || e.Phase != chain.PhaseAuth {
			t.Errorf("after %v: %v", took, err)
		}
		n.BlackHole("server.example:22")
		began = time.Now()
		_, err = d.DialContext(t.Context(), "tcp", "target.example:80")
		if took := time.Since(began); took != 10*time.Second || !errors.As(err, &e) || e.Phase != chain.PhaseDial {
			t.Errorf("after %v: %v", took, err)
		}
	})
}
