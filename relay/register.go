package relay

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/byway-proxy/byway/chain"
)

// A tunnel is one request being carried, from its routing to its end.
type tunnel struct {
	relay    *Relay
	request  Request
	decision Decision
	began    time.Time
	cancel   atomic.Pointer[context.CancelFunc] // ends the dial
	lease    chain.Lease                        // groups count the tunnel by it

	meter    *Meter  // nil if nobody asks
	account  Account // nil if there is none
	up, down int64   // bytes; set when the copy has ended, but for those that went along with the request
	err      error
	opened   bool // the Trace was told so
	ended    bool // so that it has been, or is being, told of the end

	// guarded by the register
	ends   [2]net.Conn
	killed bool
	client any // whom it counts for; nil if for nobody
	place
}

// pair returns the pair that carries t between client and target. It may rest, if
// the system can wait for both of them.
func (t *tunnel) pair(client, target net.Conn) *pair {
	p := newPair(client, target, t.relay.idleLimit())
	p.meter, p.account = t.meter, t.account
	if p.rest = t.relay.rest; p.rest == 0 {
		p.rest = restAmong(t.relay.live.carried())
	}
	if parkable(p.ends[0]) && parkable(p.ends[1]) && p.rest < p.idle {
		p.park = func() bool { return t.park(p) }
	}
	for i := range p.ways {
		if d := &p.ways[i]; parkable(d.src) && d.other().steady != nil && p.rest < p.idle {
			p.nap = t.relay.live.nap
		}
	}
	return p
}

// follow runs p to its end, which is t's, or until t is parked and no longer the caller's.
func (t *tunnel) follow(p *pair) error {
	p.run()
	if p.parked {
		return nil
	}
	t.relay.live.forget(p)
	t.add(p)
	t.err = p.err
	t.close()
	return p.err
}

func (t *tunnel) add(p *pair) {
	t.up += p.ways[0].total
	t.down += p.ways[1].total
}

// close is called once, when an opened tunnel has ended. Whoever waits for the
// register to be empty has had all traces.
func (t *tunnel) close() {
	t.ended = true
	defer t.relay.live.remove(t)
	t.lease.Release()
	t.settleAccount()
	t.relay.Trace.closed(t.request, t.decision, Stats{
		Up: t.up, Down: t.down, Lasted: time.Since(t.began), Err: t.err,
	})
}

// kill cuts the tunnel: a dial under way is cancelled, conns are closed, and
// whoever copies between them comes back. A parked tunnel ends here.
func (t *tunnel) kill() {
	l := &t.relay.live
	l.mu.Lock()
	t.killed = true
	ends := t.ends
	parked := l.take(t)
	l.mu.Unlock()
	if parked {
		t.cut(net.ErrClosed)
		return
	}
	if cancel := t.cancel.Load(); cancel != nil {
		(*cancel)()
	}
	for _, c := range ends {
		if c != nil {
			_ = chain.Abort(c)
		}
	}
}

// register holds the live tunnels. Its zero value is ready.
type register struct {
	mu      sync.Mutex
	tunnels map[*tunnel]struct{}
	clients map[any]int // how many are of each, if that has a limit
	refused bool
	lot     *lot   // of the parked ones; nil if there is none
	ticket  uint64 // the last one given out
	tidier  tidier
	idle    chan struct{} // made by refuse, closed when no tunnel is left
}

// add takes t in, or tells why not.
func (l *register) add(t *tunnel) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refused {
		return ErrClosed
	}
	if !l.room(t) {
		return ErrLimit
	}
	if l.tunnels == nil {
		l.tunnels = make(map[*tunnel]struct{})
	}
	l.tunnels[t] = struct{}{}
	return nil
}

// attach makes c one of t's ends. If t was killed meanwhile, it closes c and
// reports false.
func (l *register) attach(t *tunnel, c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.killed {
		_ = chain.Abort(c)
		return false
	}
	if t.ends[0] == nil {
		t.ends[0] = c
	} else {
		t.ends[1] = c
	}
	return true
}

func (l *register) isKilled(t *tunnel) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return t.killed
}

func (l *register) remove(t *tunnel) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.tunnels, t)
	l.vacate(t)
	if l.refused && len(l.tunnels) == 0 {
		l.signal()
	}
}

// refuse lets no more tunnels in, and returns a channel that is closed when the
// last one has left.
func (l *register) refuse() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused = true
	if l.idle == nil {
		l.idle = make(chan struct{})
	}
	if len(l.tunnels) == 0 {
		l.signal()
	}
	return l.idle
}

func (l *register) signal() {
	if l.idle == nil {
		return
	}
	select {
	case <-l.idle:
	default:
		close(l.idle)
	}
}

func (l *register) killAll() {
	l.mu.Lock()
	all := make([]*tunnel, 0, len(l.tunnels))
	for t := range l.tunnels {
		all = append(all, t)
	}
	l.mu.Unlock()
	for _, t := range all {
		t.kill()
	}
}

// carried returns how many tunnels are not parked.
func (l *register) carried() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.tunnels) - l.lot.len()
}

func (l *register) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.tunnels)
}

// dialed is a conn of [Relay.Dial]: it counts bytes and leaves the register
// when it is closed.
type dialed struct {
	net.Conn
	t        *tunnel
	up, down atomic.Int64
	once     sync.Once
}

func (d *dialed) Read(p []byte) (int, error) {
	n, err := d.Conn.Read(p)
	d.down.Add(int64(n))
	d.t.meter.down(int64(n))
	if e := d.pass(false, n); e != nil {
		return 0, e
	}
	return n, err
}

func (d *dialed) Write(p []byte) (int, error) {
	if err := d.pass(true, len(p)); err != nil {
		return 0, err
	}
	n, err := d.Conn.Write(p)
	d.up.Add(int64(n))
	d.t.meter.up(int64(n))
	return n, err
}

func (d *dialed) CloseWrite() error { return chain.CloseWrite(d.Conn) }

func (d *dialed) Close() error {
	err := d.Conn.Close()
	d.end()
	return err
}

func (d *dialed) Abort() error {
	err := chain.Abort(d.Conn)
	d.end()
	return err
}

func (d *dialed) end() {
	d.once.Do(func() {
		d.t.up, d.t.down = d.up.Load(), d.down.Load()
		d.t.close()
	})
}
