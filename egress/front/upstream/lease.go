package upstream

import (
	"net/http"
	"time"
)

// A Lease is a request's place at a server.
type Lease struct {
	Server *Server

	// Cookie is to be given to the client, if it is not nil: it had none, or
	// one of a server that could not take it.
	Cookie *http.Cookie

	pool    *Pool
	begun   time.Time
	country string // of the client, of Nearest
	told    bool   // how it went
}

// Answered tells that the head of a response has come.
func (l *Lease) Answered(status int) {
	now := time.Now()
	took := now.Sub(l.begun)
	failed := status == http.StatusBadGateway || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout
	p := l.pool
	p.mu.Lock()
	l.told = true
	l.Server.latency.add(now, float64(took))
	if p.set.Pick == Nearest {
		p.saw(l.Server, l.country, took, now)
	}
	until := p.note(l.Server, failed, now)
	p.mu.Unlock()
	if t := p.set.Trace; t != nil && t.Answered != nil {
		t.Answered(l.Server, status, took)
	}
	p.tellEjected(l.Server, until)
}

// Failed tells that there was no response, which is the server's fault.
func (l *Lease) Failed(err error) {
	p := l.pool
	p.mu.Lock()
	l.told = true
	until := p.note(l.Server, true, time.Now())
	p.mu.Unlock()
	if t := p.set.Trace; t != nil && t.Failed != nil {
		t.Failed(l.Server, err)
	}
	p.tellEjected(l.Server, until)
}

func (p *Pool) tellEjected(s *Server, until time.Time) {
	if t := p.set.Trace; t != nil && t.Ejected != nil && !until.IsZero() {
		t.Ejected(s, until)
	}
}

// Release ends the request. It is called once. What was told nothing of, as when
// the client has gone, says nothing of the server.
func (l *Lease) Release() {
	p := l.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	l.Server.active--
	if !l.told {
		l.Server.trial = false
	}
	p.wake()
}
