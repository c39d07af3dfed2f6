package chain_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
)

const ms = time.Millisecond

// TestSilentMember: it costs what patience there is, once, and never the whole limit.
func TestSilentMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set("a", fake{silent: true})
		w.set("b", fake{takes: 100 * ms})
		c := w.group(chain.GroupOptions{Rand: half}, "a", "b")
		dial := func(what string, limit, took time.Duration) {
			t.Helper()
			by, d := w.took(c, limit)
			expect(t, what, by, "b")
			if d != took {
				t.Errorf("%s: took %v, want %v", what, d, took)
			}
		}
		dial("nothing known", 30*time.Second, 2100*ms)
		if m := member(c, "a"); m.Alive || m.Live != 0 {
			t.Errorf("a: %+v", m)
		}
		dial("marked", 30*time.Second, 100*ms)
		time.Sleep(time.Second)
		dial("its share of a short time", time.Second, 600*ms)
		time.Sleep(2 * time.Second)
		w.set("a", fake{takes: 400 * ms})
		expect(t, "the trial", w.via(t.Context(), c), "a")
		w.set("a", fake{silent: true})
		dial("three times its p95", 30*time.Second, 1300*ms)
		w.nothingOpen()
	})
}

// TestAllSilent ends with the caller's time, having tried all and marked none.
func TestAllSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for _, n := range []string{"a", "b", "c"} {
			w.set(n, fake{silent: true})
		}
		c := w.group(chain.GroupOptions{}, "a", "b", "c")
		by, d := w.took(c, 9*time.Second)
		if d != 9*time.Second {
			t.Errorf("%s after %v", by, d)
		}
		expect(t, "asked", w.askedSince(), "a b c")
		synctest.Wait()
		for _, n := range []string{"a", "b", "c"} {
			if m := member(c, n); !m.Alive || m.Live != 0 {
				t.Errorf("%+v", m)
			}
		}
		w.nothingOpen()
	})
}

// TestSlowFirstStillWins: company does not mean that the first is given up.
func TestSlowFirstStillWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set("a", fake{takes: 2500 * ms})
		w.set("b", fake{takes: time.Second})
		c := w.group(chain.GroupOptions{}, "a", "b")
		by, d := w.took(c, 30*time.Second)
		expect(t, "served", by, "a")
		expect(t, "asked", w.askedSince(), "a b")
		if d != 2500*ms || !member(c, "b").Alive {
			t.Errorf("took %v; b %+v", d, member(c, "b"))
		}
		w.nothingOpen()
	})
}

func TestRace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.group(chain.GroupOptions{Strategy: chain.Race, Rand: half}, "a", "b")
		dial := func(what, by string, took time.Duration) {
			t.Helper()
			got, d := w.took(c, 30*time.Second)
			expect(t, what, got, by)
			if d != took {
				t.Errorf("%s: took %v, want %v", what, d, took)
			}
		}
		w.set("a", fake{takes: 400 * ms})
		w.set("b", fake{takes: 50 * ms})
		dial("nothing known", "b", 300*ms)
		for i := range 20 { // of 20, the p95 is the second slowest
			w.set("a", fake{takes: time.Duration(i+1) * ms})
			dial("in time", "a", time.Duration(i+1)*ms)
		}
		if m := member(c, "a"); m.P95 != 19*ms {
			t.Errorf("p95 is %v", m.P95)
		}
		w.set("a", fake{takes: 60 * ms})
		w.askedSince()
		dial("the first wins after the start of the second", "a", 60*ms)
		expect(t, "asked", w.askedSince(), "a b")
		w.set("a", fake{takes: 500 * ms})
		dial("the second wins", "b", 70*ms) // p95 is 20 ms by now
		if !member(c, "a").Alive {
			t.Error("a was marked for being slow once")
		}
		w.set("a", fake{silent: true})
		for range 3 {
			w.took(c, 30*time.Second)
		}
		if member(c, "a").Alive {
			t.Error("a is alive, and was overtaken many times in a row")
		}
		dial("without a", "b", 50*ms)
		w.nothingOpen()
	})
}

// TestFailureStartsTheNextAtOnce, whatever the timers say.
func TestFailureStartsTheNextAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set("a", fake{silent: true})
		w.set("b", fake{takes: 30 * ms, phase: chain.PhaseAuth, err: errOdd})
		w.set("c", fake{takes: 10 * ms})
		c := w.group(chain.GroupOptions{Strategy: chain.Race}, "a", "b", "c")
		by, d := w.took(c, time.Minute)
		expect(t, "served", by, "c")
		if d != 290*ms {
			t.Errorf("took %v", d)
		}
		w.nothingOpen()
	})
}

func TestFastest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set("a", fake{takes: 300 * ms})
		w.set("b", fake{takes: 100 * ms})
		w.set("c", fake{takes: 130 * ms})
		c := w.group(chain.GroupOptions{Strategy: chain.Fastest, Rand: half}, "a", "b", "c")
		for range 6 {
			w.via(t.Context(), c)
		}
		// Each is measured once. c is within the tolerance of b, and stays.
		expect(t, "order", w.askedSince(), "a b c c c c")
		for i := range 40 { // they take turns at being faster by a little
			w.set("c", fake{takes: time.Duration(90+i%2*50) * ms})
			w.via(t.Context(), c)
		}
		if got := w.askedSince(); len(got) != 40*2-1 || got[0] != 'c' {
			t.Errorf("order %s", got)
		}
		w.set("c", fake{takes: 100 * ms, phase: chain.PhaseConnect, err: errOdd})
		expect(t, "a target that c does not reach", w.via(t.Context(), c), "b")
		w.set("c", fake{takes: 100 * ms})
		expect(t, "the next target", w.via(t.Context(), c), "c")
		w.set("c", fake{takes: 400 * ms})
		for range 4 {
			w.via(t.Context(), c)
		}
		expect(t, "slower by far", w.via(t.Context(), c), "b")
		w.set("b", fake{refuses: true})
		expect(t, "dead", w.via(t.Context(), c), "c")
	})
}

// TestFastestByProbes: traffic does not count, whose targets differ.
func TestFastestByProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set("a", fake{takes: 300 * ms})
		w.set("b", fake{takes: 100 * ms})
		c := w.group(chain.GroupOptions{
			Strategy: chain.Fastest, Rand: half, Probe: chain.Probe{Target: "probe:80", Every: 10 * time.Second},
		}, "a", "b")
		expect(t, "at first", w.via(t.Context(), c), "a")
		time.Sleep(2 * time.Second)
		expect(t, "measured", w.via(t.Context(), c), "b")
		w.set("a", fake{takes: 10 * ms})
		time.Sleep(10 * time.Second)
		w.set("b", fake{takes: 110 * ms})
		for range 8 { // a's measure is smoothed
			time.Sleep(10 * time.Second)
			w.via(t.Context(), c)
		}
		expect(t, "faster by now", w.via(t.Context(), c), "a")
		w.askedSince()
		for range 10 { // traffic by way of a does not spare its probes
			time.Sleep(5 * time.Second)
			w.via(t.Context(), c)
		}
		if got := w.askedSince(); strings.Count(got, "a") != 15 || strings.Count(got, "b") != 5 {
			t.Errorf("asked %s", got)
		}
		_ = c.Close()
	})
}
