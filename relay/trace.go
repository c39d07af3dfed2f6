package relay

import "time"

// A Trace is told what a relay does. Any of its functions may be nil; they are
// called from many goroutines and must not block.
type Trace struct {
	// Opened is called when the target is reached, took after the request.
	Opened func(r Request, d Decision, took time.Duration)

	// Failed is called instead when it is not, or a rule blocks.
	Failed func(r Request, d Decision, err error)

	// Closed is called once for each Opened.
	Closed func(r Request, d Decision, s Stats)

	// BadClient is called when a client of the listener did not come as far as
	// a request: it was silent, spoke garbage, or has no credentials.
	BadClient func(listener string, err error)
}

// Stats tells how a tunnel went.
type Stats struct {
	Up, Down int64         // bytes from the client, and to it
	Lasted   time.Duration // from the request to the end
	Err      error         // nil if both directions ended in good order
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

// Bad reports err to BadClient. It may be called on a nil Trace.
func (t *Trace) Bad(listener string, err error) {
	if t != nil && t.BadClient != nil && err != nil {
		t.BadClient(listener, err)
	}
}
