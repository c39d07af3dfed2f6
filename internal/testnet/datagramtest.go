package testnet

import (
	"bytes"
	"errors"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/byway-proxy/byway/internal/datagram"
)

// TestDatagrams is the conformance suite of conns that carry one datagram per
// Read and Write. makePair returns the two ends of a fresh flow, and the longest
// datagram that it carries; it arranges by t.Cleanup for whatever carries it to end.
// The suite closes the ends. It never has so much on its way that any is lost.
func TestDatagrams(t *testing.T, makePair func(t *testing.T) (a, b net.Conn, longest int)) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, a, b net.Conn, longest int)
	}{
		{"Addrs", func(t *testing.T, a, b net.Conn, _ int) { testAddrs(t, a, b) }},
		{"Boundaries", testBoundaries},
		{"ShortBuffer", testShortBuffer},
		{"TooLong", testTooLong},
		{"ReadDeadline", testDatagramDeadline},
		{"ReadDeadlineWakes", testDatagramDeadlineWakes},
		{"WriteDeadline", testDatagramWriteDeadline},
		{"CloseUnblocks", testDatagramClose},
		{"ConcurrentUse", testDatagramConcurrent},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, b, longest := makePair(t)
			defer a.Close()
			defer b.Close()
			test.run(t, a, b, longest)
		})
		t.Run(test.name+"/swapped", func(t *testing.T) {
			a, b, longest := makePair(t)
			defer a.Close()
			defer b.Close()
			exchange(t, a, b, "the first is a's") // b may not know a before
			test.run(t, b, a, longest)
		})
	}
}

// exchange sends msg from a to b.
func exchange(t *testing.T, a, b net.Conn, msg string) {
	t.Helper()
	write(t, a, []byte(msg))
	buf := make([]byte, datagram.Max+1)
	must(t, b.SetReadDeadline(time.Now().Add(10*time.Second)))
	n, err := b.Read(buf)
	if err != nil || string(buf[:n]) != msg {
		t.Fatalf("read %d bytes, %v; want the %d written", n, err, len(msg))
	}
	must(t, b.SetReadDeadline(time.Time{}))
}

// testBoundaries: each Write is a Read, whatever its size.
func testBoundaries(t *testing.T, a, b net.Conn, longest int) {
	for _, size := range []int{1, 0, 512, 1200, 1500, 9000, longest, 2} {
		msg := string(random(min(size, longest)))
		exchange(t, a, b, msg)
		exchange(t, b, a, msg+"!"[:min(1, longest-len(msg))])
	}
	for i := range 20 { // several on their way
		write(t, a, bytes.Repeat([]byte{byte(i)}, i))
	}
	buf := make([]byte, 64)
	for i := range 20 {
		if n, err := b.Read(buf); err != nil || !bytes.Equal(buf[:n], bytes.Repeat([]byte{byte(i)}, i)) {
			t.Fatalf("datagram %d: %x, %v", i, buf[:n], err)
		}
	}
}

// testShortBuffer: what a Read has no room for does not come with the next one.
func testShortBuffer(t *testing.T, a, b net.Conn, _ int) {
	write(t, a, []byte("0123456789"))
	write(t, a, []byte("next"))
	buf := make([]byte, 4)
	for _, want := range []string{"0123", "next"} {
		if n, err := b.Read(buf); err != nil || string(buf[:n]) != want {
			t.Fatalf("read %q, %v; want %q", buf[:n], err, want)
		}
	}
}

// testTooLong: what cannot be carried is an error or lost, and ends nothing.
func testTooLong(t *testing.T, a, b net.Conn, _ int) {
	if n, err := a.Write(make([]byte, datagram.Max+1)); err == nil {
		t.Errorf("wrote %d bytes, more than a datagram holds", n)
	}
	exchange(t, a, b, "still here")
	exchange(t, b, a, "so am I")
}

func testDatagramDeadline(t *testing.T, a, b net.Conn, _ int) {
	must(t, a.SetReadDeadline(time.Now().Add(-time.Second)))
	n, err := a.Read(make([]byte, 1))
	wantTimeout(t, n, err)
	must(t, a.SetReadDeadline(time.Now().Add(10*time.Millisecond)))
	n, err = a.Read(make([]byte, 1))
	wantTimeout(t, n, err)
	must(t, a.SetReadDeadline(time.Time{}))
	exchange(t, a, b, "after a timeout")
	exchange(t, b, a, "and back")
}

func testDatagramDeadlineWakes(t *testing.T, a, _ net.Conn, _ int) {
	done := make(chan error, 1)
	go func() {
		_, err := a.Read(make([]byte, 1))
		done <- err
	}()
	must(t, a.SetDeadline(time.Now().Add(10*time.Millisecond)))
	wantTimeout(t, 0, <-done)
}

func testDatagramWriteDeadline(t *testing.T, a, b net.Conn, _ int) {
	must(t, a.SetWriteDeadline(time.Now().Add(-time.Second)))
	n, err := a.Write([]byte("x"))
	wantTimeout(t, n, err)
	must(t, a.SetWriteDeadline(time.Time{}))
	exchange(t, a, b, "after a timeout")
}

func testDatagramClose(t *testing.T, a, _ net.Conn, _ int) {
	done := make(chan error, 1)
	go func() {
		_, err := a.Read(make([]byte, 1))
		done <- err
	}()
	must(t, a.Close())
	if err := <-done; err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a Read that Close ended: %v", err)
	}
	if _, err := a.Write([]byte("x")); err == nil {
		t.Error("a Write after Close succeeded")
	}
}

// testDatagramConcurrent is for the race detector, and checks that each comes whole.
func testDatagramConcurrent(t *testing.T, a, b net.Conn, _ int) {
	const writers, each, size = 4, 20, 700
	var wg sync.WaitGroup
	turn := make(chan struct{}, 8) // on their way at once
	for w := range writers {
		wg.Go(func() {
			msg := bytes.Repeat([]byte{byte('a' + w)}, size)
			for range each {
				turn <- struct{}{}
				if _, err := a.Write(msg); err != nil {
					t.Error(err)
				}
				_ = a.SetWriteDeadline(time.Now().Add(time.Minute))
				_ = b.SetReadDeadline(time.Now().Add(time.Minute))
			}
		})
	}
	got := make([]byte, size+1)
	for range writers * each {
		n, err := b.Read(got)
		if err != nil || n != size || !bytes.Equal(got[:n], bytes.Repeat(got[:1], size)) {
			t.Errorf("read %d bytes, %v", n, err)
		}
		<-turn
	}
	wg.Wait()
}
