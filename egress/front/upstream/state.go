package upstream

import (
	"context"
	"math"
	"time"
)

// Eject says when a server that fails requests gets none for a while: for Time, then twice
// that and so on, up to half an hour, until a single request goes well. It fails one by not answering, or by 502, 503 or 504.
type Eject struct {
	Failures int     // in a row; 0 for never
	Rate     float64 // or of the requests of the last seconds, from 20 on; 0 for never
	Time     time.Duration

	// Share is how many of a pool may be ejected. At 1 that is all of them: then requests
	// fail at once, which is a circuit breaker.
	Share float64
}

const (
	longestEject  = 30 * time.Minute
	leastRequests = 20 // for a rate to mean something
	memory        = 10 * time.Second
)

// state is what a pool knows of a server. The pool's lock guards it.
type state struct {
	leaves context.CancelFunc // ends what looks after it
	cookie string

	active  int
	latency average // nanoseconds
	current float64 // of RoundRobin
	since   time.Time
	seen    map[string]seen // by country, of Nearest

	down bool // by its checks

	failures       int // in a row
	all, bad       average
	ejected, trial bool // trial is the one request that finds out whether it is well
	until          time.Time
	ejections      int // in a row
}

func (s *Server) leave() {
	s.leaves()
	s.Client.Close()
}

// share returns the weight of s at now: less than its own when it has been away.
func (p *Pool) share(s *Server, now time.Time) float64 {
	w := s.Weight
	if w <= 0 {
		w = 1
	}
	if slow := p.set.SlowStart; slow > 0 && !s.since.IsZero() {
		if been := now.Sub(s.since); been < slow {
			return w * max(float64(been)/float64(slow), 0.05)
		}
	}
	return w
}

// note counts how a request went, and ejects s if it is time; it returns until when. The pool is locked.
func (p *Pool) note(s *Server, failed bool, now time.Time) (until time.Time) {
	s.all.count(now, 1)
	if !failed {
		s.bad.count(now, 0)
		s.failures = 0
		if s.ejected && s.trial {
			s.ejected, s.trial, s.since = false, false, now
			s.all, s.bad = average{}, average{}
		} else if !s.ejected && s.ejections > 0 && now.Sub(s.since) > p.set.Eject.Time<<min(s.ejections, 8) {
			s.ejections = 0
		}
		return time.Time{}
	}
	s.bad.count(now, 1)
	s.failures++
	e := p.set.Eject
	again := s.ejected && s.trial
	many := e.Failures > 0 && s.failures >= e.Failures
	often := e.Rate > 0 && s.all.value >= leastRequests && s.bad.value >= e.Rate*s.all.value
	if again || !s.ejected && (many || often) && p.mayEject() {
		s.ejected, s.trial = true, false
		s.until = now.Add(min(e.Time<<min(s.ejections, 16), longestEject))
		s.ejections++
		return s.until
	}
	return time.Time{}
}

// mayEject reports whether one more may be ejected. The pool is locked.
func (p *Pool) mayEject() bool {
	n := 1
	for _, s := range p.servers {
		if s.ejected {
			n++
		}
	}
	return float64(n) <= p.set.Eject.Share*float64(len(p.servers))
}

// An average forgets what was long ago. The zero value knows nothing.
type average struct {
	value float64
	last  time.Time
}

// add takes a sample. What is above the average is believed at once, what is below by and by.
func (a *average) add(now time.Time, sample float64) {
	if a.last.IsZero() || sample > a.value {
		a.value = sample
	} else {
		// Two things move it: samples, by a tenth each, and time.
		keep := 0.9 * math.Exp(-float64(now.Sub(a.last))/float64(memory))
		a.value = keep*a.value + (1-keep)*sample
	}
	a.last = now
}

// at is the average as far as it is remembered: a server that was slow is tried again in time.
func (a *average) at(now time.Time) float64 {
	if a.last.IsZero() {
		return 0
	}
	return a.value * math.Exp(-float64(now.Sub(a.last))/float64(memory))
}

// count makes of a a number of events that are forgotten in time, and adds n.
func (a *average) count(now time.Time, n float64) {
	a.value = a.at(now) + n
	a.last = now
}
