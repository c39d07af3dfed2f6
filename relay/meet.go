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
func (t *tunnel) dialFirst(ctx context.Context, p Pending) (client, conn net.Conn, err error) {
	var first *chain.FirstData
	if a, ok := p.(pendingAhead); ok {
		if ahead := a.Ahead(); len(ahead) > 0 {
			first = chain.NewFirstData(nil, ahead)
		}
	}
	conn, _, err = t.dial(ctx, first)
	if err != nil {
		return nil, nil, errors.Join(err, p.Reject(err))
	}
	client, err = p.Accept()
	if err == nil && !t.relay.live.attach(t, client) {
		err = ErrClosed
	}
	if err != nil {
		_ = conn.Close()
		t.err = err
		t.close()
		return nil, nil, err
	}
	if t.up > 0 {
		ahead, raw := chain.Raw(client)
		client = chain.Unread(raw, ahead[t.up:])
	}
	return client, conn, nil
}

// acceptFirst answers yes, then dials, while the hops may have what the client
// says first. Answers to clients are short, so it does not wait for them to be read.
func (t *tunnel) acceptFirst(ctx context.Context, p Pending) (client, conn net.Conn, err error) {
	client, err = p.Accept()
	if err == nil && !t.relay.live.attach(t, client) {
		err = ErrClosed
	}
	if err != nil {
		t.fail(err)
		return nil, nil, err
	}
	ahead, raw := chain.Raw(client)
	first := chain.NewFirstData(raw, ahead)
	conn, rest, err := t.dial(ctx, first)
	if err != nil {
		_ = chain.Abort(raw) // an orderly end would pass for the target's
		return nil, nil, err
	}
	return chain.Unread(raw, rest), conn, nil
}

// settle takes first back from the hops when one of them has returned conn.
func (t *tunnel) settle(first *chain.FirstData, conn net.Conn) (rest []byte, err error) {
	sent, rest, err := first.Settle(conn)
	if err != nil {
		_ = chain.Abort(conn)
		return nil, err
	}
	t.up = int64(sent)
	if t.account != nil && sent > 0 {
		t.account.Passed(true, t.up)
	}
	return rest, nil
}
