package chain

import (
	"context"
	"net"
	"sync"
	"syscall"
	"time"
)

// A Preparer is a hop's dialer that can do part of its work before it knows the
// target. [Spare] makes use of it.
type Preparer interface {
	Dialer

	// Prepare returns a conn to the hop on which all is done that needs no target:
	// greeting, TLS, authentication.
	Prepare(ctx context.Context) (net.Conn, error)

	// DialOver goes on from there, as DialContext does. It owns conn.
	DialOver(ctx context.Context, conn net.Conn, network, addr string) (net.Conn, error)
}

// SpareOptions say how many tunnels are kept ready, and for how long. The zero
// value is good.
type SpareOptions struct {
	// Max is how many there are at most for each identity; 0 means 8.
	Max int

	// Life is how long one is kept; 0 means 8 s. Servers give up a client that does
	// not make its request, many after 10 s.
	Life time.Duration

	// Linger is for how long after a dial spares are kept ready at all; 0 means 1 minute.
	Linger time.Duration

	// Limit bounds the making of one; 0 means 20 s.
	Limit time.Duration
}

func (o *SpareOptions) fill() {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&o.Life, 8 * time.Second}, {&o.Linger, time.Minute}, {&o.Limit, 20 * time.Second}} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	if o.Max <= 0 {
		o.Max = 8
	}
}

// Spare returns h with tunnels to it kept ready, so that a dial costs what lies
// behind h alone. How many are kept follows demand: the first dial pays in full, a
// burst is met by as many spares the next time, and with no dials there are none.
// A spare that has died is replaced within the dial; that is no error.
//
// It is for the last hop of a chain, as a spare leads through all hops before. A
// hop that can prepare nothing, or carries its tunnels on sessions, stays as it is.
func Spare(h Hop, o SpareOptions) Hop {
	o.fill()
	wrap := h.Wrap
	if wrap == nil {
		return h
	}
	h.Wrap = func(next Dialer) (Dialer, error) {
		d, err := wrap(next)
		p, ok := d.(Preparer)
		if err != nil || !ok {
			return d, err
		}
		s := &spares{Preparer: p, o: o, pools: make(map[string]*sparePool)}
		s.ctx, s.cancel = context.WithCancel(context.Background())
		return s, nil
	}
	return h
}

// maxPools bounds the identities that have spares at the same time.
const maxPools = 256

// spares is a Preparer with conns kept ready, for each identity its own.
type spares struct {
	Preparer
	o      SpareOptions
	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	mu    sync.Mutex
	wg    sync.WaitGroup
	pools map[string]*sparePool
}

// sparePool is guarded by the mutex of spares.
type sparePool struct {
	ready  []*spare // the newest last
	making int
	want   int             // how many there should be
	asked  []time.Time     // the last dials, SpareOptions.Max at most
	took   time.Duration   // what making one took lately
	ctx    context.Context // of the last dial, for its values
	over   bool            // the identity is: nothing is kept any more
	stop   func() bool     // listening to that
}

type spare struct {
	conn  net.Conn
	lease *Lease // what groups before the hop count it by, until a tunnel takes it
	timer *time.Timer
}

func (s *spare) close() {
	_ = s.conn.Close()
	s.lease.Release()
}

func (s *spares) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if network != "tcp" {
		return s.Preparer.DialContext(ctx, network, addr)
	}
	id := IdentityOf(ctx)
	key := id.Key
	s.demand(ctx, id)
	for one := s.take(key); one != nil; one = s.take(key) {
		if !Quiet(one.conn) {
			one.close()
			continue
		}
		conn, err := s.DialOver(ctx, one.conn, network, addr)
		if err == nil {
			LeaseOf(ctx).adopt(one.lease)
			return conn, nil
		}
		one.lease.Release()
		if ctx.Err() != nil || Errno(err) != syscall.ECONNRESET || FirstDataOf(ctx).Spent() {
			return nil, err
		}
		// It had died unseen.
	}
	return s.Preparer.DialContext(ctx, network, addr)
}

// demand notes a dial, and sees to it that the next ones find a spare.
func (s *spares) demand(ctx context.Context, id Identity) {
	key := id.Key
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pools[key]
	if p == nil {
		if len(s.pools) >= maxPools && !s.evict() {
			return
		}
		p = &sparePool{}
		p.stop = id.whenOver(func() { s.forget(key, p) })
		s.pools[key] = p
	}
	now := time.Now()
	p.ctx = withoutFirstData(context.WithoutCancel(ctx))
	p.asked = append(p.asked, now)
	p.asked = p.asked[max(0, len(p.asked)-s.o.Max):]
	// As many are wanted as dials come while one spare is made.
	burst := 0
	for _, at := range p.asked {
		if now.Sub(at) <= p.took {
			burst++
		}
	}
	p.want = min(max(p.want, burst, 1), s.o.Max)
	// This dial takes one of those there are.
	s.refill(key, p, 1)
}

// evict forgets pools without spares; mu is held.
func (s *spares) evict() bool {
	for key, p := range s.pools {
		if len(p.ready) == 0 && p.making == 0 {
			p.stop()
			delete(s.pools, key)
		}
	}
	return len(s.pools) < maxPools
}

// refill starts to make what is missing, plus more; mu is held.
func (s *spares) refill(key string, p *sparePool, more int) {
	if s.ctx.Err() != nil {
		return
	}
	more = min(more, len(p.ready))
	for n := p.want + more - len(p.ready) - p.making; n > 0; n-- {
		p.making++
		ctx := p.ctx
		s.wg.Go(func() { s.make(ctx, key, p) })
	}
}

func (s *spares) make(ctx context.Context, key string, p *sparePool) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Limit)
	defer cancel()
	stop := context.AfterFunc(s.ctx, cancel)
	defer stop()
	began := time.Now()
	one := &spare{lease: new(Lease)} // and not that of the tunnel whose ctx it is
	conn, err := s.prepare(WithLease(ctx, one.lease))
	s.mu.Lock()
	defer s.mu.Unlock()
	p.making--
	if err != nil {
		one.lease.Release()
		return // the next dial finds out, and tells
	}
	one.conn = conn
	if s.ctx.Err() != nil || p.over {
		one.close()
		return
	}
	p.took = time.Since(began)
	one.timer = time.AfterFunc(s.o.Life, func() { s.expire(key, p, one) })
	p.ready = append(p.ready, one)
}

func (s *spares) prepare(ctx context.Context) (conn net.Conn, err error) {
	defer Caught(&err)
	return s.Prepare(ctx)
}

// expire ends a spare that nobody took: fewer are wanted.
func (s *spares) expire(key string, p *sparePool, one *spare) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.over {
		return
	}
	for i := range p.ready {
		if p.ready[i] == one {
			p.ready = append(p.ready[:i:i], p.ready[i+1:]...)
			one.close()
			p.want--
			break
		}
	}
	if time.Since(p.asked[len(p.asked)-1]) < s.o.Linger {
		p.want = max(p.want, 1)
		s.refill(key, p, 0)
	} else {
		p.want = 0
	}
}

// take returns the newest spare, or nil.
func (s *spares) take(key string) *spare {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pools[key]
	if p == nil || len(p.ready) == 0 {
		return nil
	}
	one := p.ready[len(p.ready)-1]
	p.ready = p.ready[:len(p.ready)-1]
	one.timer.Stop()
	return one
}

// forget ends the spares of an identity that is over.
func (s *spares) forget(key string, p *sparePool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.over = true
	p.close()
	if s.pools[key] == p {
		delete(s.pools, key)
	}
}

// close ends those that are ready; mu is held.
func (p *sparePool) close() {
	for _, one := range p.ready {
		one.timer.Stop()
		one.close()
	}
	p.ready = nil
}

// Close ends the spares, and what the hop keeps.
func (s *spares) Close() error {
	s.mu.Lock()
	s.cancel() // nothing is begun from here on
	s.mu.Unlock()
	s.wg.Wait()
	s.mu.Lock()
	for _, p := range s.pools {
		p.stop()
		p.close()
	}
	s.mu.Unlock()
	if c, ok := s.Preparer.(interface{ Close() error }); ok {
		return c.Close()
	}
	return nil
}
