package chain

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// An Awaiter is a dialer that can have one connection come in where its tunnels
// come out: SOCKS' BIND.
type Awaiter interface {
	// Await asks for a port there, at which the host of addr may connect, tells by
	// announce at what address it is, and waits, as long as ctx lasts. It returns the
	// connection and whence it came, both addresses host:port. announce is called once
	// at most; after its error nothing is waited for. A dialer that can't returns an
	// error whose errno is EOPNOTSUPP.
	Await(ctx context.Context, addr string, announce func(at string) error) (conn net.Conn, from string, err error)
}

var errNoAwaiter = fmt.Errorf("no connection can come in there: %w", errors.ErrUnsupported)

// Await asks d, an [Awaiter]. It never listens on this machine, *net.Dialer or not:
// a port that is open to others is a way in.
func Await(ctx context.Context, d Dialer, addr string, announce func(at string) error) (net.Conn, string, error) {
	if a, ok := d.(Awaiter); ok {
		return a.Await(ctx, addr, announce)
	}
	return nil, "", Fail(PhaseConnect, errNoAwaiter)
}

// Await has the last hop wait for a connection.
func (c *Chain) Await(ctx context.Context, addr string, announce func(at string) error) (net.Conn, string, error) {
	if c == nil || c.top == nil {
		return nil, "", errors.New("chain: a zero Chain waits for nothing")
	}
	return Await(ctx, c.top, addr, announce)
}

func (l *layer) Await(ctx context.Context, addr string, announce func(at string) error) (net.Conn, string, error) {
	if err := l.rests(); err != nil {
		return nil, "", err
	}
	conn, from, err := Await(ctx, l.Dialer, addr, announce)
	if err != nil {
		return nil, "", l.at.stamp(err)
	}
	return conn, from, nil
}

func (s *spares) Await(ctx context.Context, addr string, announce func(at string) error) (net.Conn, string, error) {
	return Await(ctx, s.Preparer, addr, announce)
}

// Await asks one member after the other, chosen as for a tunnel, until one has
// announced a port: then it is that one's.
func (g *group) Await(ctx context.Context, addr string, announce func(at string) error) (net.Conn, string, error) {
	c := choice{id: IdentityOf(ctx), addr: addr, last: -1}
	var failures []failure
	for announced := false; len(failures) < len(g.members) && ctx.Err() == nil; {
		c.now = g.now()
		i, trial := g.pick(&c)
		m := g.members[i]
		conn, from, err := m.Await(ctx, addr, func(at string) error {
			announced = true
			return announce(at)
		})
		if trial {
			m.trial.Store(false)
		}
		if err == nil || announced {
			return conn, from, err
		}
		_, v := g.scope.judge(err)
		if v >= answered {
			return nil, "", err
		}
		failures = append(failures, failure{err: err, verdict: v})
	}
	if len(failures) == 0 {
		return nil, "", g.at.over(ctx)
	}
	return nil, "", g.at.join(failures)
}

// Await asks by one path, chosen as for a tunnel.
func (c *course) Await(ctx context.Context, addr string, announce func(at string) error) (net.Conn, string, error) {
	p, err := c.drawn(ctx)
	if err != nil {
		return nil, "", err
	}
	defer c.paths.release(p)
	return p.chain.Await(ctx, addr, announce)
}

// drawn returns a path for what is tried once, which the caller releases.
func (c *course) drawn(ctx context.Context) (*path, error) {
	var buf [8]uint16
	var out set
	route := c.plan.draw(buf[:0], c, c.plan.seed(ctx), &out, c.now())
	if len(route) == 0 {
		return nil, c.at.join(nil)
	}
	return c.path(route)
}
