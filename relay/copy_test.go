package relay_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

// TestCopyConforms runs the suite through a relay, over TCP (which splices) and in memory.
func TestCopyConforms(t *testing.T) {
	for name, pair := range map[string]func(t *testing.T) (net.Conn, net.Conn){
		"tcp":    func(t *testing.T) (net.Conn, net.Conn) { return testnet.TCPPair(t) },
		"memory": func(*testing.T) (net.Conn, net.Conn) { return testnet.Pipe(0) },
	} {
		t.Run(name, func(t *testing.T) {
			testnet.TestConn(t, func(t *testing.T) (net.Conn, net.Conn) {
				a, b := pair(t)
				c, d := pair(t)
				done := make(chan struct{})
				go func() {
					defer close(done)
					_, _, _ = relay.Copy(b, c, time.Minute)
				}()
				t.Cleanup(func() { <-done })
				return a, d
			})
		})
	}
}

func TestIdleLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, near := testnet.Pipe(0)
		far, target := testnet.Pipe(0)
		began := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() { // traffic in one direction alone keeps the tunnel
			for range 10 {
				time.Sleep(50 * time.Second)
				_, _ = target.Write([]byte("x"))
			}
		})
		wg.Go(func() {
			_, _ = io.Copy(io.Discard, client)
		})
		up, down, err := relay.Copy(near, far, time.Minute)
		if !errors.Is(err, relay.ErrIdle) || up != 0 || down != 10 {
			t.Errorf("up %d, down %d, error %v", up, down, err)
		}
		if took := time.Since(began); took != 560*time.Second {
			t.Errorf("ended after %v", took)
		}
		wg.Wait()
		_ = client.Close()
		_ = target.Close()
	})
}

// TestIdleLimitStalled has two peers that send and never read.
func TestIdleLimitStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, near := testnet.Pipe(0)
		far, target := testnet.Pipe(0)
		var wg sync.WaitGroup
		for _, c := range []net.Conn{client, target} {
			wg.Go(func() {
				for {
					if _, err := c.Write(make([]byte, 64<<10)); err != nil {
						return
					}
				}
			})
		}
		began := time.Now()
		if _, _, err := relay.Copy(near, far, time.Minute); err == nil {
			t.Error("no error")
		}
		if took := time.Since(began); took < time.Minute || took > 2*time.Minute+2*time.Second {
			t.Errorf("ended after %v", took)
		}
		_ = client.Close()
		_ = target.Close()
		wg.Wait()
	})
}

// TestIdleLimitSpliced keeps a spliced direction busy for longer than the limit.
func TestIdleLimitSpliced(t *testing.T) {
	client, near := testnet.TCPPair(t)
	far, target := testnet.TCPPair(t)
	const limit = 1500 * time.Millisecond
	sent := make(chan int, 1)
	go func() {
		n := 0
		for began := time.Now(); time.Since(began) < 5*limit/2; {
			k, err := target.Write(make([]byte, 64<<10))
			n += k
			if err != nil {
				t.Errorf("after %v: %v", time.Since(began), err)
				break
			}
		}
		_ = target.Close()
		sent <- n
	}()
	go func() {
		_, _ = io.Copy(io.Discard, client)
		_ = client.Close()
	}()
	_, down, err := relay.Copy(near, far, limit)
	if n := <-sent; int64(n) != down || err != nil {
		t.Errorf("%d bytes sent, %d carried, error %v", n, down, err)
	}
}

// TestResetIsPassedOn checks that a target that resets is not taken for one that ended.
func TestResetIsPassedOn(t *testing.T) {
	client, near := testnet.TCPPair(t)
	far, target := testnet.TCPPair(t)
	done := make(chan error, 1)
	go func() { _, _, err := relay.Copy(near, far, time.Minute); done <- err }()
	_, _ = target.Write([]byte("part of it"))
	if _, err := io.ReadFull(client, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	_ = chain.Abort(target)
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client saw %v", err)
	}
	if err := <-done; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("Copy gave %v", err)
	}
	_ = client.Close()
}

// TestAnswerSurvivesAFailedUpload has a target that answers and stops reading,
// as a web server that refuses a large body.
func TestAnswerSurvivesAFailedUpload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, near := testnet.Pipe(time.Millisecond)
		far, target := testnet.Pipe(time.Millisecond)
		answer := bytes.Repeat([]byte("too large "), 100)
		var answered atomic.Bool
		go func() {
			_, _ = io.ReadFull(target, make([]byte, 100))
			_, _ = target.Write(answer)
			_ = chain.CloseWrite(target)
			target.(interface{ StopReading() }).StopReading()
		}()
		go func() {
			for !answered.Load() {
				if _, err := client.Write(make([]byte, 64<<10)); err != nil {
					return
				}
				time.Sleep(time.Millisecond)
			}
		}()
		done := make(chan error, 1)
		go func() { _, _, err := relay.Copy(near, far, time.Minute); done <- err }()
		got, err := io.ReadAll(client)
		answered.Store(true)
		if err != nil || !bytes.Equal(got, answer) {
			t.Errorf("the client read %d of %d bytes, %v", len(got), len(answer), err)
		}
		_ = client.Close()
		if err := <-done; err == nil {
			t.Error("no error of the upload")
		}
		_ = target.Close()
	})
}
