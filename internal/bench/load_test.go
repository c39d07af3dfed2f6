package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// built is a folder for what tests build, to be removed after them.
var built string

func TestMain(m *testing.M) {
	if addr := os.Getenv(leastAt); addr != "" {
		l, err := net.Listen("tcp", addr)
		if err == nil {
			least(l)
		}
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(built)
		os.Exit(code)
	}))
}

const (
	workers   = 32
	openLimit = 5 * time.Second
	bulkSize  = 256 << 10
)

// way opens tunnels to the origin: directly, or by a SOCKS5 listener.
type way struct {
	dial  func(ctx context.Context, network, addr string) (net.Conn, error)
	proxy string // "" for none
	to    *origin
}

// open returns a tunnel, to be closed. It speaks SOCKS5 one message at a time, as most clients do.
func (w way) open() (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), openLimit)
	defer cancel()
	at := w.proxy
	if at == "" {
		at = w.to.addr.String()
	}
	c, err := w.dial(ctx, "tcp", at)
	if err != nil || w.proxy == "" {
		return c, err
	}
	_ = c.SetDeadline(time.Now().Add(openLimit))
	if err := connect(c, w.to.addr); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, c.SetDeadline(time.Time{})
}

func connect(c net.Conn, to netip.AddrPort) error {
	var buf [10]byte
	if _, err := c.Write([]byte{5, 1, 0}); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, buf[:2]); err != nil {
		return err
	}
	req := append([]byte{5, 1, 0, 1}, to.Addr().Unmap().AsSlice()...)
	if _, err := c.Write(binary.BigEndian.AppendUint16(req, to.Port())); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, buf[:]); err != nil {
		return err
	}
	if buf[1] != 0 || buf[3] != 1 {
		return fmt.Errorf("SOCKS5 reply %d", buf[1])
	}
	return nil
}

// exchange opens a tunnel and has five bytes go there and back. It tells how long that took.
func (w way) exchange() (net.Conn, time.Duration, error) {
	began := time.Now()
	c, err := w.open()
	if err != nil {
		return nil, 0, err
	}
	_ = c.SetDeadline(time.Now().Add(openLimit))
	var buf [5]byte
	if _, err = io.WriteString(c, string(echo)+"hello"); err == nil {
		_, err = io.ReadFull(c, buf[:])
	}
	if err == nil && string(buf[:]) != "hello" {
		err = fmt.Errorf("%q came back", buf)
	}
	if err != nil {
		_ = c.Close()
		return nil, 0, err
	}
	return c, time.Since(began), c.SetDeadline(time.Time{})
}

// bulk moves bytes on one tunnel in a direction for d, or as long as it takes that any
// arrive, after a while in which it may speed up. It calls began and ended where
// the counting does, and returns what was received in between.
func (w way) bulk(direction byte, d time.Duration, began, ended func()) (bytes int64, took time.Duration, err error) {
	c, err := w.open()
	if err != nil {
		return 0, 0, err
	}
	var moved atomic.Int64 // of a download
	count := moved.Load
	if direction == up {
		count = w.to.took.Load
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		_, err := c.Write([]byte{direction})
		for buf := make([]byte, bulkSize); err == nil; {
			n := 0
			if direction == up {
				_, err = c.Write(buf)
			} else {
				n, err = c.Read(buf)
			}
			moved.Add(int64(n))
		}
	}()
	defer func() {
		_ = c.Close()
		<-over
	}()
	time.Sleep(100 * time.Millisecond)
	start, from := time.Now(), count()
	began()
	for bytes == 0 && err == nil {
		select {
		case <-over:
			err = errors.New("the tunnel ended")
		case <-time.After(d):
		}
		bytes, took = count()-from, time.Since(start)
	}
	ended()
	return bytes, took, err
}

// churn opens and closes tunnels for d.
func (w way) churn(d time.Duration) (opened []time.Duration, failed int, err error) {
	var mu sync.Mutex
	w.work(time.Now().Add(d), 1<<30, func(c net.Conn, took time.Duration, e error) {
		mu.Lock()
		defer mu.Unlock()
		if e != nil {
			failed, err = failed+1, e
			return
		}
		_ = c.Close()
		opened = append(opened, took)
	})
	slices.Sort(opened)
	return opened, failed, err
}

// hold opens up to n tunnels, for d at most. The caller closes them.
func (w way) hold(n int, d time.Duration) (held []net.Conn, err error) {
	var mu sync.Mutex
	w.work(time.Now().Add(d), n, func(c net.Conn, _ time.Duration, e error) {
		mu.Lock()
		defer mu.Unlock()
		if e != nil {
			err = e
			return
		}
		held = append(held, c)
	})
	return held, err
}

// work has the workers make up to n exchanges until a time, and each one at least if n allows.
func (w way) work(until time.Time, n int, done func(net.Conn, time.Duration, error)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for next.Add(1) <= int64(n) {
				if done(w.exchange()); !time.Now().Before(until) {
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestLoad puts each load on a relay for a moment: the rig counts what is there.
func TestLoad(t *testing.T) {
	o := newOrigin(t, listen(t))
	l := listen(t)
	socksServer(t, l, &net.Dialer{})
	dead := listen(t)
	_ = dead.Close()
	dial := (&net.Dialer{}).DialContext
	bare := listen(t)
	defer bare.Close()
	go least(bare)
	for name, w := range map[string]way{"direct": {dial, "", o}, "proxy": {dial, l.Addr().String(), o}, "the least": {dial, bare.Addr().String(), o}} {
		t.Run(name, func(t *testing.T) {
			for _, direction := range []byte{down, up} {
				calls := ""
				n, took, err := w.bulk(direction, 10*time.Millisecond, func() { calls += "began " }, func() { calls += "ended" })
				if err != nil || n <= 0 || took <= 0 || calls != "began ended" {
					t.Errorf("bulk %c: %d bytes in %v, %v; %s", direction, n, took, err, calls)
				}
			}
			opened, failed, err := w.churn(10 * time.Millisecond)
			if err != nil || failed != 0 || len(opened) < workers || !slices.IsSorted(opened) || opened[0] <= 0 {
				t.Errorf("churn: %d opened, %d failed, %v", len(opened), failed, err)
			}
			held, err := w.hold(40, time.Minute)
			if err != nil || len(held) != 40 {
				t.Errorf("hold: %d, %v", len(held), err)
			}
			for _, c := range held {
				_ = c.Close()
			}
		})
	}
	w := way{dial, dead.Addr().String(), o}
	if opened, failed, err := w.churn(time.Millisecond); len(opened) != 0 || failed == 0 || err == nil {
		t.Errorf("a proxy that is not there: %d opened, %d failed, %v", len(opened), failed, err)
	}
	if _, _, err := w.bulk(down, time.Millisecond, func() {}, func() {}); err == nil {
		t.Error("bulk by a proxy that is not there")
	}
	// A relay that cannot reach the target says so by SOCKS5.
	gone := &origin{addr: dead.Addr().(*net.TCPAddr).AddrPort()}
	if _, err := (way{dial, l.Addr().String(), gone}).hold(1, time.Minute); err == nil || err.Error()[:6] != "SOCKS5" {
		t.Errorf("a target that is not there: %v", err)
	}
}
