package upstream_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/egress/front/upstream"
)

func TestTriedAreLeftOut(t *testing.T) {
	p := pool(t, serversOf("a", "b"), upstream.Settings{})
	w := wish("")
	for range 2 {
		l := pick(t, p, w)
		w.Tried = append(w.Tried, l.Server)
		l.Release()
	}
	if w.Tried[0] == w.Tried[1] {
		t.Error("the same was tried twice")
	}
	if _, err := p.Pick(w); !errors.Is(err, upstream.ErrNone) {
		t.Errorf("all were tried: %v", err)
	}
}

func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serversOf("a")
		s[0].Limit = 2
		p := pool(t, s, upstream.Settings{Queue: 3, QueueLimit: 5 * time.Second})
		held := []*upstream.Lease{pick(t, p, wish("")), pick(t, p, wish(""))}
		var mu sync.Mutex
		var order []string
		wait := func(name string, ctx context.Context, serve time.Duration, want error) {
			go func() {
				w := wish("")
				w.Request = w.Request.WithContext(ctx)
				l, err := p.Pick(w)
				if !errors.Is(err, want) {
					t.Errorf("%s: %v, want %v", name, err, want)
				}
				mu.Lock()
				order = append(order, name)
				mu.Unlock()
				if err == nil {
					time.Sleep(serve)
					l.Release()
				}
			}()
			synctest.Wait()
		}
		gone, cancel := context.WithCancel(t.Context())
		wait("1", t.Context(), 6*time.Second, nil)
		wait("2", gone, 0, context.Canceled)
		wait("3", t.Context(), 9*time.Second, nil)
		wait("over", t.Context(), 0, upstream.ErrBusy)
		cancel()
		synctest.Wait()
		wait("4", t.Context(), 0, upstream.ErrBusy) // when its time is over
		held[0].Release()
		synctest.Wait()
		held[1].Release()
		synctest.Wait()
		time.Sleep(2 * time.Second)
		wait("5", t.Context(), time.Second, nil)
		time.Sleep(20 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		if got := strings.Join(order, " "); got != "over 2 1 3 4 5" {
			t.Errorf("order: %s", got)
		}
	})
}

func TestQueueEndsWithThePool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serversOf("a")
		s[0].Limit = 1
		p := upstream.NewPool(s, upstream.Settings{Queue: 10})
		l := pick(t, p, wish(""))
		for range 3 {
			go func() {
				if _, err := p.Pick(wish("")); !errors.Is(err, upstream.ErrNone) {
					t.Error(err)
				}
			}()
		}
		synctest.Wait()
		p.Close()
		synctest.Wait()
		l.Release()
		if _, err := p.Pick(wish("")); !errors.Is(err, upstream.ErrNone) {
			t.Error(err)
		}
	})
}

func TestEject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []time.Duration
		start := time.Now()
		servers := serversOf("a", "b", "c")
		p := pool(t, servers, upstream.Settings{
			Pick: upstream.RoundRobin, Eject: upstream.Eject{Failures: 3, Time: 10 * time.Second, Share: 0.5},
			Trace: &upstream.Trace{Ejected: func(s *upstream.Server, until time.Time) {
				if s != servers[0] {
					t.Errorf("%s was ejected", s.Name)
				}
				told = append(told, until.Sub(start))
			}},
		})
		round := func(status int) (asked int) {
			for range 9 {
				l := pick(t, p, wish(""))
				if l.Server == servers[0] {
					asked++
					l.Answered(status)
				} else {
					l.Answered(200)
				}
				l.Release()
			}
			return asked
		}
		if n := round(502); n != 3 {
			t.Errorf("a was asked %d times before it was ejected", n)
		}
		if n := round(502); n != 0 {
			t.Errorf("a was asked %d times while it was ejected", n)
		}
		time.Sleep(10 * time.Second)
		if n := round(502); n != 1 {
			t.Errorf("a had %d trials", n)
		}
		time.Sleep(10 * time.Second)
		if n := round(200); n != 0 {
			t.Errorf("a was asked %d times; it is ejected for twice as long", n)
		}
		time.Sleep(10 * time.Second)
		if n := round(200); n < 2 {
			t.Errorf("a, which is well again, was asked %d times", n)
		}
		if len(told) != 2 || told[0] != 10*time.Second || told[1] != 30*time.Second {
			t.Errorf("told %v", told)
		}
	})
}

// TestOneTrial lets no second request at a server that is on trial.
func TestOneTrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pool(t, serversOf("a"), upstream.Settings{Eject: upstream.Eject{Failures: 1, Time: time.Second, Share: 1}})
		l := pick(t, p, wish(""))
		l.Failed(errDead)
		l.Release()
		if _, err := p.Pick(wish("")); !errors.Is(err, upstream.ErrNone) {
			t.Errorf("the circuit is not broken: %v", err)
		}
		time.Sleep(time.Second)
		trial := pick(t, p, wish(""))
		if _, err := p.Pick(wish("")); !errors.Is(err, upstream.ErrNone) {
			t.Errorf("a second trial: %v", err)
		}
		trial.Release() // the client went: nothing is known
		trial = pick(t, p, wish(""))
		trial.Answered(200)
		trial.Release()
		serve(t, p, 5)
	})
}

// TestEjectByRate ejects a server of which half the requests fail, never many in a row.
func TestEjectByRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		servers := serversOf("a", "b")
		ejected := 0
		p := pool(t, servers, upstream.Settings{
			Eject: upstream.Eject{Failures: 3, Rate: 0.4, Time: time.Minute, Share: 0.5},
			Trace: &upstream.Trace{Ejected: func(*upstream.Server, time.Time) { ejected++ }},
		})
		n := 0
		for range 200 {
			l := pick(t, p, wish(""))
			status := 200
			if l.Server == servers[0] {
				if n++; n%2 == 0 {
					status = 503
				}
			}
			l.Answered(status)
			l.Release()
		}
		if ejected != 1 || n < 20 || n > 30 {
			t.Errorf("%d ejections, after %d requests", ejected, n)
		}
	})
}

func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pool(t, serversOf("a"), upstream.Settings{Budget: 0.1})
		spend := func() (n int) {
			for p.Again() {
				n++
			}
			return n
		}
		if n := spend(); n != 200 {
			t.Errorf("at first %d", n)
		}
		time.Sleep(time.Second)
		if n := spend(); n != 10 {
			t.Errorf("a second later %d", n)
		}
		serve(t, p, 1000)
		if n := spend(); n < 99 || n > 101 {
			t.Errorf("of 1000 requests %d", n)
		}
	})
}
