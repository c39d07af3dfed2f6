package relay_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

// TestDialAheadConforms runs the suite on conns whose dial takes first data, and on
// those whose dial takes none; it ends amid or after the test's first steps.
func TestDialAheadConforms(t *testing.T) {
	for name, along := range map[string]bool{"along": true, "not along": false} {
		t.Run(name, func(t *testing.T) {
			testnet.TestConn(t, func(t *testing.T) (a, b net.Conn) {
				near, far := testnet.TCPPair(t)
				r := &relay.Relay{}
				t.Cleanup(func() { _ = r.Close() })
				d := chain.DialerFunc(func(ctx context.Context, _, _ string) (net.Conn, error) {
					first := chain.FirstDataOf(ctx)
					if !along {
						first = nil
					}
					return near, first.Along(near, func() (bool, error) {
						time.Sleep(time.Millisecond)
						return false, nil
					})
				})
				a, err := r.DialAhead(t.Context(), relay.Request{Network: "tcp", Addr: "target:80"}, relay.Decision{Dialer: d})
				if err != nil {
					t.Fatal(err)
				}
				return a, far
			})
		})
	}
}

// TestDialAhead: what is written goes along, the rest by the conn, in order, and
// the trace is told of all.
func TestDialAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, target := carrying(time.Second, nil)
		var stats relay.Stats
		closed := 0
		r := &relay.Relay{Trace: &relay.Trace{Closed: func(_ relay.Request, _ relay.Decision, s relay.Stats) { stats = s; closed++ }}}
		began := time.Now()
		c, err := r.DialAhead(t.Context(), relay.Request{Network: "tcp", Addr: "target:80"}, relay.Decision{Dialer: d})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, "first "); err != nil || time.Since(began) != 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		buf := make([]byte, 100)
		if n, err := target.Read(buf); err != nil || string(buf[:n]) != "first " || time.Since(began) != 0 {
			t.Errorf("%q, %v after %v", buf[:n], err, time.Since(began))
		}
		_ = c.SetReadDeadline(began.Add(time.Hour)) // is handed on
		_, _ = io.WriteString(target, "x")
		if _, err := io.ReadFull(c, buf[:1]); err != nil || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		_, _ = io.WriteString(c, "second")
		if _, err := c.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Hour {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		_ = c.Close()
		if got, err := io.ReadAll(target); err != nil || string(got) != "second" {
			t.Errorf("then %q, %v", got, err)
		}
		if closed != 1 || stats.Up != 12 || stats.Down != 1 || r.Live() != 0 {
			t.Errorf("closed %d, %+v, live %d", closed, stats, r.Live())
		}
		_ = target.Close()
	})
}

// TestDialAheadFails: whoever reads or writes is told the dial's own error.
func TestDialAheadFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, target := carrying(time.Second, syscall.ECONNREFUSED)
		defer target.Close()
		r := &relay.Relay{}
		c, err := r.DialAhead(t.Context(), relay.Request{Network: "tcp", Addr: "target:80"}, relay.Decision{Dialer: d})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, "first")
		// The read waits for the dial; a write before its end would be taken ahead.
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("read: %v", err)
		}
		if _, err := c.Write(make([]byte, 1)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("write: %v", err)
		}
		if err := c.Close(); err != nil || r.Live() != 0 {
			t.Errorf("%v, live %d", err, r.Live())
		}
	})
}

// TestDialAheadIsGivenUp: Close and a deadline end what waits for a dial, Close the
// dial too; a conn that comes all the same is closed.
func TestDialAheadIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := testnet.Pipe(0)
		defer far.Close()
		r := &relay.Relay{}
		c, err := r.DialAhead(t.Context(), relay.Request{Network: "tcp"}, relay.Decision{Dialer: chain.DialerFunc(func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return near, nil
		})})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_ = c.SetDeadline(began.Add(time.Second))
		_, rerr := c.Read(make([]byte, 1))
		_, werr := c.Write([]byte("x"))
		if !errors.Is(rerr, os.ErrDeadlineExceeded) || !errors.Is(werr, os.ErrDeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("after %v: %v, %v", time.Since(began), rerr, werr)
		}
		_ = c.SetDeadline(time.Time{})
		go func() {
			time.Sleep(time.Second)
			_ = c.Close()
		}()
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) || time.Since(began) != 2*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		synctest.Wait()
		if _, err := far.Read(make([]byte, 1)); err == nil || r.Live() != 0 {
			t.Errorf("the conn that came too late reads %v, live %d", err, r.Live())
		}
		if err := c.Close(); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
}
