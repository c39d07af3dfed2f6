package testnet

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/byway-proxy/byway/chain"
)

// TestConn runs the conformance suite. makePair returns the two ends of a fresh
// connection, and arranges by t.Cleanup for whatever carries it to end; the
// suite closes the ends. It does not depend on how long anything takes.
func TestConn(t *testing.T, makePair func(t *testing.T) (a, b net.Conn)) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, a, b net.Conn)
	}{
		{"Addrs", testAddrs},
		{"PingPong", testPingPong},
		{"LargeWrites", testLargeWrites},
		{"HalfClose", testHalfClose},
		{"HalfCloseWithoutData", testHalfCloseWithoutData},
		{"WriteAfterCloseWrite", testWriteAfterCloseWrite},
		{"ReadDeadline", testReadDeadline},
		{"ReadDeadlineWakes", testReadDeadlineWakes},
		{"WriteDeadline", testWriteDeadline},
		{"CloseUnblocks", testCloseUnblocks},
		{"CloseIsSeen", testCloseIsSeen},
		{"CloseFromBothSides", testCloseFromBothSides},
		{"Abort", testAbort},
		{"ConcurrentUse", testConcurrentUse},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, b := makePair(t)
			defer a.Close()
			defer b.Close()
			test.run(t, a, b)
		})
		t.Run(test.name+"/swapped", func(t *testing.T) {
			a, b := makePair(t)
			defer a.Close()
			defer b.Close()
			test.run(t, b, a)
		})
	}
}

func testAddrs(t *testing.T, a, b net.Conn) {
	for _, c := range []net.Conn{a, b} {
		if c.LocalAddr() == nil || c.RemoteAddr() == nil {
			t.Errorf("%T has addresses %v and %v", c, c.LocalAddr(), c.RemoteAddr())
		}
	}
}

func testPingPong(t *testing.T, a, b net.Conn) {
	buf := make([]byte, 16)
	for i := range 50 {
		msg := bytes.Repeat([]byte{byte(i)}, len(buf))
		from, to := a, b
		if i%2 == 1 {
			from, to = b, a
		}
		write(t, from, msg)
		if _, err := io.ReadFull(to, buf); err != nil || !bytes.Equal(buf, msg) {
			t.Fatalf("message %d: read %x, %v", i, buf, err)
		}
	}
}

// testLargeWrites sends 8 MiB each way at once, in writes of odd sizes.
func testLargeWrites(t *testing.T, a, b net.Conn) {
	var wg sync.WaitGroup
	for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
		data := random(8 << 20)
		wg.Go(func() {
			for rest := data; len(rest) > 0; {
				n := min(len(rest), 1+rand.IntN(3<<20))
				if k, err := way[0].Write(rest[:n]); err != nil || k != n {
					t.Errorf("wrote %d of %d: %v", k, n, err)
					return
				}
				rest = rest[n:]
			}
			if err := chain.CloseWrite(way[0]); err != nil {
				t.Errorf("CloseWrite: %v", err)
			}
		})
		wg.Go(func() {
			h := sha256.New()
			n, err := io.Copy(h, way[1])
			if err != nil || n != int64(len(data)) {
				t.Errorf("read %d of %d bytes: %v", n, len(data), err)
			}
			if want := sha256.Sum256(data); !bytes.Equal(h.Sum(nil), want[:]) {
				t.Error("the bytes read are not those written")
			}
		})
	}
	wg.Wait()
}

// testHalfClose ends one direction and goes on in the other.
func testHalfClose(t *testing.T, a, b net.Conn) {
	write(t, a, []byte("request"))
	closeWrite(t, a)
	if got, err := io.ReadAll(b); err != nil || string(got) != "request" {
		t.Fatalf("b read %q, %v; want all of the request, then EOF", got, err)
	}
	buf := make([]byte, 1024)
	for i := range 25 {
		msg := bytes.Repeat([]byte{byte(i)}, len(buf))
		write(t, b, msg)
		if _, err := io.ReadFull(a, buf); err != nil || !bytes.Equal(buf, msg) {
			t.Fatalf("answer %d after half-close: %v", i, err)
		}
	}
	closeWrite(t, b)
	if n, err := a.Read(buf); n != 0 || err != io.EOF {
		t.Fatalf("a read %d bytes, %v; want EOF", n, err)
	}
	if n, err := b.Read(buf); n != 0 || err != io.EOF {
		t.Fatalf("b read %d bytes, %v; want EOF again", n, err)
	}
}

func testHalfCloseWithoutData(t *testing.T, a, b net.Conn) {
	closeWrite(t, a)
	if got, err := io.ReadAll(b); err != nil || len(got) != 0 {
		t.Fatalf("b read %q, %v; want EOF", got, err)
	}
	write(t, b, []byte("answer"))
	closeWrite(t, b)
	if got, err := io.ReadAll(a); err != nil || string(got) != "answer" {
		t.Fatalf("a read %q, %v", got, err)
	}
}

func testWriteAfterCloseWrite(t *testing.T, a, b net.Conn) {
	closeWrite(t, a)
	if n, err := a.Write([]byte("more")); err == nil || n != 0 {
		t.Errorf("wrote %d bytes after CloseWrite, error %v", n, err)
	}
	if got, err := io.ReadAll(b); err != nil || len(got) != 0 {
		t.Errorf("b read %q, %v; want EOF", got, err)
	}
}

func testReadDeadline(t *testing.T, a, b net.Conn) {
	buf := make([]byte, 8)
	for _, d := range []time.Time{time.Unix(1, 0), time.Now().Add(20 * time.Millisecond)} {
		for _, set := range []func(time.Time) error{a.SetReadDeadline, a.SetDeadline} {
			must(t, set(d))
			n, err := a.Read(buf)
			wantTimeout(t, n, err)
			n, err = a.Read(buf) // and again
			wantTimeout(t, n, err)
			must(t, set(time.Time{}))
		}
	}
	// The conn is as good as new.
	write(t, b, []byte("12345678"))
	if _, err := io.ReadFull(a, buf); err != nil || string(buf) != "12345678" {
		t.Errorf("read %q, %v after the deadline was lifted", buf, err)
	}
	write(t, a, []byte("12345678"))
	if _, err := io.ReadFull(b, buf); err != nil {
		t.Error(err)
	}
}

// testReadDeadlineWakes sets a deadline under a Read that waits already.
func testReadDeadlineWakes(t *testing.T, a, _ net.Conn) {
	done := make(chan error, 1)
	go func() {
		_, err := a.Read(make([]byte, 8))
		done <- err
	}()
	time.Sleep(10 * time.Millisecond)
	must(t, a.SetReadDeadline(time.Now()))
	wantTimeout(t, 0, <-done)
}

// testWriteDeadline writes to a peer that doesn't read.
func testWriteDeadline(t *testing.T, a, b net.Conn) {
	must(t, a.SetWriteDeadline(time.Now().Add(100*time.Millisecond)))
	data := make([]byte, 1<<20)
	for range 256 { // more than any buffer on the way holds
		if _, err := a.Write(data); err != nil {
			wantTimeout(t, 0, err)
			return
		}
	}
	t.Error("256 MiB were written to a peer that doesn't read")
	_ = b
}

// testCloseUnblocks closes under a Read and a Write that wait.
func testCloseUnblocks(t *testing.T, a, _ net.Conn) {
	done := make(chan error, 2)
	go func() {
		_, err := a.Read(make([]byte, 8))
		done <- err
	}()
	go func() {
		data := make([]byte, 1<<20)
		for range 256 {
			if _, err := a.Write(data); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	time.Sleep(10 * time.Millisecond)
	_ = a.Close() // a TLS conn may fail to say goodbye
	for range 2 {
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("error %v, want net.ErrClosed", err)
		}
	}
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read after Close: error %v, want net.ErrClosed", err)
	}
	if _, err := a.Write(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write after Close: error %v, want net.ErrClosed", err)
	}
}

// testCloseIsSeen closes one end: the other reads what was sent, then an end.
func testCloseIsSeen(t *testing.T, a, b net.Conn) {
	write(t, a, []byte("last words"))
	closeWrite(t, a)
	if got, err := io.ReadAll(b); err != nil || string(got) != "last words" {
		t.Errorf("read %q, %v", got, err)
	}
	must(t, a.Close())
	// The peer learns within a few writes that nobody listens.
	must(t, b.SetWriteDeadline(time.Now().Add(10*time.Second)))
	data := make([]byte, 64<<10)
	for {
		if _, err := b.Write(data); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("b went on writing for 10 s to a peer that is closed")
			}
			return
		}
	}
}

func testCloseFromBothSides(t *testing.T, a, b net.Conn) {
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { _ = a.Close() })
		wg.Go(func() { _ = b.Close() })
	}
	wg.Wait()
	if _, err := a.Write([]byte("x")); err == nil {
		t.Error("a Write after Close succeeded")
	}
}

// testAbort makes sure that the peer takes an abort for no orderly end.
func testAbort(t *testing.T, a, b net.Conn) {
	write(t, a, []byte("part"))
	buf := make([]byte, 4)
	if _, err := io.ReadFull(b, buf); err != nil {
		t.Fatal(err)
	}
	_ = chain.Abort(a)
	if n, err := b.Read(buf); err == nil || err == io.EOF {
		t.Errorf("read %d bytes, error %v after an abort; want an error other than EOF", n, err)
	}
}

// testConcurrentUse is for the race detector, and checks that each Write stays whole.
func testConcurrentUse(t *testing.T, a, b net.Conn) {
	const writers, each, size = 4, 50, 700
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			msg := bytes.Repeat([]byte{byte('a' + w)}, size)
			for range each {
				if _, err := a.Write(msg); err != nil {
					t.Error(err)
					return
				}
				_ = a.SetWriteDeadline(time.Now().Add(time.Minute))
				_ = b.SetReadDeadline(time.Now().Add(time.Minute))
			}
		})
	}
	got := make([]byte, writers*each*size)
	if _, err := io.ReadFull(b, got); err != nil {
		t.Error(err)
	}
	wg.Wait()
	for i := 0; i < len(got); i += size {
		if msg := got[i : i+size]; !bytes.Equal(msg, bytes.Repeat(msg[:1], size)) {
			t.Fatal("two concurrent writes were mixed")
		}
	}
}
