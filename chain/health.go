package chain

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	firstMark  = time.Second     // how long a member is left alone after its first failure
	longest    = 5 * time.Minute // and after many
	maxStrikes = 3               // so many doubts in a row are a failure
	window     = 20              // opens that the p95 is of
)

// A clock counts nanoseconds from the time that a combinator was built; never 0.
type clock struct{ epoch time.Time }

func (c clock) now() int64             { return int64(time.Since(c.epoch)) + 1 }
func (c clock) time(n int64) time.Time { return c.epoch.Add(time.Duration(n - 1)) }

// health is what is known of a member: alive, or marked dead until a time. After
// that one trial decides: success revives it, failure doubles the wait.
type health struct {
	until    atomic.Int64 // 0 when alive
	trial    atomic.Bool  // one is under way
	strikes  atomic.Int32
	live     atomic.Int64 // tunnels and dials in progress
	latency  atomic.Int64 // smoothed; 0 when not measured
	p95      atomic.Int64 // of successful opens; 0 when not measured
	proved   atomic.Int64 // when it was last seen alive
	lastPick atomic.Int64 // a count of picks

	mu       sync.Mutex
	failures int // in a row
	since    int64
	err      error
	opens    [window]int64
	count    int
}

// usable reports whether traffic may go there at the time now. trials tells
// whether traffic also tries what was marked, or leaves that to probes.
func (h *health) usable(now int64, trials bool) bool {
	u := h.until.Load()
	return u == 0 || trials && now >= u && !h.trial.Load()
}

// begin claims the trial if h is due for one. It is false if another has it.
func (h *health) begin(now int64) (trial, ok bool) {
	if u := h.until.Load(); u == 0 || now < u {
		return false, true
	}
	claimed := h.trial.CompareAndSwap(false, true)
	return claimed, claimed
}

// mark takes note of a failure of a dial that began at began. What began before
// an earlier mark ran out tells nothing that the mark does not.
func (h *health) mark(now, began int64, err error, rnd func() float64) (marked bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err = err
	u := h.until.Load()
	if u != 0 && began < u {
		return false
	}
	h.strikes.Store(0)
	if u == 0 {
		h.since = now
	}
	d := longest
	if h.failures < 9 {
		d = min(d, firstMark<<h.failures)
	}
	h.failures++
	h.until.Store(now + int64(jitter(d, rnd)))
	return true
}

// strike takes note of a doubt; several in a row are a failure.
func (h *health) strike(now, began int64, err error, rnd func() float64) (marked bool) {
	return h.strikes.Add(1) >= maxStrikes && h.mark(now, began, err, rnd)
}

// alive takes note of a sign of life.
func (h *health) alive(now int64) {
	h.proved.Store(now)
	if h.strikes.Load() != 0 {
		h.strikes.Store(0)
	}
	if h.until.Load() == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.until.Swap(0) != 0 {
		h.since = now
	}
	h.failures = 0
}

// smooth takes a measure of latency.
func (h *health) smooth(took int64) {
	if old := h.latency.Load(); old != 0 {
		took = old + (took-old)/4
	}
	h.latency.Store(max(took, 1)) // of two at once, one is lost: no harm
}

// opened takes how long a successful open took.
func (h *health) opened(took int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.opens[h.count%window] = took
	h.count++
	// Of 20, the 95th percentile is the second from above; of fewer, the first.
	var first, second int64
	for _, t := range h.opens[:min(h.count, window)] {
		switch {
		case t > first:
			first, second = t, first
		case t > second:
			second = t
		}
	}
	if h.count >= window {
		first = second
	}
	h.p95.Store(max(first, 1))
}

// jitter returns d, give or take a fifth.
func jitter(d time.Duration, rnd func() float64) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*rnd()))
}

// A MemberStatus tells people how a member of a group is, or a hop of a chain
// that skips dead ones.
type MemberStatus struct {
	Name     string
	Alive    bool
	Since    time.Time     // when it became so
	Retry    time.Time     // when it is tried again, if it is not alive
	Latency  time.Duration // smoothed; 0 if not measured
	P95      time.Duration // of the last successful opens
	Live     int           // tunnels (see Lease) and dials in progress
	Failures int           // in a row
	Err      error         // the last, if any
}

func (h *health) status(name string, c clock) MemberStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	u := h.until.Load()
	s := MemberStatus{
		Name: name, Alive: u == 0, Since: c.time(max(h.since, 1)),
		Latency: time.Duration(h.latency.Load()), P95: time.Duration(h.p95.Load()),
		Live: int(h.live.Load()), Failures: h.failures, Err: h.err,
	}
	if u != 0 {
		s.Retry = c.time(u)
	}
	return s
}

// A GroupStatus tells people how a group is, or a chain that skips dead hops.
type GroupStatus struct {
	Name    string
	Members []MemberStatus
}

// reporter is a dialer that has groups in it, or is one.
type reporter interface{ Groups() []GroupStatus }

func (l *layer) Groups() []GroupStatus {
	if s, ok := l.Dialer.(reporter); ok {
		return s.Groups()
	}
	return nil
}
