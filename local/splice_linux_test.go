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
		for range 10 {
			runtime.GC() // idle pipes of a pool are closed by finalizers
			time.Sleep(5 * time.Millisecond)
		}
		before := pipes(t)
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
