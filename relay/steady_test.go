package relay_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

// steady is a conn that is read steadily, and never otherwise.
type steady struct {
	net.Conn
	t  testing.TB
	br *bufio.Reader
}

func newSteady(t testing.TB, c net.Conn) *steady { return &steady{c, t, bufio.NewReader(c)} }

func (s *steady) Read([]byte) (int, error) {
	s.t.Error("read otherwise")
	return 0, io.ErrClosedPipe
}

func (s *steady) SetReadDeadline(time.Time) error {
	s.t.Error("a read deadline was set")
	return nil
}

func (s *steady) ReadSteady(p []byte) (int, error) {
	if _, err := s.br.Peek(1); err != nil || len(p) == 0 {
		return 0, err
	}
	return s.br.Read(p)
}

func (s *steady) CloseWrite() error { return chain.CloseWrite(s.Conn) }
func (s *steady) Abort() error      { return chain.Abort(s.Conn) }

// TestSteadyConforms runs the suite through a relay whose ends are read steadily, one or both.
func TestSteadyConforms(t *testing.T) {
	for name, both := range map[string]bool{"one": false, "both": true} {
		t.Run(name, func(t *testing.T) {
			testnet.TestConn(t, func(t *testing.T) (net.Conn, net.Conn) {
				a, b := testnet.Pipe(0)
				c, d := testnet.Pipe(0)
				if both {
					c = &forgiving{newSteady(t, c)}
				}
				done := make(chan struct{})
				go func() {
					defer close(done)
					_, _, _ = relay.Copy(&forgiving{newSteady(t, b)}, c, time.Minute)
				}()
				t.Cleanup(func() { <-done })
				return a, d
			})
		})
	}
}

// forgiving may be read otherwise, as when a direction only drains.
type forgiving struct{ *steady }

func (f *forgiving) Read(p []byte) (int, error)        { return f.br.Read(p) }
func (f *forgiving) SetReadDeadline(t time.Time) error { return f.Conn.SetReadDeadline(t) }

// TestSteadyIdleLimit: the limit holds although no deadline ends a read, and counts both directions.
func TestSteadyIdleLimit(t *testing.T) {
	for _, way := range []string{"up", "down", "none"} {
		synctest.Test(t, func(t *testing.T) {
			client, near := testnet.Pipe(0)
			far, target := testnet.Pipe(0)
			from, to, want := client, target, 560*time.Second
			switch way {
			case "down":
				from, to = target, client
			case "none":
				want = time.Minute
			}
			began := time.Now()
			var wg sync.WaitGroup
			wg.Go(func() {
				for range 10 {
					if way != "none" {
						time.Sleep(50 * time.Second)
						_, _ = from.Write([]byte("x"))
					}
				}
			})
			wg.Go(func() { _, _ = io.Copy(io.Discard, to) })
			_, _, err := relay.Copy(newSteady(t, near), newSteady(t, far), time.Minute)
			if took := time.Since(began); !errors.Is(err, relay.ErrIdle) || took != want {
				t.Errorf("%s: error %v after %v", way, err, took)
			}
			_ = client.Close()
			_ = target.Close()
			wg.Wait()
		})
	}
}

// TestSteadyAfterLong: what comes after a wait of more than the limit, in which the other direction
// moved, has time to be written.
func TestSteadyAfterLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, near := testnet.Pipe(0)
		far, target := testnet.Pipe(0)
		done := make(chan error, 1)
		go func() {
			_, _, err := relay.Copy(newSteady(t, near), far, time.Minute)
			done <- err
		}()
		goes := func(from, to net.Conn, text string) {
			t.Helper()
			_, _ = io.WriteString(from, text)
			got := make([]byte, len(text))
			if _, err := io.ReadFull(to, got); err != nil || string(got) != text {
				t.Fatalf("read %q, %v", got, err)
			}
		}
		for range 10 {
			time.Sleep(50 * time.Second)
			goes(target, client, "down")
		}
		goes(client, target, "up")
		_ = chain.CloseWrite(client)
		_ = chain.CloseWrite(target)
		if err := <-done; err != nil {
			t.Error(err)
		}
		_ = client.Close()
		_ = target.Close()
	})
}
