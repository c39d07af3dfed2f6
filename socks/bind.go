package socks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/relay"
)

var errBound = errors.New("an address that can't be connected to")

// peerTarget is parseTarget for what BIND is about, in which a port may be 0: any.
func peerTarget(addr string) (target, error) {
	host, port, err := net.SplitHostPort(addr)
	n, perr := strconv.ParseUint(port, 10, 16)
	if err != nil || perr != nil {
		return target{}, errPort
	}
	t, err := parseTarget(net.JoinHostPort(host, "1"))
	t.port = uint16(n)
	return t, err
}

// Await is BIND (RFC 1928 §4). It is of [chain.Awaiter].
func (d *dialer5) Await(ctx context.Context, addr string, announce func(at string) error) (net.Conn, string, error) {
	t, err := peerTarget(addr)
	if err != nil {
		return nil, "", chain.Fail(chain.PhaseConnect, fmt.Errorf("socks: target: %w", err))
	}
	conn, bound, err := d.command(ctx, commandBind, t)
	if err != nil {
		return nil, "", err
	}
	return d.await(ctx, conn, bound, announce, readBound)
}

// Await is SOCKS4's BIND. It is of [chain.Awaiter].
func (d *dialer4) Await(ctx context.Context, addr string, announce func(at string) error) (net.Conn, string, error) {
	t, err := peerTarget(addr)
	if err == nil {
		err = d.fits(t)
	}
	if err != nil {
		return nil, "", chain.Fail(chain.PhaseConnect, fmt.Errorf("socks: target: %w", err))
	}
	conn, err := d.reach(ctx)
	if err != nil {
		return nil, "", err
	}
	var bound target
	conn, err = d.shake(ctx, conn, chain.PhaseConnect, func(x *exchange) error {
		x.out = d.appendRequest(x.out, commandBind, t)
		bound, err = readBound4(x)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	return d.await(ctx, conn, bound, announce, readBound4)
}

// await announces what the hop has bound, and waits for its second reply.
func (d *dialer) await(ctx context.Context, conn net.Conn, bound target, announce func(string) error, read func(*exchange) (target, error)) (net.Conn, string, error) {
	at, err := d.ownIfNone(bound)
	if err == nil {
		err = announce(at)
	}
	if err != nil {
		_ = conn.Close()
		return nil, "", chain.Fail(chain.PhaseConnect, err)
	}
	patient := *d
	patient.handshakeLimit = 0 // the peer takes its time, and ctx ends it
	var from target
	conn, err = patient.shake(ctx, conn, chain.PhaseConnect, func(x *exchange) error {
		from, err = read(x)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	return conn, from.String(), nil
}

// ownIfNone returns the address in a hop's reply; one that is none is the hop's own.
func (d *dialer) ownIfNone(bound target) (string, error) {
	switch {
	case bound.port == 0:
		return "", errBound
	case bound.ip.IsValid() && !bound.ip.IsUnspecified():
		return bound.String(), nil
	case bound.name != "":
		if err := checkName(bound.name); err != nil {
			return "", errGarbage
		}
		return bound.String(), nil
	}
	own, err := parseTarget(d.addr)
	own.port = bound.port
	return own.String(), err
}

// bind serves p, a BIND: the far end's port is the first answer, who came the second.
func (s *Server) bind(ctx context.Context, p *pending) error {
	d, err := s.Relay.Route(ctx, p.request)
	if err != nil {
		return errors.Join(err, p.Reject(err))
	}
	b := &bindPending{pending: p}
	way := d.Dialer
	d.Dialer = chain.DialerFunc(func(ctx context.Context, _, addr string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		conn, from, err := chain.Await(ctx, way, net.JoinHostPort(host, strconv.Itoa(int(p.port))), b.announce)
		if err == nil {
			b.from, err = peerTarget(from)
		}
		if err != nil && conn != nil {
			_ = conn.Close()
			conn = nil
		}
		return conn, err
	})
	b.request.Decided, b.request.EarlyReply = &d, false
	return s.Relay.Serve(ctx, b)
}

// bindPending is a BIND between its two answers.
type bindPending struct {
	*pending
	from target
}

// Request is the pending's, which has been routed.
func (b *bindPending) Request() relay.Request { return b.request }

// announce is the first answer.
func (b *bindPending) announce(at string) error {
	t, err := peerTarget(at)
	if err != nil {
		return err
	}
	return b.say(succeeded.appendBound(nil, t))
}

// Accept is the second.
func (b *bindPending) Accept() (net.Conn, error) {
	if !b.from.ip.IsValid() && b.from.name == "" {
		b.from.ip = netip.IPv4Unspecified()
	}
	if err := b.say(succeeded.appendBound(nil, b.from)); err != nil {
		_ = b.conn.Close()
		return nil, err
	}
	return b.conn, nil
}
