package testnet

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMemoryConn(t *testing.T) {
	TestConn(t, func(*testing.T) (net.Conn, net.Conn) { return Pipe(0) })
}

func TestMemoryConnWithDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe(50 * time.Millisecond)
		began := time.Now()
		testPingPong(t, a, b)
		if took := time.Since(began); took != 50*50*time.Millisecond {
			t.Errorf("50 messages over a delay of 50 ms took %v", took)
		}
		testHalfClose(t, a, b)
	})
}

func TestTCPConn(t *testing.T) {
	TestConn(t, func(t *testing.T) (net.Conn, net.Conn) { return TCPPair(t) })
}

func TestDialTakesARoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		n.SetDelay("client", "hop", 25*time.Millisecond)
		l, err := n.Host("hop").Listen(":1080")
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		c, err := n.Host("client").DialContext(t.Context(), "tcp", "hop:1080")
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 50*time.Millisecond {
			t.Errorf("a dial took %v", took)
		}
		must(t, c.Close())
		must(t, l.Close())
		_, err = n.Host("client").DialContext(t.Context(), "tcp", "hop:1080")
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("error %v where nobody listens", err)
		}
		n.BlackHole("hop:1")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err = n.Host("client").DialContext(ctx, "tcp", "hop:1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v from a black hole", err)
		}
	})
}
