package chain

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// PerIdentity returns a dialer that keeps a dialer of its own for the Key of each
// [Identity], so that what a dialer keeps between dials (sessions, TLS tickets) is
// never shared by two identities. make makes them as they are needed. Of more than
// limit the one not used for longest is closed, if it is an io.Closer. The dialer
// returned is one that closes all.
func PerIdentity(limit int, make func() (Dialer, error)) Dialer {
	return &perIdentity{limit: limit, make: make, m: map[string]*ofIdentity{}}
}

type perIdentity struct {
	limit int
	make  func() (Dialer, error)

	mu     sync.Mutex
	m      map[string]*ofIdentity
	closed bool
}

type ofIdentity struct {
	Dialer
	used  time.Time
	dials int         // under way
	out   bool        // no more dials are to come: it is closed with the last
	stop  func() bool // listening to the identity's end
}

func (p *perIdentity) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	one, err := p.enter(IdentityOf(ctx))
	if err != nil {
		return nil, err
	}
	defer p.leave(one)
	return one.DialContext(ctx, network, addr)
}

// enter returns the dialer of id, for one dial.
func (p *perIdentity) enter(id Identity) (*ofIdentity, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.m[id.Key]
	if one == nil {
		if p.closed {
			return nil, net.ErrClosed
		}
		d, err := p.make()
		if err != nil {
			return nil, err
		}
		if len(p.m) >= p.limit {
			p.evict()
		}
		one = &ofIdentity{Dialer: d}
		one.stop = id.whenOver(func() { p.forget(id.Key, one) })
		p.m[id.Key] = one
	}
	one.used = time.Now()
	one.dials++
	return one, nil
}

func (p *perIdentity) leave(one *ofIdentity) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if one.dials--; one.out && one.dials == 0 {
		_ = closeDialer(one.Dialer)
	}
}

// forget drops the dialer of an identity that is over.
func (p *perIdentity) forget(key string, one *ofIdentity) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.m[key] == one {
		p.drop(key)
	}
}

// drop has no more dials go by the dialer of key; mu is held.
func (p *perIdentity) drop(key string) {
	one := p.m[key]
	delete(p.m, key)
	one.stop()
	if one.out = true; one.dials == 0 {
		_ = closeDialer(one.Dialer)
	}
}

// evict drops the dialer not used for longest; mu is held.
func (p *perIdentity) evict() {
	var oldest string
	var at time.Time
	for key, one := range p.m {
		if at.IsZero() || one.used.Before(at) {
			oldest, at = key, one.used
		}
	}
	p.drop(oldest)
}

func (p *perIdentity) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	var errs []error
	for _, one := range p.m {
		one.stop()
		errs = append(errs, closeDialer(one.Dialer))
	}
	p.m = map[string]*ofIdentity{}
	return errors.Join(errs...)
}

func closeDialer(d Dialer) error {
	if c, ok := d.(interface{ Close() error }); ok {
		return c.Close()
	}
	return nil
}
