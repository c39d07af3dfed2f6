package httpproxy

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

// script is a stream's body: each read gets the next piece, and one of nothing waits for one.
type script struct {
	pieces chan string
	now    string
}

func (s *script) Read(p []byte) (int, error) {
	if s.now == "" {
		piece, ok := <-s.pieces
		if !ok {
			return 0, os.ErrDeadlineExceeded
		}
		s.now = piece
	}
	n := copy(p, s.now)
	s.now = s.now[n:]
	return n, nil
}

func TestReadSteady(t *testing.T) {
	body := &script{pieces: make(chan string, 4)}
	interrupted := false
	in := newInbound(body, func() { interrupted = true })
	in.by.Set(time.Unix(1, 0)) // is for others
	buf := make([]byte, 16)
	next := func(read func([]byte) (int, error), want string) {
		t.Helper()
		if n, err := read(buf); string(buf[:n]) != want || err != nil {
			t.Fatalf("read %q, %v, want %q", buf[:n], err, want)
		}
	}
	body.pieces <- "steady"
	if n, err := in.readSteady(nil); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	next(in.readSteady, "steady")
	if in.pulling {
		t.Fatal("there is a goroutine")
	}
	if _, err := in.read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("error %v", err)
	}
	body.pieces <- "and not"
	in.by.Set(time.Time{})
	next(in.read, "and not")
	in.by.Set(time.Unix(1, 0))
	body.pieces <- "again"
	if n, err := in.readSteady(nil); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	next(in.readSteady, "again")
	in.endSoon()
	close(body.pieces)
	if n, err := in.readSteady(buf); err != io.EOF {
		t.Fatalf("read %q, %v", buf[:n], err)
	}
	if interrupted {
		t.Error("it was interrupted, though nobody read steadily")
	}
	in.close()
	if _, err := in.readSteady(buf); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("error %v", err)
	}
}

// TestEndSoon: whoever reads steadily is interrupted at once if he waits, and else when he reads next, so
// that the body takes what comes until then.
func TestEndSoon(t *testing.T) {
	for _, waits := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			body := &script{pieces: make(chan string, 4)}
			interrupted := make(chan struct{})
			in := newInbound(body, sync.OnceFunc(func() {
				close(interrupted)
				close(body.pieces)
			}))
			if !waits {
				in.endSoon()
				body.pieces <- "late"
				if isClosed(interrupted) {
					t.Fatal("interrupted, though nobody reads")
				}
			}
			got := make(chan string, 4)
			go func() {
				defer close(got)
				buf := make([]byte, 16)
				for {
					n, err := in.readSteady(buf)
					if err != nil {
						got <- err.Error()
						return
					}
					got <- string(buf[:n])
				}
			}()
			synctest.Wait()
			if waits {
				in.endSoon()
			} else if text := <-got; text != "late" {
				t.Errorf("got %q", text)
			}
			if text := <-got; text != "EOF" {
				t.Errorf("at the end %q", text)
			}
		})
	}
}

// TestBodyWaits: a body of net/http waits for bytes when it is read with no room for any, and
// is told of an end so. It isn't documented, and what waits would have a buffer else.
func TestBodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next, l, _ := world(t)
		ends := make(chan net.Conn, 1)
		serveTLS(t, l, false, handed(ends))
		d := wrap(t, HopTLS("hop1:443", HopOptions{TLS: trust(testCert())}), next)
		client, err := d.DialContext(t.Context(), "tcp", "a:1")
		if err != nil {
			t.Fatal(err)
		}
		server := (<-ends).(*noted)
		waited := make(chan error, 1)
		wait := func() {
			n, err := server.ReadSteady(nil)
			if n != 0 {
				err = errors.New("bytes")
			}
			waited <- err
		}
		go wait()
		synctest.Wait()
		if len(waited) > 0 {
			t.Fatalf("it did not wait: %v", <-waited)
		}
		_, _ = client.Write([]byte("x"))
		if err := <-waited; err != nil {
			t.Fatal(err)
		}
		if n, err := server.ReadSteady(make([]byte, 2)); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		go wait()
		_ = chain.CloseWrite(client)
		if err := <-waited; err != io.EOF {
			t.Fatalf("error %v", err)
		}
		_ = server.Close()
		_ = client.Close()
	})
}

// TestIdleTunnelsAtRest: an idle tunnel on HTTP/2 has two goroutines at the server's end, its handler's
// being one.
func TestIdleTunnelsAtRest(t *testing.T) {
	const tunnels = 50
	r := &relay.Relay{Router: direct(chain.DialerFunc(func(context.Context, string, string) (net.Conn, error) {
		near, far := testnet.TCPPair(t)
		t.Cleanup(func() { _ = far.Close() })
		return near, nil
	}))}
	srv := serveTLS(t, testnet.Listen(t), false, tunnelled(r, ConnectOptions{}))
	d := wrap(t, HopTLS(srv.l.Addr().String(), HopOptions{TLS: trust(testCert())}), &net.Dialer{})
	before := 0
	for i := range 1 + tunnels {
		c, err := d.DialContext(t.Context(), "tcp", "a:1")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if i == 0 { // the session is there
			before = runtime.NumGoroutine()
		}
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		n := runtime.NumGoroutine() - before
		if n <= 2*tunnels {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d goroutines for %d tunnels", n, tunnels)
		}
	}
}
