package chain

import (
	"context"
	"net"
	"time"
)

// Handshake runs f, which speaks over c, under a deadline for reads and writes:
// the earlier of ctx's and limit from now (limit 0 sets none). When ctx ends, f's reads and
// writes fail at once, and Handshake returns the cause of ctx.
//
// After success c has no deadline and no tie to ctx left. On failure c is still
// the caller's to close.
func Handshake(ctx context.Context, c net.Conn, limit time.Duration, f func() error) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	var deadline time.Time
	if limit > 0 {
		deadline = time.Now().Add(limit)
	}
	byCtx := false
	if d, ok := ctx.Deadline(); ok && (deadline.IsZero() || d.Before(deadline)) {
		deadline, byCtx = d, true
	}
	if err := c.SetDeadline(deadline); err != nil {
		return err
	}
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = c.SetDeadline(time.Unix(1, 0))
		close(interrupted)
	})
	err := f()
	if !stop() {
		// The interruption has begun: let it finish, lest it strike a conn that
		// is another's by then.
		<-interrupted
		return context.Cause(ctx)
	}
	if err != nil && byCtx && !time.Now().Before(deadline) {
		// The conn's timer was faster than that of ctx.
		<-ctx.Done()
		return context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	return c.SetDeadline(time.Time{})
}
