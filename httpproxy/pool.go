package httpproxy

import (
	"sync"
	"time"

	"github.com/byway-proxy/byway/internal/h2"
)

const (
	// maxSpread is how many sessions bulk is spread over. Others are made only
	// when those that are there have no room.
	maxSpread = 4

	// surplus closes a session that is not the only one when it has had no tunnel
	// for as long.
	surplus = 30 * time.Second
)

// pool holds the sessions of one hop and identity.
type pool struct {
	idle  time.Duration // closes the only session too
	ahead func()        // begins to open one more; it must not block

	mu       sync.Mutex
	sessions []*pooled
	closed   bool
}

// pooled is a session of the pool.
type pooled struct {
	*h2.Session
	out   bool        // it gets no more tunnels, and is closed with its last
	since time.Time   // it has been idle, if it is
	timer *time.Timer // looks after it then
}

// A candidate is a session that may get a tunnel.
type candidate struct {
	*pooled
	h2.State
	flows int // of bulk
}

// before reports whether a tunnel should rather go to c than to d, which is newer. Bulk is
// avoided; then a server with larger windows is preferred.
func (c *candidate) before(d *candidate) bool {
	switch {
	case c.Bulk != d.Bulk:
		return d.Bulk
	case c.flows != d.flows:
		return c.flows < d.flows
	}
	return c.Window >= d.Window
}

// reserve returns a session with a slot reserved on it, or nil. Of those that are as
// good it is the oldest, so that the others can fall idle. One that owes an answer
// gets no tunnel.
func (p *pool) reserve() *h2.Session {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]candidate, 0, 2*maxSpread)
	for _, one := range p.sessions {
		c := candidate{pooled: one, State: one.State()}
		if one.out || c.Ended || c.Doubt {
			continue
		}
		if c.Bulk {
			c.flows = one.Flows()
		}
		all = append(all, c)
	}
	for len(all) > 0 {
		best := 0
		for i := range all {
			if !all[best].before(&all[i]) {
				best = i
			}
		}
		if all[best].Reserve() {
			if all[best].Bulk && len(p.sessions) < maxSpread {
				p.ahead()
			}
			return all[best].Session
		}
		all = append(all[:best], all[best+1:]...)
	}
	return nil
}

// open reports whether there is a session that may get tunnels.
func (p *pool) open() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range p.sessions {
		if !one.out && !one.State().Ended {
			return true
		}
	}
	return false
}

// add puts s into the pool, and reports whether the pool is open.
func (p *pool) add(s *h2.Session) bool {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return false
	}
	p.sessions = append(p.sessions, &pooled{Session: s})
	p.mu.Unlock()
	p.changed(s) // it may have something to tell already
	return true
}

// changed looks at a session that has news. One that is not in the pool yet is
// looked at when it is added.
func (p *pool) changed(s *h2.Session) {
	state := s.State()
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.index(s)
	if at < 0 {
		return
	}
	one := p.sessions[at]
	one.out = one.out || state.Ended
	switch {
	case state.Streams == 0 && one.out:
		p.remove(at)
		go s.CloseIdle() // to say goodbye may take time
	case state.Streams == 0:
		one.since = time.Now()
		p.look(one, min(surplus, p.idle))
	case state.Bulk && p.crowded():
		p.ahead()
	}
}

// crowded reports whether any tunnel would have to share a session with bulk, and one
// more session is allowed; mu is held.
func (p *pool) crowded() bool {
	n := 0
	for _, one := range p.sessions {
		state := one.State()
		if one.out || state.Ended {
			continue
		}
		if !state.Bulk && !state.Doubt {
			return false
		}
		n++
	}
	return n < maxSpread
}

// look looks after an idle session in a while; mu is held.
func (p *pool) look(one *pooled, after time.Duration) {
	if one.timer == nil {
		one.timer = time.AfterFunc(after, func() { p.rest(one) })
	} else {
		one.timer.Reset(after)
	}
}

// rest closes a session that has been idle for long.
func (p *pool) rest(one *pooled) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.index(one.Session)
	if at < 0 || one.State().Streams > 0 {
		return
	}
	limit := p.idle
	if len(p.sessions) > 1 {
		limit = min(surplus, limit)
	}
	if left := limit - time.Since(one.since); left > 0 {
		p.look(one, left)
		return
	}
	p.remove(at)
	// Slots are reserved under mu, so it is still idle.
	go one.CloseIdle()
}

func (p *pool) index(s *h2.Session) int {
	for i, one := range p.sessions {
		if one.Session == s {
			return i
		}
	}
	return -1
}

func (p *pool) remove(at int) {
	if t := p.sessions[at].timer; t != nil {
		t.Stop()
	}
	p.sessions = append(p.sessions[:at:at], p.sessions[at+1:]...)
}

// close ends the sessions: at once where no tunnel is, else with the last one.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for i := len(p.sessions) - 1; i >= 0; i-- {
		one := p.sessions[i]
		one.out = true
		if one.State().Streams == 0 {
			p.remove(i)
			go one.CloseIdle()
		}
	}
}
