package relay

import (
	"slices"
	"time"
)

// An Account is charged with what one tunnel or flow moves, and may hold it up. Pass and
// Passed are called from both directions at once.
type Account interface {
	// Pass is called before n bytes move, up (from the client) or down. It may wait.
	// After an error nothing of them moves, and the tunnel is aborted.
	Pass(up bool, n int) error

	// Passed tells of bytes that have moved unasked: along with the request, or by
	// splice, of which it is told once a second.
	Passed(up bool, n int64)

	// Waits reports whether Pass may hold bytes up. Such tunnels are not spliced.
	Waits() bool

	// Ended is called once, when the tunnel has ended or was not opened.
	Ended()
}

// piece is how many bytes an Account that waits is asked for at once: between two, the
// tunnel is seen to move.
const piece = 16 << 10

// charge asks for t's Account, if there is anybody to ask.
func (t *tunnel) charge() (err error) {
	if t.relay.Account != nil {
		t.account, err = t.relay.Account(t.request, t.kill)
	}
	return err
}

// settleAccount is called once, when t has ended.
func (t *tunnel) settleAccount() {
	if t.account != nil {
		t.account.Ended()
	}
}

// pass asks the pair's Account for n bytes.
func (d *direction) pass(n int) error {
	if d.account == nil {
		return nil
	}
	err := d.account.Pass(d == &d.ways[0], n)
	switch {
	case err != nil:
		d.abort(err)
	case d.held(): // the deadline may have come near meanwhile
		_ = d.dst.SetWriteDeadline(time.Now().Add(2 * d.idle))
	}
	return err
}

// passed tells it of bytes that have moved.
func (d *direction) passed(n int64) {
	if d.account != nil && n > 0 {
		d.account.Passed(d == &d.ways[0], n)
	}
}

// held reports whether bytes may have to wait for it.
func (p *pair) held() bool { return p.account != nil && p.account.Waits() }

// writeHeld writes b piece by piece, each as soon as it may.
func (d *direction) writeHeld(b []byte) (total int64, err error) {
	for part := range slices.Chunk(b, piece) {
		n, err := d.writeOnce(part)
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// pass asks the tunnel's Account for n bytes.
func (d *dialed) pass(up bool, n int) error {
	if d.t.account == nil || n == 0 {
		return nil
	}
	err := d.t.account.Pass(up, n)
	if err != nil {
		_ = d.Abort()
	}
	return err
}
