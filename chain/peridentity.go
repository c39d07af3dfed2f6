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
	used time.Time
}

func (p *perIdentity) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	d, err := p.of(IdentityOf(ctx).Key)
	if err != nil {
		return nil, err
	}
	return d.DialContext(ctx, network, addr)
}

func (p *perIdentity) of(key string) (Dialer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.m[key]
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
		p.m[key] = one
	}
	one.used = time.Now()
	return one.Dialer, nil
}

// evict closes the dialer not used for longest; mu is held.
func (p *perIdentity) evict() {
	var oldest string
	var at time.Time
	for key, one := range p.m {
		if at.IsZero() || one.used.Before(at) {
			oldest, at = key, one.used
		}
	}
	_ = closeDialer(p.m[oldest].Dialer)
	delete(p.m, oldest)
}

func (p *perIdentity) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	var errs []error
	for _, one := range p.m {
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
