package local

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/socks"
)

// aloneEnv makes of this test's program a byway and nothing else: it is what
// BenchmarkIdle looks at. It serves the rule "direct" until its input ends, and
// collects garbage for each byte of it.
const aloneEnv = "BYWAY_TEST_ALONE"

func init() {
	if os.Getenv(aloneEnv) != "" {
		os.Exit(alone())
	}
}

func alone() int {
	c, err := configs.ParseClient("alone", []byte("[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nto = \"direct\"\n[timeouts]\ndrain = \"1ms\"\n[limits]\ntunnels = 100000\ntunnels_per_client = 100000\n"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	s, err := New(c, &net.Dialer{}, slog.New(slog.DiscardHandler))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	addrs, _, err := s.Listen(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(addrs[0])
	go func() {
		defer cancel()
		for b := make([]byte, 1); ; runtime.GC() {
			if _, err := os.Stdin.Read(b); err != nil {
				return
			}
		}
	}()
	_ = s.Serve(ctx) // the tunnels are cut
	return 0
}

// BenchmarkIdle opens 10,000 tunnels (or as many as this process may), lets each
// exchange five bytes and then idle, and tells what the byway, which is a
// process of its own, needs for one: resident memory after five seconds, and after a
// collection of garbage, such as Go makes every two minutes at least; and descriptors.
func BenchmarkIdle(b *testing.B) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		b.Fatal(err)
	}
	tunnels := min(10_000, (int(limit.Cur)-200)/2)
	l := testnet.Listen(b)
	go answer(b, l)
	for b.Loop() {
		addr, process, in := startAlone(b)
		pid := process.Pid
		c, err := chain.New(&net.Dialer{}, socks.Hop5(addr, socks.HopOptions{Pipeline: socks.On}))
		if err != nil {
			b.Fatal(err)
		}
		warm, err := c.Dial("tcp", l.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		exchange(b, warm)
		_ = warm.Close()
		time.Sleep(500 * time.Millisecond)
		rss, fds := residentKiB(b, pid), descriptors(b, pid)
		conns := openAll(b, c, l.Addr().String(), tunnels)
		time.Sleep(5 * time.Second)
		n := float64(len(conns))
		b.ReportMetric(n, "tunnels")
		b.ReportMetric(float64(residentKiB(b, pid)-rss)/n, "KiB/tunnel")
		b.ReportMetric(float64(descriptors(b, pid)-fds)/n, "fds/tunnel")
		if _, err := in.Write([]byte{0}); err != nil {
			b.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		b.ReportMetric(float64(residentKiB(b, pid)-rss)/n, "KiB/tunnel-after-gc")
		for _, c := range conns {
			_ = c.Close()
		}
	}
}

// startAlone starts a byway that ends with b.
func startAlone(b testing.TB) (addr string, process *os.Process, in io.Writer) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), aloneEnv+"=1")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	addr, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(addr), cmd.Process, stdin
}

// openAll opens n tunnels, 32 at once, and exchanges a few bytes in each.
func openAll(b *testing.B, c *chain.Chain, target string, n int) []net.Conn {
	conns := make([]net.Conn, n)
	var wg sync.WaitGroup
	for w := range 32 {
		wg.Go(func() {
			for i := w; i < n; i += 32 {
				conn, err := c.Dial("tcp", target)
				if err != nil {
					b.Error(err)
					return
				}
				exchange(b, conn)
				conns[i] = conn
			}
		})
	}
	wg.Wait()
	if b.Failed() {
		b.FailNow()
	}
	return conns
}

// answer echoes five bytes on each conn of l, and holds it until it ends. (An echo by
// io.Copy would splice, with two descriptors of a pipe for each.)
func answer(b *testing.B, l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				b.Error(err)
			}
			return
		}
		go func() {
			defer c.Close()
			var buf [5]byte
			for {
				if _, err := io.ReadFull(c, buf[:]); err != nil {
					return
				}
				if _, err := c.Write(buf[:]); err != nil {
					return
				}
			}
		}()
	}
}

// exchange says hello and reads it again.
func exchange(t testing.TB, c net.Conn) {
	t.Helper()
	var got [5]byte
	if _, err := io.WriteString(c, "hello"); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(c, got[:]); err != nil || string(got[:]) != "hello" {
		t.Errorf("echo %q, %v", got, err)
	}
}

func residentKiB(b *testing.B, pid int) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		b.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		b.Fatal(err)
	}
	return pages * os.Getpagesize() >> 10
}

func descriptors(b *testing.B, pid int) int {
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		b.Fatal(err)
	}
	return len(fds)
}
