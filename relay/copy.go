package relay

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"github.com/byway-proxy/byway/chain"
)

// ErrIdle is the error of a tunnel in which no byte moved for the idle limit.
var ErrIdle = errors.New("idle for too long")

// Copy carries bytes between client and target until both directions have
// ended, then closes both. An EOF from one end becomes a CloseWrite on the other,
// and the other direction runs on. A failure to read ends both at once by
// [chain.Abort], so that neither peer takes it for an orderly end. After a failure
// to write, what the failing end still has to say is delivered. idle, which must
// be positive, limits the time in which no byte moves in either direction.
//
// up counts the bytes from client to target, down those back. Where both ends are
// TCP conns of the operating system, bulk does not pass through user space
// (Linux).
func Copy(client, target net.Conn, idle time.Duration) (up, down int64, err error) {
	p := newPair(client, target, idle)
	p.run()
	return p.ways[0].total, p.ways[1].total, p.err
}

// A pair is two conns and the two directions between them. See the package's doc
// for its states.
type pair struct {
	idle  time.Duration
	began time.Time
	ends  [2]net.Conn
	ways  [2]direction // up, down
	meter *Meter       // nil if nobody asks

	account Account // may be nil

	// park takes the conns over while every direction rests or has ended. If it
	// reports false, nothing has happened. It is nil if directions never rest.
	park func() bool
	rest time.Duration // without a byte moved, after which they do

	// nap has news of d's src rouse d, which rests; p's mu is held. It reports whether it
	// does. It is nil but for a pair of a TCP conn and a Steady one.
	nap func(d *direction) bool

	done   chan struct{} // closed by the last goroutine to leave
	parked bool          // to be read after that

	mu       sync.Mutex
	moved    time.Duration // when a byte last moved, since began
	busy     int           // directions with bytes in hand
	splicing int           // of these, how many tell that bytes moved once a slice only
	err      error         // the first failure
	watch    *time.Timer   // looks after the idle limit, where a direction reads steadily
}

func newPair(client, target net.Conn, idle time.Duration) *pair {
	fromClient, client := chain.Raw(client)
	fromTarget, target := chain.Raw(target)
	p := &pair{idle: idle, began: time.Now(), ends: [2]net.Conn{client, target}, done: make(chan struct{})}
	p.ways[0] = direction{pair: p, src: client, dst: target, ahead: fromClient}
	p.ways[1] = direction{pair: p, src: target, dst: client, ahead: fromTarget}
	for i := range p.ways {
		p.ways[i].steady, _ = p.ways[i].src.(Steady)
	}
	return p
}

// run returns when both directions have ended and the conns are closed, or when
// the pair is parked.
func (p *pair) run() {
	up, down := &p.ways[0], &p.ways[1]
	p.keepWatch()
	switch {
	case down.state == ended:
		up.carry()
	case up.state == ended:
		down.carry()
	case up.steady != nil && p.nap != nil: // the other direction's goroutine leaves when it naps
		go down.carry()
		up.carry()
	default:
		go up.carry()
		down.carry()
	}
	<-p.done
	p.endWatch()
	if !p.parked {
		_ = p.ends[0].Close()
		_ = p.ends[1].Close()
	}
}

func (p *pair) note(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
}

// abort ends both directions.
func (p *pair) abort(err error) {
	p.note(err)
	for _, c := range p.ends {
		_ = chain.Abort(c)
	}
}

// limits returns when the tunnel has idled for too long, if no further byte moves,
// and when a direction has to look at that, or at whether it may rest.
func (p *pair) limits() (idle, look time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	limit := p.limit()
	soon := limit
	if p.park != nil || p.nap != nil {
		now := time.Since(p.began)
		soon = p.moved + p.rest
		if soon <= now { // what kept it from resting may do so for a while
			soon = now + p.rest
		}
	}
	return p.began.Add(limit), p.began.Add(min(limit, soon))
}

// limit is when the tunnel has idled for too long, since it began; mu is held.
func (p *pair) limit() time.Duration {
	limit := p.moved + p.idle
	if p.splicing > 0 {
		limit += p.slice()
	}
	return limit
}

func (p *pair) slice() time.Duration { return min(slice, p.idle/4) }

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
