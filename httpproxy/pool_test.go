package httpproxy

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
)

// flow moves bytes through a tunnel to an echo and back until it is stopped, and then
// closes it.
func flow(conn net.Conn) (stop func()) {
	var over atomic.Bool
	done := make(chan struct{})
	go func() {
		buf := make([]byte, 64<<10)
		for !over.Load() {
			if _, err := conn.Write(buf); err != nil {
				return
			}
		}
		_ = chain.CloseWrite(conn)
	}()
	go func() {
		defer close(done)
		_, _ = io.Copy(io.Discard, conn)
		_ = conn.Close()
	}()
	return func() {
		over.Store(true)
		<-done
	}
}

func dialled(t *testing.T, d chain.Dialer) net.Conn {
	t.Helper()
	conn, err := d.DialContext(t.Context(), "tcp", "target:80")
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// TestBulkIsSpread: a tunnel does not share a session with bulk as long as it can be
// helped, and no dial waits for the session that helps.
func TestBulkIsSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, next, _ := overH2(t, HopOptions{}, plainTunnels)
		sessionOf := func(c net.Conn) string { return c.LocalAddr().String() }
		quiet := dialled(t, d)
		var stops []func()
		used := map[string]bool{}
		for i := range 6 {
			conn := dialled(t, d)
			if i < maxSpread && used[sessionOf(conn)] {
				t.Errorf("bulk %d shares a session with another", i)
			}
			used[sessionOf(conn)] = true
			stops = append(stops, flow(conn))
			time.Sleep(400 * time.Millisecond)
			if want := min(i+2, maxSpread); next.count() != want {
				t.Errorf("%d sessions with %d flows of bulk, want %d", next.count(), i+1, want)
			}
		}
		for _, stop := range stops {
			stop()
		}
		time.Sleep(3 * time.Second)
		calm := dialled(t, d)
		if sessionOf(calm) != sessionOf(quiet) {
			t.Error("the first session is not used again")
		}
		echoed(t, calm)
		time.Sleep(surplus + time.Second)
		for i, conn := range next.conns {
			_, err := conn.Write(nil)
			if closed := errors.Is(err, net.ErrClosed); closed != (i > 0) {
				t.Errorf("session %d closed: %v", i, closed)
			}
		}
		echoed(t, quiet)
	})
}

// TestSpreadFails: that no further session can be had harms no tunnel, and is not
// tried again at once.
func TestSpreadFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, l, r := world(t)
		serveTLS(t, l, false, plainTunnels(r))
		var dials atomic.Int32
		d := wrap(t, HopTLS("hop1:443", HopOptions{TLS: trust(testCert())}), chain.DialerFunc(
			func(ctx context.Context, network, addr string) (net.Conn, error) {
				if dials.Add(1) > 1 {
					return nil, errors.New("no more")
				}
				return client.DialContext(ctx, network, addr)
			}))
		stop := flow(dialled(t, d))
		for range 6 {
			time.Sleep(time.Second)
			echoed(t, dialled(t, d))
		}
		if n := dials.Load(); n != 2 {
			t.Errorf("%d dials", n)
		}
		time.Sleep(7 * time.Second)
		echoed(t, dialled(t, d))
		synctest.Wait()
		if n := dials.Load(); n != 3 {
			t.Errorf("%d dials after a while", n)
		}
		stop()
	})
}

// TestDoubtfulSession: when a session owes an answer, new tunnels go elsewhere.
func TestDoubtfulSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, l, r := world(t)
		serveTLS(t, l, false, plainTunnels(r))
		var hole atomic.Bool
		d := wrap(t, HopTLS("hop1:443", HopOptions{TLS: trust(testCert())}), chain.DialerFunc(
			func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := client.DialContext(ctx, network, addr)
				if err != nil || hole.Load() {
					return conn, err
				}
				return &holed{Conn: conn, hole: &hole}, nil
			}))
		old := dialled(t, d)
		time.Sleep(2 * time.Second)
		hole.Store(true)
		lost := make(chan error, 1)
		go func() { // it is on its way when the trouble shows
			conn, err := d.DialContext(t.Context(), "tcp", "target:80")
			if err == nil {
				echoed(t, conn)
			}
			lost <- err
		}()
		time.Sleep(1500 * time.Millisecond)
		began := time.Now()
		echoed(t, dialled(t, d))
		if took := time.Since(began); took > time.Second {
			t.Errorf("the new tunnel took %v", took)
		}
		if err := <-lost; err != nil {
			t.Error(err)
		}
		_ = old.Close()
	})
}
