package relay

import (
	"sync/atomic"
	"time"
)

// A Trace is told what a relay does. Any of its functions may be nil; they are
// called from many goroutines and must not block.
type Trace struct {
	// Opened is called when the target is reached, took after the request.
	Opened func(r Request, d Decision, took time.Duration)

	// Failed is called instead when it is not, or a rule blocks.
	Failed func(r Request, d Decision, err error)

	// Meter, if it returns no nil, is what the bytes of an opened tunnel are added to while they
	// move; several may share it. It is called before Opened.
	Meter func(r Request, d Decision) *Meter

	// Closed is called once for each Opened.
	Closed func(r Request, d Decision, s Stats)

	// BadClient is called when a client of the listener did not come as far as
	// a request: it was silent, spoke garbage, or has no credentials.
	BadClient func(listener string, err error)
}

// A Meter counts bytes as they move: those of a tunnel whose bytes do not pass through user
// space once a second.
type Meter struct{ Up, Down atomic.Int64 }

func (m *Meter) up(n int64) {
	if m != nil && n > 0 {
		m.Up.Add(n)
	}
}

func (m *Meter) down(n int64) {
	if m != nil && n > 0 {
		m.Down.Add(n)
	}
}

func (t *Trace) meter(r Request, d Decision) *Meter {
	if t == nil || t.Meter == nil {
		return nil
	}
	return t.Meter(r, d)
}

// Stats tells how a tunnel went.
type Stats struct {
	Up, Down int64         // bytes from the client, and to it
	Lasted   time.Duration // from the request to the end
	Err      error         // nil if both directions ended in good order
}

// And returns a trace that tells both t and other; either may be nil. Of two meters, other's
// is used if it has one.
func (t *Trace) And(other *Trace) *Trace {
	return &Trace{
		Opened: func(r Request, d Decision, took time.Duration) { t.opened(r, d, took); other.opened(r, d, took) },
		Failed: func(r Request, d Decision, err error) { t.failed(r, d, err); other.failed(r, d, err) },
		Meter: func(r Request, d Decision) *Meter {
			if m := other.meter(r, d); m != nil {
				return m
			}
			return t.meter(r, d)
		},
		Closed:    func(r Request, d Decision, s Stats) { t.closed(r, d, s); other.closed(r, d, s) },
		BadClient: func(listener string, err error) { t.Bad(listener, err); other.Bad(listener, err) },
	}
}

func (t *Trace) opened(r Request, d Decision, took time.Duration) {
	if t != nil && t.Opened != nil {
		t.Opened(r, d, took)
	}
}

func (t *Trace) failed(r Request, d Decision, err error) {
	if t != nil && t.Failed != nil {
		t.Failed(r, d, err)
	}
}

func (t *Trace) closed(r Request, d Decision, s Stats) {
	if t != nil && t.Closed != nil {
		t.Closed(r, d, s)
	}
}

// Refused reports to Failed that r was refused because of err, before it was routed. It may be
// called on a nil Trace.
func (t *Trace) Refused(r Request, err error) { t.failed(r, Decision{Via: "block"}, err) }

// Bad reports err to BadClient. It may be called on a nil Trace.
func (t *Trace) Bad(listener string, err error) {
	if t != nil && t.BadClient != nil && err != nil {
		t.BadClient(listener, err)
	}
}
