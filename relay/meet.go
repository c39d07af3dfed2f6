package relay

import (
	"context"
	"errors"
	"net"

	"github.com/byway-proxy/byway/chain"
)

// A pending with Ahead knows what its client has said behind the request already:
// the first bytes that the conn of Accept will yield, which are not to be changed.
// They may go along with the request for the tunnel, see [chain.FirstData]. Nobody
// who implements Pending needs it.
type pendingAhead interface{ Ahead() []byte }

// dialFirst dials, and answers what came of it.
func (r *Relay) dialFirst(ctx context.Context, p Pending, q Request, d Decision) (t *tunnel, client, conn net.Conn, err error) {
	var first *chain.FirstData
	if a, ok := p.(pendingAhead); ok {
		if ahead := a.Ahead(); len(ahead) > 0 {
			first = chain.NewFirstData(nil, ahead)
		}
	}
	t, err = r.begin(q, d)
	if err == nil {
		handshakeOver(ctx)
		conn, _, err = t.dial(ctx, first)
	}
	if err != nil {
		return nil, nil, nil, errors.Join(err, p.Reject(err))
	}
	client, err = p.Accept()
	if err != nil {
		_ = conn.Close()
		t.err = err
		t.close()
		return nil, nil, nil, err
	}
	if !r.live.attach(t, client) {
		t.err = ErrClosed
		t.close()
		return nil, nil, nil, ErrClosed
	}
	if t.up > 0 {
		ahead, raw := chain.Raw(client)
		client = chain.Unread(raw, ahead[t.up:])
	}
	return t, client, conn, nil
}

// acceptFirst answers yes, then dials, while the hops may have what the client
// says first. Answers to clients are short, so it does not wait for them to be read.
func (r *Relay) acceptFirst(ctx context.Context, p Pending, q Request, d Decision) (t *tunnel, client, conn net.Conn, err error) {
	t, err = r.begin(q, d)
	if err != nil {
		return nil, nil, nil, errors.Join(err, p.Reject(err))
	}
	handshakeOver(ctx)
	client, err = p.Accept()
	if err == nil && !r.live.attach(t, client) {
		err = ErrClosed
	}
	if err != nil {
		t.fail(err)
		return nil, nil, nil, err
	}
	ahead, raw := chain.Raw(client)
	first := chain.NewFirstData(raw, ahead)
	conn, rest, err := t.dial(ctx, first)
	if err != nil {
		_ = chain.Abort(raw) // an orderly end would pass for the target's
		return nil, nil, nil, err
	}
	return t, chain.Unread(raw, rest), conn, nil
}

// settle takes first back from the hops when one of them has returned conn.
func (t *tunnel) settle(first *chain.FirstData, conn net.Conn) (rest []byte, err error) {
	sent, rest, err := first.Settle(conn)
	if err != nil {
		_ = chain.Abort(conn)
		return nil, err
	}
	t.up = int64(sent)
	return rest, nil
}
