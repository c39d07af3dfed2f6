package h2

import (
	"sync/atomic"
	"time"
)

// health is what a session knows of its peer's being alive. The session's mu
// guards what is not atomic.
type health struct {
	began    time.Time
	rtt      atomic.Int64  // the least that was measured, in ns; 0 if none was
	heard    atomic.Int64  // when bytes last came, in ns since began
	pinged   time.Duration // when the PING that has no answer yet was sent
	pinging  bool
	pings    uint64
	covered  int // resets that the peer knows of when it answers
	progress int // batches that had been written when a backlog was last seen
	pulse    *time.Timer
}

// unsure is how long an answer may take before new streams go elsewhere.
const unsure = time.Second

func (h *health) start(s *Session) {
	h.began = time.Now()
	h.pinging = true // the SETTINGS, which are acknowledged
	s.mu.Lock()
	defer s.mu.Unlock()
	h.pulse = time.AfterFunc(s.o.PingAfter, s.beat)
}

func (h *health) stop() { h.pulse.Stop() }

// now is the time since the session began, in ns.
func (s *Session) now() int64 { return int64(time.Since(s.began)) }

// ping asks for a sign of life; mu is held.
func (s *Session) ping() {
	if s.pinging {
		return
	}
	s.pinging = true
	s.pinged = time.Since(s.began)
	s.pings++
	s.covered = s.resets
	s.out = appendPing(s.room(), 0, s.pings)
	s.work.Signal()
}

// ponged takes in an answer; mu is held.
func (s *Session) ponged() {
	if !s.pinging {
		return
	}
	s.pinging = false
	s.resets -= s.covered
	s.covered = 0
	took := int64(max(time.Since(s.began)-s.pinged, 1))
	if least := s.rtt.Load(); least == 0 || took < least {
		s.rtt.Store(took)
	}
	if s.resets > 0 {
		s.ping()
	}
}

// question asks, when a stream is opened, whether the peer is still there, unless it
// was heard of just now; mu is held.
func (s *Session) question() {
	if time.Since(s.began)-s.lastHeard() > unsure {
		s.ping()
	}
}

// doubt reports whether the peer is late with an answer; mu is held.
func (s *Session) doubt() bool {
	since := time.Since(s.began)
	return s.pinging && since-max(s.pinged, s.lastHeard()) > max(unsure, 4*time.Duration(s.rtt.Load()))
}

func (s *Session) lastHeard() time.Duration { return time.Duration(s.heard.Load()) }

// beat looks after a peer that is silent.
func (s *Session) beat() {
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return
	}
	since := time.Since(s.began)
	limit := s.o.PingAfter / 2
	switch silent := since - s.lastHeard(); {
	case silent < s.o.PingAfter:
		s.pulse.Reset(s.o.PingAfter - silent)
	case !s.pinging:
		s.ping()
		s.pulse.Reset(limit)
	case since-s.pinged < limit:
		s.pulse.Reset(limit - (since - s.pinged))
	case s.backlog() && s.batches != s.progress:
		// The question is behind bytes which the path still takes, slowly.
		s.progress = s.batches
		s.pulse.Reset(limit)
	default:
		s.mu.Unlock()
		s.fail(&Error{Session: true, Err: errSilent})
		return
	}
	s.mu.Unlock()
}

func (s *Session) backlog() bool { return s.writing || len(s.out) > 0 }
