package socks

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
)

// TestLateRefusal refuses half a second before the limit: there is no more time
// to linger than that.
func TestLateRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := testnet.Pipe(0)
		defer client.Close()
		began := time.Now()
		time.AfterFunc(9500*time.Millisecond, func() { _, _ = client.Write([]byte("\x05\x01\x80")) })
		if _, err := new(Server).Handshake(t.Context(), server); err == nil || time.Since(began) != 10*time.Second {
			t.Errorf("error %v after %v", err, time.Since(began))
		}
		began = time.Now()
		a, b := testnet.Pipe(0)
		defer a.Close()
		must(t, (&pending{conn: b, version: 5, limit: 300 * time.Millisecond}).Reject(net.ErrClosed))
		if took := time.Since(began); took != 300*time.Millisecond {
			t.Errorf("Reject took %v", took)
		}
	})
}

// TestAcceptLiftsItsDeadline writes long after the answer.
func TestAcceptLiftsItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := testnet.Pipe(0)
		conn, err := (&pending{conn: server, version: 5, limit: time.Second}).Accept()
		must(t, err)
		time.Sleep(time.Minute)
		_, err = conn.Write([]byte("late"))
		must(t, err)
		must(t, conn.Close())
		if got, err := io.ReadAll(client); err != nil || string(got) != granted+"late" {
			t.Errorf("read %q, %v", got, err)
		}
		must(t, client.Close())
	})
}

// TestSecretsAreWiped looks into an exchange that was given back.
func TestSecretsAreWiped(t *testing.T) {
	x := newExchange(&scripted{segments: [][]byte{[]byte("secret")}}, nil)
	_, err := x.Write([]byte("secret"))
	must(t, err)
	out := x.out
	_, err = x.next(1)
	must(t, err)
	x.release()
	if bytes.Contains(out[:cap(out)], []byte("secret")) || bytes.Contains(x.in[:], []byte("ecret")) {
		t.Error("a secret stays in the pool")
	}
}

// TestGivenUpEarly cancels a dial that was not overdue: pipelining works as before.
func TestGivenUpEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var wait atomic.Int64
		w := newWorld(t, func(c net.Conn, next chain.Dialer) {
			good(t, Server{})(c, slow(next, time.Duration(wait.Load())))
		})
		d := newChain(t, w.Host("client"), Hop5("hop:1080", HopOptions{}))
		w.dialTakes(t, d, 2*rtt, 1)
		for patience, next := range map[time.Duration]int32{2 * rtt: 1, time.Second: 2} {
			wait.Store(int64(3 * time.Second))
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			if _, err := d.DialContext(ctx, "tcp", "target:80"); err == nil {
				t.Error("no error")
			}
			cancel()
			time.Sleep(10 * time.Second)
			w.dialTakes(t, d, 2*rtt+3*time.Second, next)
		}
	})
}

// TestGivenUpTrial starts nothing more once its ctx has ended.
func TestGivenUpTrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c net.Conn, _ chain.Dialer) { odd["hangs"](c) })
		d := newChain(t, w.Host("client"), Hop5("hop:1080", HopOptions{}))
		ctx, cancel := context.WithTimeout(t.Context(), 2*rtt)
		defer cancel()
		conn, err := d.DialContext(ctx, "tcp", "target:80")
		wantFailure(t, conn, err, chain.PhaseAuth, syscall.ETIMEDOUT)
		if got := len(w.Dials()); got != 1 {
			t.Errorf("%d dials", got)
		}
	})
}

// TestMethodRefusedSerially has a server that resets on more than a greeting, and
// wants a password: that tells nothing about pipelining, so there is a trial again.
func TestMethodRefusedSerially(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c net.Conn, _ chain.Dialer) {
			first := make([]byte, 1024)
			if k, _ := c.Read(first); k == len(hello) {
				_, _ = c.Write([]byte("\x05\xff"))
			}
			_ = c.Close()
		})
		d := newChain(t, w.Host("client"), Hop5("hop:1080", HopOptions{}))
		for i := range 3 {
			conn, err := d.Dial("tcp", "target:80")
			wantFailure(t, conn, err, chain.PhaseAuth, errMethod)
			if got := w.conns.Load(); got != int32(2*(i+1)) {
				t.Errorf("%d dials took %d conns", i+1, got)
			}
		}
	})
}

// TestLearntHopIsGone dials a hop once that can't be reached any more.
func TestLearntHopIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, good(t, Server{}))
		var gone atomic.Bool
		var tries int
		base := chain.DialerFunc(func(ctx context.Context, network, addr string) (net.Conn, error) {
			if gone.Load() {
				tries++
				return nil, syscall.EHOSTUNREACH
			}
			return w.Host("client").DialContext(ctx, network, addr)
		})
		d := newChain(t, base, Hop5("hop:1080", HopOptions{}))
		w.dialTakes(t, d, 2*rtt, 1)
		gone.Store(true)
		conn, err := d.Dial("tcp", "target:80")
		wantFailure(t, conn, err, chain.PhaseDial, syscall.EHOSTUNREACH)
		if tries != 1 {
			t.Errorf("%d dials", tries)
		}
		gone.Store(false)
		w.dialTakes(t, d, 2*rtt, 1)
	})
}

// TestLearningIsShared makes two chains of one hop.
func TestLearningIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, broken, _ := oddWorld(t, odd["drops the rest"])
		broken.Store(true)
		hop := Hop5("hop:1080", HopOptions{})
		w.dialTakes(t, newChain(t, w.Host("client"), hop), 2*rtt+250*time.Millisecond+3*rtt, 2)
		w.dialTakes(t, newChain(t, w.Host("client"), hop), 3*rtt, 1)
	})
}
