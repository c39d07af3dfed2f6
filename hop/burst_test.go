package hop_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/socks"
)

// TestBurst opens tunnels at once: as many as there are spares find one, the others cost what
// a cold one does, and do not wait for each other. The next burst finds a spare for each.
// While one (a spare's, maybe) finds out whether a hop takes pipelining, the others ask that hop one thing
// at a time.
func TestBurst(t *testing.T) {
	for name, pipeline := range map[string]socks.Pipeline{"auto": socks.Auto, "pipelined": socks.On, "serial": socks.Off} {
		for i := range 10 {
			n, first := 1+i/2, 1+i%2*3 // a single one, or a burst
			t.Run(fmt.Sprintf("%s/%d/%d", name, n, first), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := newPath(t, n, pipeline, nil)
					accept(t, p.Host(target), ":7", echo)
					serial, pipelined, warm := 2*p.all()+2*p.sum(n), 2*p.all()+p.sum(n), 2*p.all()
					cold, slowest := pipelined, pipelined
					if pipeline != socks.On {
						slowest = serial
					}
					if pipeline == socks.Off {
						cold = serial
					}
					d := p.app(t, false, true)
					for _, took := range atOnce(t, d, first) {
						if took < cold || took > slowest {
							t.Errorf("a cold one took %v, want %v to %v", took, cold, slowest)
						}
					}
					if first < 4 {
						return
					}
					burst(t, d, warm, warm, warm, warm)
					time.Sleep(35 * time.Second) // one is kept ready for a minute after the last tunnel, and the rest expires
					burst(t, d, warm, cold, cold, cold)
				})
			})
		}
	}
}

// burst opens as many tunnels at once as there are times to be taken.
func burst(t *testing.T, d chain.Dialer, want ...time.Duration) {
	t.Helper()
	if got := atOnce(t, d, len(want)); !slices.Equal(got, want) {
		t.Errorf("took %v, want %v", got, want)
	}
}

// atOnce opens n tunnels at once, and returns how long each took, in order. Spares are made
// before it returns.
func atOnce(t *testing.T, d chain.Dialer, n int) []time.Duration {
	t.Helper()
	var wg sync.WaitGroup
	took := make([]time.Duration, n)
	for i := range took {
		wg.Go(func() { took[i] = firstByte(t, d, "x") })
	}
	wg.Wait()
	slices.Sort(took)
	time.Sleep(5 * time.Second)
	return took
}
