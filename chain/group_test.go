package chain_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
)

var errOdd = errors.New("odd")

func TestGroupRefuses(t *testing.T) {
	w := newWorld(t)
	a := chain.Member{Hop: w.hop("a")}
	for name, h := range map[string]chain.Hop{
		"empty group":       chain.Group("g", chain.GroupOptions{}),
		"twice the name":    chain.Group("g", chain.GroupOptions{}, a, a),
		"negative weight":   chain.Group("g", chain.GroupOptions{}, chain.Member{Hop: w.hop("a"), Weight: -1}),
		"zero hop":          chain.Group("g", chain.GroupOptions{}, chain.Member{}),
		"nil dialer":        chain.Group("g", chain.GroupOptions{}, a, chain.Member{Hop: chain.Hop{Name: "n", Wrap: nilDialer}}),
		"no such strategy":  chain.Group("g", chain.GroupOptions{Strategy: 99}, a),
		"no such By":        chain.Group("g", chain.GroupOptions{By: -1}, a),
		"bad probe":         chain.Group("g", chain.GroupOptions{Probe: chain.Probe{Target: "ftp://x/"}}, a),
		"empty sequence":    chain.Sequence("s"),
		"nested empty":      chain.Sequence("s", w.hop("a"), chain.Group("g", chain.GroupOptions{})),
		"empty dynamic":     chain.Dynamic("d", chain.DynamicOptions{}),
		"dynamic least":     chain.Dynamic("d", chain.DynamicOptions{Least: 2}, w.hop("a")),
		"zero hop, dynamic": chain.Dynamic("d", chain.DynamicOptions{}, chain.Hop{}),
		"random of none":    chain.Random("r", chain.RandomOptions{}, w.hop("a")),
		"random too many":   chain.Random("r", chain.RandomOptions{Hops: 2}, w.hop("a")),
		"failing, random":   chain.Random("r", chain.RandomOptions{Hops: 1}, chain.Hop{Name: "f", Wrap: failing}),
	} {
		if c, err := chain.New(testnet.NoDial(t), h); err == nil || c != nil {
			t.Errorf("%s: got %v, %v; want an error", name, c, err)
		}
		if d, err := h.Wrap(nil); err == nil || d != nil {
			t.Errorf("%s over nothing: got %v, %v; want an error", name, d, err)
		}
	}
}

// TestFailover has a first member that fails in each way there is.
func TestFailover(t *testing.T) {
	for name, test := range map[string]struct {
		a     fake
		want  string // the member that served, or the error
		asked string
		alive bool
	}{
		"well":              {fake{}, "a", "a", true},
		"cannot be dialled": {fake{refuses: true}, "b", "b", false},
		"tls":               {fake{phase: chain.PhaseTLS, err: errOdd}, "b", "a b", false},
		"auth":              {fake{phase: chain.PhaseAuth, err: errOdd}, "b", "a b", false},
		"reset":             {fake{phase: chain.PhaseConnect, err: syscall.ECONNRESET}, "b", "a b", false},
		"target refuses":    {fake{phase: chain.PhaseConnect, err: syscall.ECONNREFUSED}, "hop 1/1 g/a: connect: connection refused", "a", true},
		"forbidden":         {fake{phase: chain.PhaseConnect, err: syscall.EACCES}, "hop 1/1 g/a: connect: permission denied", "a", true},
		"not supported":     {fake{phase: chain.PhaseConnect, err: errors.ErrUnsupported}, "b", "a b", true},
		"unreachable":       {fake{phase: chain.PhaseConnect, err: syscall.EHOSTUNREACH}, "b", "a b", true},
		"general failure":   {fake{phase: chain.PhaseConnect, err: errOdd}, "b", "a b", true},
		"busy":              {fake{phase: chain.PhaseConnect, err: syscall.EMFILE}, "b", "a b", true},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.set("a", test.a)
			c := w.group(chain.GroupOptions{}, "a", "b", "c")
			expect(t, name, w.via(t.Context(), c), test.want)
			expect(t, name+": asked", w.askedSince(), test.asked)
			if m := member(c, "a"); m.Alive != test.alive || m.Live != 0 {
				t.Errorf("%s: %+v", name, m)
			}
			if test.want == "b" {
				want := "b"
				if test.alive {
					want = "a b"
				}
				w.via(t.Context(), c)
				expect(t, name+": asked again", w.askedSince(), want)
			}
			w.nothingOpen()
		})
	}
}

// TestDoubt: unreachable targets convict nobody, unless another member reaches them.
func TestDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		unreachable := fake{phase: chain.PhaseConnect, err: syscall.EHOSTUNREACH}
		w.set("a", unreachable)
		w.set("b", unreachable)
		c := w.group(chain.GroupOptions{Rand: half}, "a", "b")
		for range 10 {
			got := w.via(t.Context(), c)
			expect(t, "error", got, "hop 1/1 g: connect: all 2 that were tried failed: g/a: connect: no route to host; g/b: connect: no route to host")
		}
		if !member(c, "a").Alive || !member(c, "b").Alive {
			t.Error("a target that can't be reached killed the members")
		}
		w.set("b", fake{})
		for i := range 3 {
			if !member(c, "a").Alive {
				t.Errorf("a is dead after %d doubts", i)
			}
			expect(t, "served", w.via(t.Context(), c), "b")
		}
		if member(c, "a").Alive {
			t.Error("a is alive after 3 doubts")
		}
	})
}

// TestAllDead: nothing but members is tried, each once, and the error tells of all.
func TestAllDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set("a", fake{refuses: true})
		w.set("b", fake{phase: chain.PhaseAuth, err: errors.New("rejected")})
		c := w.chain(w.hop("x"), chain.Group("g", chain.GroupOptions{Rand: half}, w.members("a", "b")...), w.hop("z"))
		for range 3 { // the second time, both are marked
			_, err := c.Dial("tcp", "secret.example:443")
			want := "hop 2/3 g: auth: all 2 that were tried failed: g/a: dial: connection refused; g/b: auth: rejected"
			if err == nil || err.Error() != want {
				t.Fatalf("error %v", err)
			}
			var (
				e   *chain.Error
				all *chain.GroupError
			)
			if !errors.As(err, &e) || e.Hop != 2 || e.Hops != 3 || e.Phase != chain.PhaseAuth || chain.Errno(err) != 0 {
				t.Errorf("error %+v", e)
			}
			if !errors.As(err, &all) || len(all.Causes) != 2 || !errors.Is(all.Causes[0], syscall.ECONNREFUSED) {
				t.Errorf("causes %+v", all)
			}
			expect(t, "asked", w.askedSince(), "x x b")
		}
		w.set("b", fake{})
		expect(t, "a marked member is the last resort", w.via(t.Context(), c), "x-b-z")
	})
}

// TestBelowIsNotTheMembers: a hop before the group fails, or the base does.
func TestBelowIsNotTheMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for want, x := range map[string]fake{
			"hop 1/2 x: dial: connection refused":   {refuses: true},
			"hop 1/2 x: auth: odd":                  {phase: chain.PhaseAuth, err: errOdd},
			"hop 1/2 x: connect: permission denied": {phase: chain.PhaseConnect, err: syscall.EACCES},
		} {
			w := newWorld(t)
			w.set("x", x)
			c := w.chain(w.hop("x"), chain.Group("g", chain.GroupOptions{}, w.members("a", "b")...))
			expect(t, "error", w.via(t.Context(), c), want)
			if !member(c, "a").Alive {
				t.Errorf("%s: a was marked", want)
			}
		}
		w := newWorld(t) // x says that a refuses: that is a's failure
		w.set("a", fake{refuses: true})
		c := w.chain(w.hop("x"), chain.Group("g", chain.GroupOptions{}, w.members("a", "b")...), w.hop("z"))
		expect(t, "served", w.via(t.Context(), c), "x-b-z")
		if member(c, "a").Alive {
			t.Error("a is alive")
		}
		w.set("z", fake{refuses: true}) // and what b says of z is z's
		expect(t, "error", w.via(t.Context(), c), "hop 3/3 z: dial: connection refused")
	})
}

// TestMiddleware: a hop that wraps next itself hides nothing that the group needs.
func TestMiddleware(t *testing.T) {
	w := newWorld(t)
	w.set("a", fake{refuses: true})
	g := chain.Group("g", chain.GroupOptions{}, w.members("a", "b")...)
	c := w.chain(chain.Hop{Name: "m", Wrap: func(next chain.Dialer) (chain.Dialer, error) {
		return g.Wrap(chain.DialerFunc(next.DialContext))
	}})
	expect(t, "served", w.via(t.Context(), c), "b")
}

func TestRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		began := time.Now()
		w.set("a", fake{refuses: true})
		c := w.group(chain.GroupOptions{Rand: half}, "a", "b")
		dead := func() time.Duration { return time.Until(member(c, "a").Retry) }
		for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300} {
			want *= time.Second
			w.via(t.Context(), c)
			if got := dead(); got != want || member(c, "a").Failures != i+1 {
				t.Fatalf("failure %d: marked for %v, want %v", i+1, got, want)
			}
			if since := member(c, "a").Since.Sub(began); since != 0 {
				t.Errorf("dead since %v", since)
			}
			time.Sleep(want - time.Nanosecond)
			w.via(t.Context(), c) // too early for a trial
			time.Sleep(time.Nanosecond)
		}
		w.set("a", fake{takes: time.Second / 4})
		w.askedSince()
		var wg sync.WaitGroup
		for range 5 { // one of them is the trial
			wg.Go(func() { w.via(t.Context(), c) })
		}
		wg.Wait()
		if got := w.askedSince(); strings.Count(got, "a") != 1 {
			t.Errorf("the trial: %s", got)
		}
		expect(t, "served", w.via(t.Context(), c), "a")
		if m := member(c, "a"); !m.Alive || m.Failures != 0 || m.Err == nil {
			t.Errorf("status %+v", m)
		}
	})
}

// TestManyFailAtOnce: dials that were under way tell no more than the first of them.
func TestManyFailAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set("a", fake{takes: time.Second / 2, phase: chain.PhaseAuth, err: errOdd})
		c := w.group(chain.GroupOptions{Rand: half}, "a", "b")
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { w.via(t.Context(), c) })
		}
		wg.Wait()
		if m := member(c, "a"); m.Failures != 1 {
			t.Errorf("status %+v", m)
		}
	})
}

// TestCallerGivesUp: that marks nobody, and a trial can be taken again.
func TestCallerGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set("a", fake{silent: true})
		c := w.group(chain.GroupOptions{}, "a", "b")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/10)
		defer cancel()
		got := w.via(ctx, c)
		expect(t, "error", got, "hop 1/1 g/a: connect: timed out")
		expect(t, "asked", w.askedSince(), "a")
		if !member(c, "a").Alive {
			t.Error("a was marked")
		}
		expect(t, "over", w.via(ctx, c), "hop 1/1 g: dial: timed out")
		w.set("a", fake{refuses: true})
		expect(t, "failover", w.via(t.Context(), c), "b")
		time.Sleep(2 * time.Second)
		w.set("a", fake{silent: true})
		ctx, cancel = context.WithTimeout(t.Context(), time.Second/10)
		defer cancel()
		w.via(ctx, c) // the trial, given up
		w.set("a", fake{})
		expect(t, "the trial again", w.via(t.Context(), c), "a")
		w.nothingOpen()
	})
}
