package httpproxy

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

func newLoopback(t *testing.T) (chain.Dialer, net.Listener, *relay.Relay) {
	r := &relay.Relay{Router: direct(&net.Dialer{})}
	t.Cleanup(func() { _ = r.Close() })
	return &net.Dialer{}, testnet.Listen(t), r
}

// TestBlackHoledSession cuts the path without a word, under a session in use.
func TestBlackHoledSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, l, r := world(t)
		serveTLS(t, l, false, plainTunnels(r))
		var hole atomic.Bool
		next := &counted{d: chain.DialerFunc(func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := client.DialContext(ctx, network, addr)
			if err != nil || hole.Load() {
				return conn, err
			}
			return &holed{Conn: conn, hole: &hole}, nil
		})}
		d := wrap(t, HopTLS("hop1:443", HopOptions{TLS: trust(testCert())}), next)
		old, err := d.DialContext(t.Context(), "tcp", "target:80")
		if err != nil {
			t.Fatal(err)
		}
		hole.Store(true)
		began := time.Now()
		conn, err := d.DialContext(t.Context(), "tcp", "target:80")
		if err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d > 16*time.Second {
			t.Errorf("the new tunnel took %v", d)
		}
		echoed(t, conn)
		if _, err := old.Read(make([]byte, 1)); chain.Errno(err) != syscall.ECONNRESET {
			t.Errorf("the old tunnel reads %v", err)
		}
		_ = old.Close()
	})
}

// holed swallows what is written once hole is set.
type holed struct {
	net.Conn
	hole *atomic.Bool
}

func (h *holed) Write(p []byte) (int, error) {
	if h.hole.Load() {
		return len(p), nil
	}
	return h.Conn.Write(p)
}

// TestCloseDeliversWhatWasWritten: as with TCP.
func TestCloseDeliversWhatWasWritten(t *testing.T) {
	got := make(chan []byte, 1)
	ends := make(chan net.Conn)
	srv := serveTLS(t, testnet.Listen(t), false, handed(ends))
	d := wrap(t, HopTLS(srv.l.Addr().String(), HopOptions{TLS: trust(testCert())}), &net.Dialer{})
	go func() {
		c := <-ends
		time.Sleep(20 * time.Millisecond)
		b, err := io.ReadAll(c)
		if err != nil {
			t.Error(err)
		}
		got <- b
		_ = c.Close()
	}()
	conn, err := d.DialContext(t.Context(), "tcp", "a:1")
	if err != nil {
		t.Fatal(err)
	}
	data := bytes.Repeat([]byte("x"), bigChunk)
	if _, err := conn.Write(data); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if b := <-got; !bytes.Equal(b, data) {
		t.Errorf("%d of %d bytes arrived", len(b), len(data))
	}
}

// TestForeignHalfClose: without capsules the server's end means the end.
func TestForeignHalfClose(t *testing.T) {
	srv := serveTLS(t, testnet.Listen(t), false, func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del(capsuleField) // as from a client that is not ours
		tunnelled(&relay.Relay{Router: direct(&net.Dialer{})}, ConnectOptions{})(w, r)
	})
	l := testnet.Listen(t)
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, _ = io.WriteString(c, "bye")
			_ = c.Close()
		}
	}()
	d := wrap(t, HopTLS(srv.l.Addr().String(), HopOptions{TLS: trust(testCert())}), &net.Dialer{})
	conn, err := d.DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if got, err := io.ReadAll(conn); err != nil || string(got) != "bye" {
		t.Errorf("read %q, %v", got, err)
	}
	_ = conn.Close()
}

// unpack takes a stream that comes in pieces of size out of its capsules.
func unpack(b []byte, size int) (got []byte, end, whole bool) {
	c := &capsules{}
	for len(b) > 0 && !end {
		piece := b[:min(size, len(b))]
		b = b[len(piece):]
		for len(piece) > 0 && !end {
			data, used, last := c.Next(piece)
			got, piece, end = append(got, data...), piece[used:], last
		}
	}
	return got, end, c.Whole()
}

func TestCapsules(t *testing.T) {
	capsule := func(kind uint32, data string) []byte {
		b := make([]byte, capsuleHead)
		putCapsuleHead(b, kind, len(data))
		return append(b, data...)
	}
	stream := bytes.Join([][]byte{
		capsule(capsuleData, "one "), capsule(capsuleData, ""),
		{0, 3, 'x', 'y', 'z'},
		capsule(capsuleData, "two "),
		{0xc0, 0, 0, 0, 0x20, 0x28, 0xd7, 0xf0, 0xc0, 0, 0, 0, 0, 0, 0, 2, 'a', 'b'},
		capsule(capsuleFinal, " end"),
	}, nil)
	for size := 1; size <= len(stream); size++ {
		got, end, whole := unpack(append(bytes.Clone(stream), "behind"...), size)
		if !end || !whole || string(got) != "one two ab end" {
			t.Errorf("by %d bytes: got %q, end %v, whole %v", size, got, end, whole)
		}
	}
	var wholes []int
	for cut := range len(stream) {
		if _, end, whole := unpack(stream[:cut], 64); end {
			t.Errorf("an end after %d bytes of %d", cut, len(stream))
		} else if whole {
			wholes = append(wholes, cut)
		}
	}
	if want := []int{0, 12, 20, 25, 37, 55}; !slices.Equal(wholes, want) {
		t.Errorf("capsules end after %d bytes, want %d", wholes, want)
	}
	for values, want := range map[string]bool{"?1": true, "?1;x": true, "?0": false, "1": false, "": false, "?11": false} {
		if wantsCapsules([]string{values}) != want {
			t.Errorf("%q", values)
		}
	}
}
