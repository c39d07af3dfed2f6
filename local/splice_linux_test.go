package local

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/socks"
)

// TestBulkIsSpliced moves bulk through a listener and a hop, and looks for the
// pipes that a splice needs: a wrapper around a conn would turn it off silently.
func TestBulkIsSpliced(t *testing.T) {
	const size = 1 << 20
	l := testnet.Listen(t)
	go source(l, size)
	target := l.Addr().String()
	addr := serve(t, through(socksServer(t, testnet.Only(t, &net.Dialer{}, target))), &net.Dialer{})
	c, err := chain.New(&net.Dialer{}, socks.Hop5(addr, socks.HopOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	for _, way := range []byte{'d', 'u'} {
		before := fewestPipes(t, 0)
		conn, err := c.Dial("tcp", target)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte{way}); err != nil {
			t.Fatal(err)
		}
		most := 0
		buf := make([]byte, size)
		for range 256 {
			if way == 'd' {
				_, err = io.ReadFull(conn, buf)
			} else {
				_, err = conn.Write(buf)
			}
			if err != nil {
				t.Fatal(err)
			}
			most = max(most, pipes(t)-before)
		}
		_ = conn.Close()
		// Two relays, one direction each, two ends of a pipe.
		if most < 4 {
			t.Errorf("way %c: %d ends of pipes were seen, want 4", way, most)
		}
	}
}

// TestPipesAreGivenBack has a flow that is no bulk yet, then bulk, then pauses, and
// then goes on: it has pipes as long as it is bulk.
func TestPipesAreGivenBack(t *testing.T) {
	l := testnet.Listen(t)
	got := make(chan int64, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		n := int64(0)
		buf := make([]byte, 64<<10) // not io.Copy, which would splice
		for err == nil {
			var k int
			k, err = c.Read(buf)
			n += int64(k)
		}
		got <- n
	}()
	target := l.Addr().String()
	addr := serve(t, through(socksServer(t, testnet.Only(t, &net.Dialer{}, target))), &net.Dialer{})
	c, err := chain.New(&net.Dialer{}, socks.Hop5(addr, socks.HopOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	before := fewestPipes(t, 0)
	conn, err := c.Dial("tcp", target)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	sent := int64(0)
	send := func(n int) {
		t.Helper()
		k, err := conn.Write(make([]byte, n))
		if sent += int64(k); err != nil {
			t.Fatal(err)
		}
	}
	send(200 << 10)
	if n := pipes(t); n > before {
		t.Errorf("%d ends of pipes before the flow was bulk", n-before)
	}
	for range 2 { // bulk again after the pause, too
		most := 0
		for range 64 {
			send(1 << 20)
			most = max(most, pipes(t)-before)
		}
		if most < 4 {
			t.Errorf("bulk had %d ends of pipes, want 4", most)
		}
		if n := fewestPipes(t, before); n > before {
			t.Errorf("a flow that pauses has %d ends of pipes", n-before)
		}
	}
	_ = chain.CloseWrite(conn)
	if n := <-got; n != sent {
		t.Errorf("%d bytes came, %d were sent", n, sent)
	}
}

// fewestPipes waits until there are no more ends of pipes than want, for 10 s at most,
// and returns how many there are. The zero want waits a moment.
func fewestPipes(t *testing.T, want int) int {
	t.Helper()
	patience := 10 * time.Second
	if want == 0 {
		patience = 100 * time.Millisecond
	}
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		runtime.GC() // idle pipes of a pool are closed by finalizers
		if n := pipes(t); n <= want || time.Now().After(end) {
			return n
		}
	}
}

// pipes counts the ends of pipes that this process holds.
func pipes(t *testing.T) (n int) {
	t.Helper()
	fds, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, "pipe:") {
			n++
		}
	}
	return n
}
