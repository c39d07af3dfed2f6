package chain

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// A Resolver is a dialer that can have names resolved where its tunnels come out,
// without a tunnel.
type Resolver interface {
	// Resolve returns an address of host, IPv4 if it has one; or, if host is an
	// address, its name. A dialer that can't returns an error whose errno is
	// EOPNOTSUPP; of a host that is not known it is EHOSTUNREACH. What is returned is
	// what the far end says: the caller checks it.
	Resolve(ctx context.Context, host string) (string, error)
}

var errNoResolver = fmt.Errorf("names can't be resolved there: %w", errors.ErrUnsupported)

// Resolve asks d, a [Resolver], or the system if d is the system's dialer, whose
// tunnels come out here. It asks nobody else.
func Resolve(ctx context.Context, d Dialer, host string) (string, error) {
	if here, ok := d.(*net.Dialer); ok {
		r := here.Resolver
		if r == nil {
			r = net.DefaultResolver
		}
		return Lookup(ctx, r, host)
	}
	return resolve(ctx, d, host)
}

func resolve(ctx context.Context, d Dialer, host string) (string, error) {
	if r, ok := d.(Resolver); ok {
		return r.Resolve(ctx, host)
	}
	return "", Fail(PhaseConnect, errNoResolver)
}

// Lookup is for the far end: it answers what [Resolver] asks from r, of which
// *net.Resolver is one.
func Lookup(ctx context.Context, r interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	LookupAddr(ctx context.Context, addr string) ([]string, error)
}, host string,
) (string, error) {
	if _, err := netip.ParseAddr(host); err == nil {
		names, err := r.LookupAddr(ctx, host)
		if err == nil && len(names) == 0 {
			err = &net.DNSError{Err: "no such host", IsNotFound: true}
		}
		if err != nil {
			return "", err
		}
		return strings.TrimSuffix(names[0], "."), nil
	}
	addrs, err := r.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return "", err
	}
	return Preferred(addrs)
}

// Preferred returns the address that a [Resolver] gives of those there are.
func Preferred(addrs []netip.Addr) (string, error) {
	for _, a := range addrs {
		if a.Unmap().Is4() {
			return a.Unmap().String(), nil
		}
	}
	if len(addrs) == 0 {
		return "", &net.DNSError{Err: "no such host", IsNotFound: true}
	}
	return addrs[0].WithZone("").String(), nil
}

// Resolve has the last hop resolve host.
func (c *Chain) Resolve(ctx context.Context, host string) (string, error) {
	if c == nil || c.top == nil {
		return "", errors.New("chain: a zero Chain resolves nothing")
	}
	return resolve(ctx, c.top, host)
}

func (l *layer) Resolve(ctx context.Context, host string) (string, error) {
	if err := l.rests(); err != nil {
		return "", err
	}
	got, err := resolve(ctx, l.Dialer, host)
	if err != nil {
		return "", l.at.stamp(err)
	}
	return got, nil
}

func (s *spares) Resolve(ctx context.Context, host string) (string, error) {
	return resolve(ctx, s.Preparer, host)
}

func (p *perIdentity) Resolve(ctx context.Context, host string) (string, error) {
	one, err := p.enter(IdentityOf(ctx))
	if err != nil {
		return "", err
	}
	defer p.leave(one)
	return resolve(ctx, one.Dialer, host)
}

// Resolve asks one member after the other, chosen as for a tunnel, until one
// answers. It marks none: whether they carry tunnels, tunnels tell.
func (g *group) Resolve(ctx context.Context, host string) (string, error) {
	c := choice{id: IdentityOf(ctx), addr: host, last: -1}
	var failures []failure
	for range g.members {
		if ctx.Err() != nil {
			break
		}
		c.now = g.now()
		i, trial := g.pick(&c)
		m := g.members[i]
		got, err := m.Resolve(ctx, host)
		if trial {
			m.trial.Store(false)
		}
		if err == nil {
			return got, nil
		}
		_, v := g.scope.judge(err)
		if v >= answered {
			return "", err
		}
		failures = append(failures, failure{err: err, verdict: v})
	}
	if len(failures) == 0 {
		return "", g.at.over(ctx)
	}
	return "", g.at.join(failures)
}

// Resolve asks by one path, chosen as for a tunnel.
func (c *course) Resolve(ctx context.Context, host string) (string, error) {
	p, err := c.drawn(ctx)
	if err != nil {
		return "", err
	}
	defer c.paths.release(p)
	return p.chain.Resolve(ctx, host)
}
