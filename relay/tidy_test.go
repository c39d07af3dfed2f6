package relay

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestTidy: garbage is collected once when a crowd was parked and calm has come, and not
// again within the pause; for a few it is not.
func TestTidy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l register
		var times atomic.Int32
		l.tidier.collect = func() { times.Add(1) }
		park := func(n int) {
			l.mu.Lock()
			defer l.mu.Unlock()
			for range n {
				l.note()
			}
		}
		after := func(d time.Duration, want int32, when string) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if got := times.Load(); got != want {
				t.Errorf("%s: collected %d times, want %d", when, got, want)
			}
		}
		park(tidyCrowd - 1)
		after(time.Hour, 0, "a few")
		for range 10 {
			park(1)
			after(tidyCalm/2, 0, "while tunnels are parked")
		}
		after(tidyCalm, 1, "calm")
		park(tidyCrowd)
		after(tidyPause/2, 1, "soon after")
		after(tidyPause/2, 2, "after the pause")
		after(time.Hour, 2, "nothing more")
	})
}
