package chain

import (
	"context"
	"errors"
	"time"
)

// obeying is how long a dial that was cancelled may take to come back.
const obeying = 100 * time.Millisecond

// GivenUp is for hops whose tunnels wait for a session that is made apart from them,
// and given up with the last that waits. It returns the error of a tunnel whose ctx
// has ended: where the making was stuck (which may be at a hop before), as its error
// tells once it is done, and the cause of ctx. err is called after done is closed.
func GivenUp(ctx context.Context, done <-chan struct{}, err func() error) error {
	timer := time.NewTimer(obeying)
	defer timer.Stop()
	cause := context.Cause(ctx)
	select {
	case <-done:
	case <-timer.C: // something below does not obey its ctx
		return Fail(PhaseDial, cause)
	}
	var e *Error
	switch stuck := err(); {
	case !errors.As(stuck, &e):
		return Fail(PhaseDial, cause)
	case !isTimeout(stuck) && !errors.Is(stuck, context.Canceled):
		return stuck // it failed in that moment
	}
	e = clone(e)
	e.Err = cause
	return e
}
