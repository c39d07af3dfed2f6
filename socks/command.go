package socks

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/byway-proxy/byway/chain"
)

// command has the hop do what is no CONNECT, and returns the address of its reply.
// It sends all at once only where that is known to work: there is no second try.
func (d *dialer5) command(ctx context.Context, command byte, t target) (conn net.Conn, bound target, err error) {
	conn, err = d.reach(ctx)
	if err != nil {
		return nil, target{}, err
	}
	m := serial
	if d.pipeline == On || d.pipeline == Auto && d.learnt.known() {
		m = pipelined
	}
	conn, err = d.shake(ctx, conn, chain.PhaseAuth, func(x *exchange) error {
		x.out = append(x.out, version5, 1, d.method())
		if m == pipelined {
			x.out = t.append(append(d.appendAuth(x.out), version5, command, 0))
		}
		if err := d.authenticate(x, m, func(time.Duration) {}); err != nil {
			return err
		}
		x.phase = chain.PhaseConnect
		if m == serial {
			x.out = t.append(append(x.out, version5, command, 0))
		}
		bound, err = readBound(x)
		return err
	})
	return conn, bound, err
}

// serve serves p, a request of any command.
func (s *Server) serve(ctx context.Context, p *pending) error {
	switch p.command {
	case commandBind:
		return s.bind(ctx, p)
	case commandAssociate:
		return s.associate(ctx, p, p.port)
	case commandResolve, commandResolvePTR:
		return s.resolve(ctx, p)
	}
	return s.Relay.Serve(ctx, p)
}

// acceptAt is Accept, with an address of ours in the answer.
func (p *pending) acceptAt(here net.Addr) (net.Conn, error) {
	addr, err := netip.ParseAddrPort(here.String())
	if err == nil {
		t := target{ip: addr.Addr().Unmap().WithZone(""), port: addr.Port()}
		err = p.say(succeeded.appendBound(nil, t))
	}
	if err != nil {
		_ = p.conn.Close()
		return nil, err
	}
	return p.conn, nil
}

// known reports whether the hop is known to take pipelining.
func (l *learning) known() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.works
}
