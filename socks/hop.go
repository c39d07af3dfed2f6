package socks

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/byway-proxy/byway/chain"
)

// HopOptions are the options of a SOCKS hop. The zero value is ready for use.
type HopOptions struct {
	// Name is the hop's name; "" means scheme://host:port.
	Name string

	// User and Password are sent to a SOCKS5 hop by RFC 1929 if User is set, and
	// then no other method is offered: whoever has a name is known by it, or
	// refused. Some providers have users without a password, so it may be empty.
	// A SOCKS4 hop takes User as the user id; it has no password.
	User, Password string

	// Pipeline is about the number of round trips of SOCKS5.
	Pipeline Pipeline

	// DialLimit bounds the way to the hop, HandshakeLimit the handshake with it,
	// which includes the hop's own way to the target; 0 means 10 s.
	DialLimit, HandshakeLimit time.Duration
}

// Hop5 returns a hop through the SOCKS5 server at addr, host:port. Names are
// sent to it as they are, as what others call socks5h.
//
// Its dialer returns the conn that reached the hop, with bytes of the target
// that came along with the reply before it ([chain.Unread]); it is an io.Closer. Failures are of
// [chain.PhaseDial] where DialLimit passed, [chain.PhaseAuth] up to the end of
// the authentication, and [chain.PhaseConnect] from there on; the latter wrap a
// [ReplyCode] if the hop gave one.
func Hop5(addr string, o HopOptions) chain.Hop {
	learnt := new(learning) // is about the server, whoever leads to it
	return chain.Hop{Name: o.name("socks5", addr), Wrap: func(next chain.Dialer) (chain.Dialer, error) {
		d, err := o.dialer(next, addr)
		if err != nil {
			return nil, err
		}
		switch {
		case o.User == "" && o.Password != "":
			return nil, errors.New("socks: a password without a user")
		case len(o.User) > 255 || len(o.Password) > 255:
			return nil, errors.New("socks: user names and passwords have 255 bytes at most")
		case o.Pipeline < Auto || o.Pipeline > Off:
			return nil, fmt.Errorf("socks: no such Pipeline: %d", o.Pipeline)
		}
		d5 := &dialer5{dialer: d, user: o.User, password: o.Password, pipeline: o.Pipeline, learnt: learnt}
		d5.closed, d5.close = context.WithCancel(context.Background())
		return d5, nil
	}}
}

// Hop4a returns a hop through the SOCKS4a server at addr. It sends names, and
// refuses IPv6 addresses. Failures wrap a [ReplyCode4] if the hop gave one.
func Hop4a(addr string, o HopOptions) chain.Hop { return hop4("socks4a", addr, o, true) }

// Hop4 returns a hop through the SOCKS4 server at addr. It takes IPv4 addresses
// only, and never resolves a name to get one: that would tell the name to the
// local network.
func Hop4(addr string, o HopOptions) chain.Hop { return hop4("socks4", addr, o, false) }

func hop4(scheme, addr string, o HopOptions, names bool) chain.Hop {
	return chain.Hop{Name: o.name(scheme, addr), Wrap: func(next chain.Dialer) (chain.Dialer, error) {
		d, err := o.dialer(next, addr)
		if err != nil {
			return nil, err
		}
		switch {
		case o.Password != "":
			return nil, errors.New("socks: SOCKS4 has no password")
		case len(o.User) > maxName || strings.IndexByte(o.User, 0) >= 0:
			return nil, errors.New("socks: a SOCKS4 user id has 255 bytes at most, and no NUL")
		}
		return &dialer4{dialer: d, user: o.User, names: names}, nil
	}}
}

func (o HopOptions) name(scheme, addr string) string {
	if o.Name != "" {
		return o.Name
	}
	return scheme + "://" + addr
}

// dialer is what the hops have in common.
type dialer struct {
	next                      chain.Dialer
	addr                      string // of the hop
	dialLimit, handshakeLimit time.Duration
}

func (o HopOptions) dialer(next chain.Dialer, addr string) (dialer, error) {
	d := dialer{next: next, addr: addr, dialLimit: o.DialLimit, handshakeLimit: o.HandshakeLimit}
	if next == nil {
		return d, errors.New("socks: no dialer that reaches the hop")
	}
	if _, err := parseTarget(addr); err != nil {
		return d, fmt.Errorf("socks: the hop's address: %w", err)
	}
	if d.dialLimit <= 0 {
		d.dialLimit = defaultLimit
	}
	if d.handshakeLimit <= 0 {
		d.handshakeLimit = defaultLimit
	}
	return d, nil
}

// target checks what is asked of a hop, before anything is dialled.
func (d *dialer) target(network, addr string) (target, error) {
	if network != "tcp" {
		return target{}, chain.Fail(chain.PhaseConnect, fmt.Errorf("socks: network %s: %w", network, errors.ErrUnsupported))
	}
	t, err := parseTarget(addr)
	if err != nil {
		return target{}, chain.Fail(chain.PhaseConnect, fmt.Errorf("socks: target: %w", err))
	}
	return t, nil
}

// reach dials the hop itself.
func (d *dialer) reach(ctx context.Context) (net.Conn, error) {
	limited, cancel := context.WithTimeout(ctx, d.dialLimit)
	defer cancel()
	conn, err := d.next.DialContext(limited, "tcp", d.addr)
	if err != nil && ctx.Err() == nil && limited.Err() != nil {
		return nil, chain.Fail(chain.PhaseDial, err)
	}
	return conn, err
}

// shake runs the handshake f over conn, which it owns, and returns what f leaves
// of it. f sets the exchange's phase, p at first, to that of a failure from then on.
func (d *dialer) shake(ctx context.Context, conn net.Conn, p chain.Phase, f func(*exchange) error) (net.Conn, error) {
	ahead, raw := chain.Raw(conn)
	x := newExchange(raw, ahead)
	defer x.release()
	x.phase = p
	err := chain.Handshake(ctx, raw, d.handshakeLimit, func() error { return f(x) })
	if err != nil {
		_ = raw.Close()
		return nil, chain.Fail(x.phase, err)
	}
	return chain.Unread(raw, x.rest()), nil
}

// dialer4 is the dialer of a SOCKS4 or 4a hop.
type dialer4 struct {
	dialer
	user  string
	names bool // 4a
}

func (d *dialer4) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	t, err := d.target(network, addr)
	if err != nil {
		return nil, err
	}
	conn, err := d.reach(ctx)
	if err != nil {
		return nil, err
	}
	return d.request(ctx, conn, t)
}

// Prepare dials the hop: before the request SOCKS4 has nothing to say. It is of
// [chain.Preparer].
func (d *dialer4) Prepare(ctx context.Context) (net.Conn, error) { return d.reach(ctx) }

// DialOver makes the request on a conn of Prepare.
func (d *dialer4) DialOver(ctx context.Context, conn net.Conn, network, addr string) (net.Conn, error) {
	t, err := d.target(network, addr)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return d.request(ctx, conn, t)
}

// target checks also what SOCKS4 can carry.
func (d *dialer4) target(network, addr string) (target, error) {
	t, err := d.dialer.target(network, addr)
	if err != nil {
		return t, err
	}
	if err := d.fits(t); err != nil {
		return t, chain.Fail(chain.PhaseConnect, err)
	}
	return t, nil
}

func (d *dialer4) fits(t target) error {
	switch {
	case t.ip.Is6():
		return familyError("SOCKS4 cannot carry an IPv6 address: use socks5")
	case t.ip.IsValid() && marksName(t.ip):
		return familyError("SOCKS4 has another meaning for the addresses 0.0.0.x")
	case !t.ip.IsValid() && !d.names:
		return familyError("SOCKS4 cannot carry a name, and it must not be resolved here: use socks4a")
	}
	return nil
}

func (d *dialer4) request(ctx context.Context, conn net.Conn, t target) (net.Conn, error) {
	return d.shake(ctx, conn, chain.PhaseConnect, func(x *exchange) error {
		x.out = d.appendRequest(x.out, commandConnect, t)
		_, err := readBound4(x)
		return err
	})
}

// readBound4 reads a reply of SOCKS4 and returns its address, which means something
// after BIND.
func readBound4(x *exchange) (target, error) {
	reply, err := x.ask(8)
	switch {
	case err != nil:
		return target{}, err
	case reply[0] != 0:
		return target{}, errGarbage
	}
	switch code := ReplyCode4(reply[1]); code {
	case granted4:
		return target{ip: netip.AddrFrom4([4]byte(reply[4:])), port: binary.BigEndian.Uint16(reply[2:])}, nil
	case noIdentd4, badIdent4:
		x.phase = chain.PhaseAuth
		return target{}, code
	default:
		return target{}, code
	}
}

func (d *dialer4) appendRequest(b []byte, command byte, t target) []byte {
	ip := [4]byte{0, 0, 0, 1}
	if t.ip.IsValid() {
		ip = t.ip.As4()
	}
	b = append(b, version4, command, byte(t.port>>8), byte(t.port))
	b = append(append(append(b, ip[:]...), d.user...), 0)
	if !t.ip.IsValid() {
		b = append(append(b, t.name...), 0)
	}
	return b
}
