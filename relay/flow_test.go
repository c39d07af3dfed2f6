package relay_test

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/internal/datagram"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

// udpPair returns two sockets of the system that are connected to each other.
func udpPair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	first, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	second, err := net.DialUDP("udp", nil, first.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	_ = first.Close() // its port is free again, for a socket that is connected
	one, err := net.DialUDP("udp", first.LocalAddr().(*net.UDPAddr), second.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	return one, second
}

// TestFlowConforms runs the suite through a relay, over sockets and in memory.
func TestFlowConforms(t *testing.T) {
	for name, pair := range map[string]func(t *testing.T) (net.Conn, net.Conn){
		"udp":    udpPair,
		"memory": func(*testing.T) (net.Conn, net.Conn) { return testnet.DatagramPipe(0) },
		"memory, which does not tell": func(*testing.T) (net.Conn, net.Conn) {
			a, b := testnet.DatagramPipe(0)
			return struct{ net.Conn }{a}, struct{ net.Conn }{b}
		},
	} {
		t.Run(name, func(t *testing.T) {
			testnet.TestDatagrams(t, func(t *testing.T) (net.Conn, net.Conn, int) {
				a, b := pair(t)
				c, d := pair(t)
				done := make(chan struct{})
				go func() {
					defer close(done)
					_, _, _ = relay.CopyDatagrams(b, c, time.Minute)
				}()
				t.Cleanup(func() {
					_, _ = b.Close(), c.Close()
					<-done
				})
				return a, d, datagram.Max
			})
		})
	}
}

// TestFlowsWaitWithoutBuffers measures what flows hold that have carried the longest datagram
// each way and idle.
func TestFlowsWaitWithoutBuffers(t *testing.T) {
	const flows, most = 64, 16 << 10 // of the 128 KiB that two buffers take
	var before, after runtime.MemStats
	heap := func(m *runtime.MemStats) {
		for range 3 { // what is in pools stays for two
			runtime.GC()
		}
		runtime.ReadMemStats(m)
	}
	var ended sync.WaitGroup
	var ends []net.Conn
	word := make([]byte, datagram.Max)
	heap(&before)
	for range flows {
		client, near := testnet.DatagramPipe(0)
		far, target := udpPair(t)
		ended.Go(func() { _, _, _ = relay.CopyDatagrams(near, far, time.Minute) })
		for _, way := range [][2]net.Conn{{client, target}, {target, client}} {
			_, _ = way[0].Write(word)
			if n, err := way[1].Read(word); n != len(word) || err != nil {
				t.Fatal(n, err)
			}
		}
		ends = append(ends, client, near, target)
	}
	heap(&after)
	if each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / flows; runtime.GOOS != "windows" && each > most {
		t.Errorf("%d bytes an idle flow", each)
	}
	for _, c := range ends {
		_ = c.Close()
	}
	ended.Wait()
}

// TestFlowIdles: a datagram in one direction keeps the flow, silence ends it in
// good order.
func TestFlowIdles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, near := testnet.DatagramPipe(0)
		far, target := testnet.DatagramPipe(0)
		began := time.Now()
		go func() {
			for range 10 {
				time.Sleep(50 * time.Second)
				_, _ = target.Write([]byte("x"))
			}
		}()
		up, down, err := relay.CopyDatagrams(near, far, time.Minute)
		if err != nil || up != 0 || down != 10 {
			t.Errorf("up %d, down %d, %v", up, down, err)
		}
		if took := time.Since(began); took != 560*time.Second {
			t.Errorf("ended after %v", took)
		}
		_, _ = client.Close(), target.Close()
	})
}

// TestFlowOutlivesRefusals: nobody listens at first, and then somebody does.
func TestFlowOutlivesRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New()
		client, near := testnet.DatagramPipe(0)
		far, err := n.Host("here").DialContext(t.Context(), "udp", "target:53")
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if up, down, err := relay.CopyDatagrams(near, far, time.Minute); err != nil || up != 105 || down != 3 {
				t.Errorf("up %d, down %d, %v", up, down, err)
			}
		})
		for range 100 {
			_, _ = client.Write([]byte("x"))
			synctest.Wait()
		}
		target, err := n.Host("target").ListenPacket(":53")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = client.Write([]byte("hello"))
		buf := make([]byte, 8)
		m, from, err := target.ReadFrom(buf)
		if err != nil || string(buf[:m]) != "hello" {
			t.Fatalf("the target read %q, %v", buf[:m], err)
		}
		_, _ = target.WriteTo([]byte("yes"), from)
		if m, err := client.Read(buf); err != nil || string(buf[:m]) != "yes" {
			t.Errorf("the client read %q, %v", buf[:m], err)
		}
		wg.Wait()
		_, _ = client.Close(), target.Close()
	})
}

// broken is a conn that fails, or whose way onwards is stuck.
type broken struct {
	net.Conn
	read, write error
}

func (b *broken) Read(p []byte) (int, error) {
	if b.read != nil {
		return 0, b.read
	}
	return b.Conn.Read(p)
}

func (b *broken) Write(p []byte) (int, error) {
	if b.write != nil {
		return 0, b.write
	}
	return b.Conn.Write(p)
}

func TestFlowEnds(t *testing.T) {
	for name, test := range map[string]struct {
		read, write error // of the target
		want        error
		took        time.Duration
	}{
		"end of file":            {io.EOF, nil, nil, 0},
		"an error without end":   {syscall.ECONNRESET, nil, syscall.ECONNRESET, 0},
		"closed":                 {net.ErrClosed, nil, net.ErrClosed, 0},
		"what can't be written":  {nil, syscall.EMSGSIZE, nil, time.Minute},
		"a write that times out": {nil, &net.OpError{Op: "write", Err: errTimeout{}}, relay.ErrIdle, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, near := testnet.DatagramPipe(0)
				far, target := testnet.DatagramPipe(0)
				_, _ = client.Write([]byte("x"))
				began := time.Now()
				_, _, err := relay.CopyDatagrams(near, &broken{far, test.read, test.write}, time.Minute)
				if !errors.Is(err, test.want) || time.Since(began) != test.took {
					t.Errorf("%v after %v", err, time.Since(began))
				}
				for _, c := range []net.Conn{near, far} {
					if _, err := c.Write(nil); !errors.Is(err, net.ErrClosed) {
						t.Errorf("an end is left open: %v", err)
					}
				}
				_, _ = client.Close(), target.Close()
			})
		})
	}
}

// errTimeout is what a conn says after its deadline.
type errTimeout struct{}

func (errTimeout) Error() string        { return "i/o timeout" }
func (errTimeout) Is(target error) bool { return target == os.ErrDeadlineExceeded }

// pendingFlow is a pending of network "udp".
type pendingFlow struct{ pending }

func (p *pendingFlow) Request() relay.Request {
	return relay.Request{Network: "udp", Addr: "target:53", User: "alice"}
}

func TestServeCarriesFlows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, near := testnet.DatagramPipe(0)
		far, target := testnet.DatagramPipe(0)
		var opened, closed atomic.Int32
		var stats relay.Stats
		r := &relay.Relay{Router: to(dialerOf(far)), FlowIdleLimit: 7 * time.Second, Trace: &relay.Trace{
			Opened: func(relay.Request, relay.Decision, time.Duration) { opened.Add(1) },
			Closed: func(q relay.Request, _ relay.Decision, s relay.Stats) {
				closed.Add(1)
				if stats = s; q.Network != "udp" {
					t.Errorf("network %s", q.Network)
				}
			},
		}}
		began := time.Now()
		go func() {
			_, _ = client.Write([]byte("one"))
			_, _ = target.Write([]byte("answer"))
			synctest.Wait()
			if r.Live() != 1 {
				t.Errorf("%d live", r.Live())
			}
		}()
		if err := r.Serve(t.Context(), &pendingFlow{pending{conn: near}}); err != nil {
			t.Error(err)
		}
		if time.Since(began) != 7*time.Second || opened.Load() != 1 || closed.Load() != 1 || r.Live() != 0 ||
			stats.Up != 3 || stats.Down != 6 || stats.Err != nil || stats.Lasted != 7*time.Second {
			t.Errorf("after %v: opened %d, closed %d, live %d, %+v", time.Since(began), opened.Load(), closed.Load(), r.Live(), stats)
		}
		_, _ = client.Close(), target.Close()
	})
}

func TestShutdownCutsFlows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, near := testnet.DatagramPipe(0)
		far, target := testnet.DatagramPipe(0)
		r := &relay.Relay{Router: to(dialerOf(far))}
		done := make(chan error, 1)
		go func() { done <- r.Serve(t.Context(), &pendingFlow{pending{conn: near}}) }()
		synctest.Wait()
		_ = r.Close()
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		_, _ = client.Close(), target.Close()
	})
}
