package socks

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func users(t testing.TB, pairs map[string]string) *StaticUsers {
	t.Helper()
	u, err := NewUsers(pairs)
	must(t, err)
	return u
}

// via returns a relay that sends every request through d.
func via(d chain.Dialer) *relay.Relay {
	return &relay.Relay{Router: relay.RouterFunc(func(context.Context, relay.Request) relay.Decision {
		return relay.Decision{Dialer: d, Via: "test"}
	})}
}

// refusing returns a relay whose every dial fails with err.
func refusing(err error) *relay.Relay {
	return via(chain.DialerFunc(func(context.Context, string, string) (net.Conn, error) { return nil, err }))
}

// listen serves the conns to host:port until the test ends, and counts them.
func listen(t *testing.T, n *testnet.Network, host, port string, serve func(net.Conn)) *atomic.Int32 {
	t.Helper()
	l, err := n.Host(host).Listen(port)
	must(t, err)
	count := new(atomic.Int32)
	acceptAll(t, l, func(c net.Conn) {
		count.Add(1)
		serve(c)
	})
	return count
}

// acceptAll serves the conns of l until the test ends, then closes those left.
func acceptAll(t *testing.T, l net.Listener, serve func(net.Conn)) {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		conns []net.Conn
	)
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			wg.Go(func() { serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
}

// serving is a Server as a function for listen.
func serving(t *testing.T, s *Server) func(net.Conn) {
	return func(c net.Conn) { _ = s.ServeConn(t.Context(), c) }
}

func echo(c net.Conn) {
	if _, err := io.Copy(c, c); err == nil {
		_ = chain.CloseWrite(c)
	}
}

// pingPong checks that c leads to an echo, then closes it.
func pingPong(t *testing.T, c net.Conn) {
	t.Helper()
	defer c.Close()
	_, err := c.Write([]byte("hello"))
	must(t, err)
	must(t, chain.CloseWrite(c))
	if got, err := io.ReadAll(c); err != nil || string(got) != "hello" {
		t.Errorf("the echo was %q, %v", got, err)
	}
}

// newChain returns a chain of hops over base.
func newChain(t testing.TB, base chain.Dialer, hops ...chain.Hop) *chain.Chain {
	t.Helper()
	c, err := chain.New(base, hops...)
	must(t, err)
	return c
}

// A scripted conn reads the segments given, then EOF, and keeps what is written.
type scripted struct {
	segments [][]byte
	written  []byte
	read     int  // bytes
	endless  bool // repeats the last segment forever
	eofAlong bool // EOF comes along with the last bytes
	closed   atomic.Bool
}

func (c *scripted) Read(p []byte) (int, error) {
	if c.closed.Load() {
		return 0, net.ErrClosed
	}
	if len(c.segments) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.segments[0])
	c.read += n
	switch {
	case n < len(c.segments[0]):
		c.segments[0] = c.segments[0][n:]
	case c.endless && len(c.segments) == 1:
	default:
		c.segments = c.segments[1:]
	}
	if c.eofAlong && len(c.segments) == 0 {
		return n, io.EOF
	}
	return n, nil
}

func (c *scripted) Write(p []byte) (int, error) {
	if c.closed.Load() {
		return 0, net.ErrClosed
	}
	c.written = append(c.written, p...)
	return len(p), nil
}

func (c *scripted) Close() error                     { c.closed.Store(true); return nil }
func (c *scripted) CloseWrite() error                { return nil }
func (c *scripted) LocalAddr() net.Addr              { return testnet.Addr("near:1") }
func (c *scripted) RemoteAddr() net.Addr             { return testnet.Addr("far:2") }
func (c *scripted) SetDeadline(time.Time) error      { return nil }
func (c *scripted) SetReadDeadline(time.Time) error  { return nil }
func (c *scripted) SetWriteDeadline(time.Time) error { return nil }

// segments cuts data at the lengths that cuts gives, repeated; 0 stands for a
// Read of no bytes, of which there is never more than one in a row.
func segments(data, cuts []byte) [][]byte {
	if len(cuts) == 0 || !slices.ContainsFunc(cuts, func(n byte) bool { return n > 0 }) {
		return [][]byte{slices.Clone(data)}
	}
	var all [][]byte
	for i := 0; len(data) > 0; i++ {
		n := min(int(cuts[i%len(cuts)]), len(data))
		if n == 0 && len(all) > 0 && len(all[len(all)-1]) == 0 {
			continue
		}
		all = append(all, slices.Clone(data[:n]))
		data = data[n:]
	}
	return all
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
