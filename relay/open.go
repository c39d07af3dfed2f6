package relay

import (
	"context"
	"net"
	"time"

	"github.com/byway-proxy/byway/chain"
)

// open registers the tunnel and dials. On success the tunnel owns conn.
func (r *Relay) open(ctx context.Context, q Request, d Decision, first *chain.FirstData) (*tunnel, net.Conn, error) {
	t, err := r.begin(q, d)
	if err != nil {
		return nil, nil, err
	}
	conn, _, err := t.dial(ctx, first)
	return t, conn, err
}

// begin registers a tunnel.
func (r *Relay) begin(q Request, d Decision) (*tunnel, error) {
	if d.Dialer == nil {
		return nil, ErrBlocked
	}
	t := &tunnel{relay: r, request: q, decision: d, began: time.Now()}
	err := r.live.add(t)
	if err == nil {
		if err = t.charge(); err != nil {
			r.live.remove(t)
		}
	}
	if err != nil {
		r.Trace.failed(q, d, err)
		return nil, err
	}
	return t, nil
}

// dial opens the way to the target. On success the tunnel owns conn, on failure
// it has left the register. rest is what of first, which may be nil, is still to
// be sent.
func (t *tunnel) dial(ctx context.Context, first *chain.FirstData) (conn net.Conn, rest []byte, err error) {
	r, q := t.relay, &t.request
	meant := q.Meant(t.decision)
	ctx = chain.WithLease(chain.WithIdentity(ctx, r.Identity(&meant)), &t.lease)
	ctx, cancel := context.WithTimeout(ctx, r.dialLimit())
	defer cancel()
	t.cancel.Store(&cancel)
	if first != nil {
		ctx = chain.WithFirstData(ctx, first)
	}
	conn, err = t.reach(ctx, meant.Addr)
	if err == nil && first != nil {
		rest, err = t.settle(first, conn)
	}
	if err == nil && !r.live.attach(t, conn) {
		err = ErrClosed
	}
	if err != nil {
		t.fail(err)
		return nil, nil, err
	}
	t.cancel.Store(nil) // lest it keep what belongs to the dial
	t.opened = true
	if t.meter = r.Trace.meter(*q, t.decision); t.meter != nil {
		t.meter.up(t.up)
	}
	r.Trace.opened(*q, t.decision, time.Since(t.began))
	return conn, rest, nil
}

// reach has the Dialer dial addr, or what the decision says in its place.
func (t *tunnel) reach(ctx context.Context, addr string) (conn net.Conn, err error) {
	defer chain.Caught(&err)
	if t.decision.Addr != "" {
		addr = t.decision.Addr
	}
	return t.decision.Dialer.DialContext(ctx, t.request.Network, addr)
}

// fail ends a tunnel that was not opened.
func (t *tunnel) fail(err error) {
	t.ended = true
	defer t.relay.live.remove(t)
	t.lease.Release()
	t.settleAccount()
	t.relay.Trace.failed(t.request, t.decision, err)
}

// drop ends a tunnel amid a panic of its owner's, so that nothing of it remains.
func (t *tunnel) drop() {
	t.kill()
	switch {
	case t.ended:
	case t.opened:
		t.err = errDropped
		t.close()
	default:
		t.fail(errDropped)
	}
}
