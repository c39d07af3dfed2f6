package ssh

import (
	"context"
	"errors"
	"net"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/byway-proxy/byway/chain"
)

// dialer is the dialer of a hop; it holds one connection.
type dialer struct {
	next     chain.Dialer
	addr     string
	o        Options
	verifier verifier
	signers  []ssh.Signer

	mu      sync.Mutex
	current *link
	opening *opening
	closed  bool
}

// DialContext opens a tunnel. One that found the connection dead is tried again on
// a new one.
func (d *dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if network != "tcp" {
		return nil, chain.Fail(chain.PhaseConnect, &net.OpError{Op: "dial", Net: network, Err: errors.ErrUnsupported})
	}
	to, err := parseTarget(addr)
	if err != nil {
		return nil, chain.Fail(chain.PhaseConnect, err)
	}
	for {
		l, fresh, err := d.link(ctx)
		if err != nil {
			return nil, err
		}
		conn, err := l.open(ctx, to)
		if err == nil {
			return conn, nil
		}
		if fresh || !errors.Is(err, errStale) {
			return nil, chain.Fail(chain.PhaseConnect, err)
		}
	}
}

// Close closes the connection: at once without tunnels, else with the last one.
func (d *dialer) Close() error {
	d.mu.Lock()
	l := d.current
	d.current, d.closed = nil, true
	d.mu.Unlock()
	if l != nil {
		l.retire()
	}
	return nil
}

// Holdings is of [chain.HoldingsOf].
func (d *dialer) Holdings() chain.Holdings {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.current == nil {
		return chain.Holdings{}
	}
	return chain.Holdings{Sessions: 1}
}

// link returns a live connection with one tunnel counted on it, and whether it was
// made for this dial.
func (d *dialer) link(ctx context.Context) (l *link, fresh bool, err error) {
	d.mu.Lock()
	switch {
	case d.closed:
		d.mu.Unlock()
		return nil, false, chain.Fail(chain.PhaseConnect, net.ErrClosed)
	case d.current != nil && d.current.acquire():
		l = d.current
		d.mu.Unlock()
		return l, false, nil
	}
	o := d.join(ctx)
	d.mu.Unlock()

	select {
	case <-o.done:
		l, err = o.link, o.err
	case <-ctx.Done():
		err = chain.Fail(chain.PhaseDial, context.Cause(ctx))
		if d.leave(ctx, o) {
			err = chain.GivenUp(ctx, o.done, func() error { return o.err })
		}
		return nil, true, err
	}
	if err == nil && !l.acquire() {
		err = chain.Fail(chain.PhaseConnect, errStale)
	}
	d.leave(ctx, o)
	return l, true, err
}

// An opening is a connection on its way, for which several dials may wait.
type opening struct {
	done    chan struct{}
	waiters int // guarded by the dialer's mu
	cancel  context.CancelCauseFunc
	link    *link
	err     error
}

// join has the caller, who holds mu, wait for a connection.
func (d *dialer) join(ctx context.Context) *opening {
	o := d.opening
	if o == nil {
		octx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
		o = &opening{done: make(chan struct{}), cancel: cancel}
		d.opening = o
		go d.run(octx, o)
	}
	o.waiters++
	return o
}

// leave ends a wait. What nobody waits for is given up: it reports whether that is so.
func (d *dialer) leave(ctx context.Context, o *opening) (last bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if o.waiters--; o.waiters > 0 {
		return false
	}
	o.cancel(context.Cause(ctx))
	if d.opening == o {
		d.opening = nil // nobody joins what was cancelled
	}
	return true
}

func (d *dialer) run(ctx context.Context, o *opening) {
	l, err := d.connect(ctx)
	d.mu.Lock()
	if err == nil && d.closed {
		err = chain.Fail(chain.PhaseConnect, net.ErrClosed)
	}
	if err == nil && d.opening == o {
		d.current = l
	} else if l != nil {
		defer l.retire() // nobody would come for it
		if err == nil {
			err = chain.Fail(chain.PhaseConnect, context.Canceled)
		}
	}
	if d.opening == o {
		d.opening = nil
	}
	o.link, o.err = l, err
	d.mu.Unlock()
	close(o.done)
}
