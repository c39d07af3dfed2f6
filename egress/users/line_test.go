package users

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestLineIsFair: however many tunnels the greedy have, and however large what they ask for, the others
// have at least 90 % of an equal share, and the line is full.
func TestLineIsFair(t *testing.T) {
	for name, demand := range map[string]map[string]struct{ tunnels, size int }{
		"100 tunnels and one":  {"greedy": {100, 64 << 10}, "one": {1, 16 << 10}},
		"100, 100 and one":     {"a": {100, 64 << 10}, "b": {100, 1 << 10}, "one": {1, 16 << 10}},
		"small against large":  {"a": {1, 64 << 10}, "b": {1, 500}},
		"ten with one each":    {"0": {1, 64 << 10}, "1": {1, 64 << 10}, "2": {1, 64 << 10}, "3": {1, 64 << 10}, "4": {500, 64 << 10}},
		"somebody all by self": {"a": {3, 64 << 10}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const rate, seconds = 16 << 20, 5
				l := NewLine(rate)
				ctx, cancel := context.WithTimeout(t.Context(), seconds*time.Second)
				defer cancel()
				got := make(map[string]*atomic.Int64)
				for user, d := range demand {
					n := new(atomic.Int64)
					got[user] = n
					for range d.tunnels {
						go func() {
							for l.Wait(ctx, user, true, d.size) == nil {
								n.Add(int64(d.size))
							}
						}()
					}
				}
				<-ctx.Done()
				synctest.Wait()
				fair, sum := int64(rate*seconds/len(demand)), int64(0)
				for user, n := range got {
					sum += n.Load()
					if n.Load() < fair*9/10 {
						t.Errorf("%s has %d of %d", user, n.Load(), fair)
					}
				}
				if sum < rate*seconds*99/100 || sum > rate*seconds*101/100 {
					t.Errorf("%d of %d moved", sum, rate*seconds)
				}
			})
		})
	}
}

// TestLineIsNotKept: what one user leaves over is another's, one who has paused is owed nothing, and who gives
// up waiting takes no share.
func TestLineIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLine(1 << 20)
		move := func(user string, n int) time.Duration {
			began := time.Now()
			for range n {
				if err := l.Wait(t.Context(), user, false, 16<<10); err != nil {
					t.Error(err)
				}
			}
			return time.Since(began)
		}
		if took := move("a", 640); took < 9900*time.Millisecond || took > 10*time.Second {
			t.Errorf("10 MiB alone took %v", took)
		}
		// b comes late, and has from then on as much as a, no more.
		done := make(chan time.Duration, 2)
		for _, user := range []string{"a", "b"} {
			go func() { done <- move(user, 320) }()
		}
		for range 2 {
			if took := <-done; took < 9700*time.Millisecond || took > 10*time.Second {
				t.Errorf("5 MiB beside another took %v", took)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error, 100)
		for range 100 {
			go func() { failed <- l.Wait(ctx, "gone", false, 1<<20) }()
		}
		synctest.Wait()
		cancel()
		synctest.Wait()
		served := 0
		for range 100 {
			if err := <-failed; err == nil {
				served++
			}
		}
		began := time.Now()
		move("a", 1)
		if took := time.Since(began); served > 1 || took > 1100*time.Millisecond {
			t.Errorf("%d of those who left were served, and the next after %v", served, took)
		}
	})
}

func BenchmarkLine(b *testing.B) {
	l := NewLine(1 << 50)
	for i := range 1000 {
		_ = l.Wait(b.Context(), fmt.Sprint(i), true, 1)
	}
	for b.Loop() {
		_ = l.Wait(b.Context(), "a", true, 64<<10)
	}
}
