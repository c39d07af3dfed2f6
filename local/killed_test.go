package local

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
)

// A tally counts what clients see, apart for the time before the kill, the second after
// it, and from then on.
type tally struct {
	mu       sync.Mutex
	killed   time.Time
	requests [3]int
	refused  [3]int // tunnels that were not opened
	failed   [3]int // requests on live tunnels
	worst    int    // failed requests on one tunnel
}

func (y *tally) when() int {
	switch since := time.Since(y.killed); {
	case y.killed.IsZero():
		return 0
	case since <= time.Second:
		return 1
	}
	return 2
}

// client opens tunnels and makes requests on them until the end.
func (y *tally) client(t *testing.T, d chain.Dialer, end time.Time) {
	for time.Now().Before(end) {
		c, err := d.DialContext(t.Context(), "tcp", "target:7")
		if err != nil {
			y.mu.Lock()
			y.refused[y.when()]++
			y.mu.Unlock()
			continue
		}
		failed := 0
		for range 1 + rand.IntN(20) {
			err := askEcho(c)
			y.mu.Lock()
			y.requests[y.when()]++
			if err != nil {
				y.failed[y.when()]++
				failed++
				y.worst = max(y.worst, failed)
			}
			y.mu.Unlock()
			if err != nil {
				break // as any client would
			}
			time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
		}
		_ = c.Close()
	}
}

// askEcho makes one request to an echo.
func askEcho(c net.Conn) error {
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(c, "hello"); err != nil {
		return err
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "hello" {
		return errors.Join(err, errors.New("no echo"))
	}
	return nil
}

// TestExitKilled kills the first of two exits under the load of 64 clients, with and without
// a word: each live tunnel fails at one request at most, and from a second later on nothing
// fails at all.
func TestExitKilled(t *testing.T) {
	for name, silently := range map[string]bool{"refusing": false, "silent": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newHosts(t, "entry", "a", "b")
				for _, link := range [][2]string{{"client", "entry"}, {"entry", "a"}, {"entry", "b"}, {"a", "target"}, {"b", "target"}} {
					l.n.SetDelay(link[0], link[1], 10*time.Millisecond)
				}
				p := l.build([]string{"entry", "a", "b"}, `
[[group]]
name = "exits"
members = ["a", "b"]
[[chain]]
name = "c"
hops = ["entry", "exits"]
`)
				y := &tally{}
				end := time.Now().Add(20 * time.Second)
				var clients sync.WaitGroup
				for range 64 {
					clients.Go(func() { y.client(t, p.chains["c"], end) })
				}
				time.Sleep(10 * time.Second)
				y.mu.Lock()
				y.killed = time.Now()
				y.mu.Unlock()
				l.kill("a", silently)
				clients.Wait()
				t.Logf("before, within a second, after: %d requests, %d failed, %d tunnels refused", y.requests, y.failed, y.refused)
				if y.worst > 1 || y.failed[0] > 0 || y.failed[1] == 0 || y.failed[1] > 64 || y.failed[2] > 0 {
					t.Errorf("requests failed: %d; %d on one tunnel", y.failed, y.worst)
				}
				if y.refused != [3]int{} {
					t.Errorf("tunnels were refused: %d", y.refused)
				}
				if y.requests[2] < 64*50 {
					t.Errorf("%d requests after the kill", y.requests[2])
				}
				time.Sleep(2 * time.Minute) // the spares expire
			})
		})
	}
}
