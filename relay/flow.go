package relay

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/byway-proxy/byway/chain"
)

// hopeless is how many failures to read in a row, with no datagram sent between
// them, are no news of datagrams any more.
const hopeless = 8

// CopyDatagrams carries datagrams between client and target, of which each Read
// and Write is one, until none moved in either direction for idle, which must be
// positive; then it closes both. That is the orderly end of a flow, as is io.EOF
// from either: datagrams have no other, and no half-close.
//
// What can't be delivered (too long, a full queue, "connection refused" by ICMP) is
// lost, as in any network, and ends nothing. A read that fails is the news of such a
// datagram too, unless it fails again and again with nothing sent in between.
//
// up counts the bytes from client to target, down those back.
//
// What waits holds no buffer, if the conn is a UDP conn of the operating system (unix) or has a method
// AwaitRead, which waits until Read has something to return.
func CopyDatagrams(client, target net.Conn, idle time.Duration) (up, down int64, err error) {
	return copyDatagrams(client, target, idle, nil, nil)
}

func copyDatagrams(client, target net.Conn, idle time.Duration, meter *Meter, account Account) (up, down int64, err error) {
	p := &datagramPair{idle: idle, began: time.Now(), account: account}
	done := make(chan struct{})
	go func() {
		defer close(done)
		up = p.carry(target, client, true, meter.up)
	}()
	down = p.carry(client, target, false, meter.down)
	<-done
	return up, down, p.err
}

// datagramPair is what the two directions of a flow share.
type datagramPair struct {
	idle  time.Duration
	began time.Time
	moved atomic.Int64 // when a datagram last moved, since began
	sent  atomic.Int64 // datagrams, in both directions

	account Account // may be nil

	once sync.Once
	err  error // of what ended the flow; read when both directions have ended
}

func (p *datagramPair) note(err error) { p.once.Do(func() { p.err = err }) }

func (p *datagramPair) touch() { p.moved.Store(int64(time.Since(p.began))) }

// idleAt is when the flow has idled for too long, if no further datagram moves.
func (p *datagramPair) idleAt() time.Time {
	return p.began.Add(time.Duration(p.moved.Load()) + p.idle)
}

// carry moves datagrams from src to dst until the flow ends, and then ends it for
// the other direction.
func (p *datagramPair) carry(dst, src net.Conn, up bool, measure func(int64)) (total int64) {
	var fault error
	defer func() {
		if fault != nil {
			p.note(fault)
		}
		_ = dst.Close()
		_ = src.Close()
	}()
	defer chain.Caught(&fault)
	in := newIntake(src)
	defer in.release()
	p.extend(dst, src)
	failures, sent := 0, int64(0)
	for {
		b, err := in.read()
		if err == nil && p.account != nil {
			if err := p.account.Pass(up, len(b)); err != nil {
				in.release()
				p.note(err)
				return total
			}
		}
		switch n := len(b); {
		case err == nil:
			_, err = dst.Write(b)
			in.release()
			if err == nil {
				total += int64(n)
				measure(int64(n))
				p.sent.Add(1)
				p.touch()
			} else if isTimeout(err) {
				p.note(ErrIdle) // the way onwards has been stuck all the time
				return total
			}
		case isTimeout(err):
			if !time.Now().Before(p.idleAt()) {
				p.note(nil)
				return total
			}
			p.extend(dst, src)
		case err == io.EOF:
			p.note(nil)
			return total
		case errors.Is(err, net.ErrClosed):
			p.note(err)
			return total
		default:
			if now := p.sent.Load(); now != sent {
				failures, sent = 0, now
			}
			if failures++; failures > hopeless {
				p.note(err)
				return total
			}
		}
	}
}

// extend sets the deadlines of one direction as they are now due. They are looked
// at when they pass, not moved with each datagram.
func (p *datagramPair) extend(dst, src net.Conn) {
	deadline := p.idleAt()
	_ = src.SetReadDeadline(deadline)
	_ = dst.SetWriteDeadline(deadline.Add(p.idle))
}

// carryDatagrams carries the flow t to its end.
func (t *tunnel) carryDatagrams(client, target net.Conn) error {
	up, down, err := copyDatagrams(client, target, t.relay.flowIdleLimit(), t.meter, t.account)
	t.up, t.down, t.err = t.up+up, down, err
	t.close()
	return err
}
