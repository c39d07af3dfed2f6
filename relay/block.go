package relay

import (
	"context"
	"syscall"
	"time"

	"github.com/byway-proxy/byway/chain"
)

// A Block is what a client gets whose request is blocked.
type Block int

const (
	// Refuse says at once that it is not allowed, in the protocol's words.
	Refuse Block = iota

	// Drop keeps the client waiting until the dial limit has passed, and then says that
	// the target did not answer in time. No more than 256 clients wait at a time: others
	// are refused.
	Drop

	// Page refuses a plain HTTP request with a page that names the rule, and all else
	// as Refuse.
	Page
)

// maxDropped bounds the clients that wait for nothing.
const maxDropped = 256

// ErrBlocked is the error of a request that a rule blocks, or that no rule
// allows. Its errno is EACCES.
var ErrBlocked error = blocked{}

type blocked struct{}

func (blocked) Error() string        { return "blocked by a rule" }
func (blocked) Is(target error) bool { return target == syscall.EACCES }

// A BlockedError is an [ErrBlocked] that knows the rule. Its errno is EACCES, or
// ETIMEDOUT once the client was kept waiting.
type BlockedError struct {
	Rule  string // Decision.Rule
	Block Block

	waited bool
}

func (e *BlockedError) Error() string {
	if e.waited {
		return "timed out"
	}
	return ErrBlocked.Error()
}

// Is reports whether target is [ErrBlocked], or the errno that e stands for.
func (e *BlockedError) Is(target error) bool {
	if e.waited {
		return target == ErrBlocked || target == syscall.ETIMEDOUT
	}
	return target == ErrBlocked || target == syscall.EACCES
}

// block tells the Trace that q is blocked, and returns the error when it is time
// to tell the client.
func (r *Relay) block(ctx context.Context, q Request, d Decision) error {
	err := &BlockedError{Rule: d.Rule, Block: d.Block}
	r.Trace.failed(q, d, err)
	if d.Block != Drop || q.Network != "tcp" {
		return err
	}
	defer r.dropped.Add(-1)
	if r.dropped.Add(1) > maxDropped {
		return err
	}
	handshakeOver(ctx) // those who wait here have a bound of their own
	timer := time.NewTimer(r.dialLimit())
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return &BlockedError{Rule: d.Rule, Block: d.Block, waited: true}
}

// ask has a decision made that takes a look-up.
func (r *Relay) ask(ctx context.Context, q *Request, d Decision) Decision {
	meant := q.Meant(d)
	ctx, cancel := context.WithTimeout(chain.WithIdentity(ctx, r.Identity(&meant)), r.dialLimit())
	defer cancel()
	if d = d.Ask(ctx); d.Ask != nil {
		return Decision{Rule: d.Rule} // no second one
	}
	return d
}
