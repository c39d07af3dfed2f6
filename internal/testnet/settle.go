package testnet

import (
	"os"
	"runtime"
	"testing"
	"time"
)

// A Census counts what a process must not lose track of.
type Census struct {
	Goroutines int
	Files      int // open descriptors; 0 where the system does not tell
}

// TakeCensus counts, after what is about to end has had the time to: it waits
// until there is no more than in want, for 10 s at most. The zero want waits a moment.
func TakeCensus(t testing.TB, want Census) Census {
	t.Helper()
	patience := 10 * time.Second
	if want == (Census{}) {
		patience = 500 * time.Millisecond
	}
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		runtime.GC() // a pool's idle pipes are closed by finalizers
		c := Census{runtime.NumGoroutine(), openFiles()}
		if c.Goroutines <= want.Goroutines && c.Files <= want.Files || time.Now().After(end) {
			return c
		}
	}
}

// CheckCensus fails the test if there is more than before.
func CheckCensus(t testing.TB, before Census) {
	t.Helper()
	after := TakeCensus(t, before)
	if after.Goroutines > before.Goroutines || after.Files > before.Files {
		t.Errorf("before: %+v, after: %+v", before, after)
	}
}

func openFiles() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}
