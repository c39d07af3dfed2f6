package socks

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/byway-proxy/byway/chain"
)

// passing is what is known about whether a hop passes on what comes behind a
// request. Its zero value is that of a hop not met yet.
//
// Some servers lose it: they read the request into a buffer, and relay from the conn.
// Then the target waits for what it never gets, which looks like a slow target. So
// it is not found out with a client's data, but with three bytes of ours: the hop is
// asked for a tunnel to its own address, with a greeting behind the request. If that is
// answered, it was passed on.
type passing struct {
	mu     sync.Mutex
	works  bool
	asking bool
	after  time.Time // it is not asked again before that
}

func (p *passing) known() (works bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.works
}

// begin reports whether the caller is to find out anew, and then calls settle.
func (p *passing) begin() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asking || time.Now().Before(p.after) {
		return false
	}
	p.asking = true
	return true
}

func (p *passing) settle(works bool, pause time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.works, p.asking, p.after = works, false, time.Now().Add(pause)
}

// firstData returns what may go along with a request of ctx, or nil.
func (d *dialer5) firstData(ctx context.Context) *chain.FirstData {
	first := chain.FirstDataOf(ctx)
	if d.pipeline == Off || d.pipeline == Auto && !d.learnt.passing.known() {
		return nil
	}
	return first
}

// find finds out, in the background, whether the hop passes on, if a dial with ctx
// would have liked to know. That dial has ended, so that it was not kept from the
// trials of pipelining on the path. It goes the way of the tunnels of ctx's identity.
func (d *dialer5) find(ctx context.Context) {
	if first := chain.FirstDataOf(ctx); d.pipeline != Auto || first == nil || first.AsKnown {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed.Err() != nil || !d.learnt.passing.begin() {
		return
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(d.closed, cancel)
	d.finding.Go(func() {
		defer cancel()
		defer stop()
		err := d.greetSelf(ctx)
		switch {
		case err == nil:
			d.learnt.passing.settle(true, longPause)
		case ctx.Err() != nil:
			d.learnt.passing.settle(false, 0)
		case errors.Is(err, errNotReached):
			d.learnt.passing.settle(false, firstPause)
		default:
			d.learnt.passing.settle(false, longPause)
		}
	})
}

var (
	errNotReached = errors.New("the hop was not reached")
	errNoSelf     = errors.New("the hop has no address of its own")
)

// greetSelf reports whether the hop passed a greeting on to itself, sent along with
// the request. One byte is sent in the request's segment and two behind it.
func (d *dialer5) greetSelf(ctx context.Context) error {
	self, err := parseTarget(d.addr)
	if err != nil || strings.HasSuffix(self.name, ".invalid") { // RFC 6761 §6.4
		return errNoSelf
	}
	conn, err := d.Prepare(ctx)
	if err != nil {
		return errors.Join(errNotReached, err)
	}
	conn, err = d.shake(ctx, conn, chain.PhaseConnect, func(x *exchange) error {
		x.out = append(self.append(append(x.out, version5, commandConnect, 0)), version5)
		if err := x.flush(); err != nil {
			return err
		}
		x.out = append(x.out, 1, d.method())
		if err := readReply(x); err != nil {
			return err
		}
		choice, err := x.next(2)
		if err == nil && choice[0] != version5 {
			err = errGarbage
		}
		return err
	})
	if err == nil {
		_ = conn.Close()
	}
	return err
}

// Close ends what is being found out.
func (d *dialer5) Close() error {
	d.mu.Lock()
	d.close()
	d.mu.Unlock()
	d.finding.Wait()
	return nil
}

// along sends what x holds, and awaits the answer to it. Behind a request first
// data may go along. Nothing but a refusal shows that none of it was passed on: an end
// in order may be what a hop in between made of a reset, which can overtake a reply.
func along(x *exchange, first *chain.FirstData, await func() error) error {
	if err := x.flush(); err != nil {
		return err
	}
	return first.Along(x.conn, func() (acted bool, err error) {
		err = await()
		return !isRefusal(err), err
	})
}

// isRefusal reports whether the hop gave an answer by which the handshake ends.
func isRefusal(err error) bool {
	var code ReplyCode
	return errors.As(err, &code) || errors.Is(err, errRejected) || errors.Is(err, errMethod)
}
