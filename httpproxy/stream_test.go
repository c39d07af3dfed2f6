package httpproxy

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
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

func TestFrameCap(t *testing.T) {
	settings := func(pairs ...uint32) []byte {
		b := []byte{0, 0, byte(3 * len(pairs)), 4, 0, 0, 0, 0, 0}
		for i := 0; i < len(pairs); i += 2 {
			b = binary.BigEndian.AppendUint16(b, uint16(pairs[i]))
			b = binary.BigEndian.AppendUint32(b, pairs[i+1])
		}
		return append(b, "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x10\x00\x00"...) // a later one is let alone
	}
	for _, v := range []uint32{16384, 20000, 32767, 32768, 32769, 33000, 65536, 1 << 20, 1<<24 - 1} {
		in := settings(3, 250, 5, v, 4, 1<<20)
		want := settings(3, 250, 5, min(v, maxSendFrame), 4, 1<<20)
		for _, size := range []int{1, 7, 100} {
			a, b := testnet.Pipe(0)
			_, _ = b.Write(in)
			_ = b.Close()
			var got []byte
			f := &frameCap{Conn: a}
			for buf := make([]byte, size); ; {
				n, err := f.Read(buf)
				got = append(got, buf[:n]...)
				if err != nil {
					break
				}
			}
			_ = a.Close()
			if !bytes.Equal(got, want) {
				t.Errorf("%d by %d bytes: got %x, want %x", v, size, got, want)
			}
		}
	}
	for _, in := range [][]byte{settings(), {0, 0, 2, 0, 1, 1, 1, 1, 1, 5, 5}} {
		f := &frameCap{}
		got := make([]byte, len(in))
		for i, b := range in {
			if got[i] = b; f.at >= 0 {
				got[i] = f.step(b)
			}
		}
		if !bytes.Equal(got, in) {
			t.Errorf("changed %x to %x", in, got)
		}
	}
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
		c := &capsules{r: bytes.NewReader(append(bytes.Clone(stream), "behind"...))}
		var got []byte
		var err error
		for err == nil {
			var out []byte
			out, err = c.next(make([]byte, size))
			got = append(got, out...)
		}
		if err != io.EOF || string(got) != "one two ab end" {
			t.Errorf("by %d bytes: got %q, %v", size, got, err)
		}
	}
	for cut := range len(stream) - 1 {
		c := &capsules{r: bytes.NewReader(stream[:cut])}
		var err error
		for err == nil {
			_, err = c.next(make([]byte, 64))
		}
		if err == io.EOF && (c.have > 0 || c.left > 0) {
			t.Errorf("an end within a capsule, after %d bytes, passes for an orderly one", cut)
		}
	}
	for values, want := range map[string]bool{"?1": true, "?1;x": true, "?0": false, "1": false, "": false, "?11": false} {
		if wantsCapsules([]string{values}) != want {
			t.Errorf("%q", values)
		}
	}
}
