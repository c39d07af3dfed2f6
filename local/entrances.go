package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"slices"

	"github.com/byway-proxy/byway/configs"
)

// entrances are all addresses that are listened on for a plan.
type entrances struct {
	doors []*door       // the listeners, then the forwards of TCP
	flows []*udpForward // the forwards of UDP
	names []*nameServer // the DNS listeners
	told  []net.Addr    // of the forwards, in the order of the file
}

// all returns what is to be closed.
func (e *entrances) all() []io.Closer {
	var all []io.Closer
	for _, d := range e.doors {
		all = append(all, d)
	}
	for _, u := range e.flows {
		all = append(all, u)
	}
	for _, n := range e.names {
		all = append(all, closerFunc(n.deafen))
	}
	return all
}

type closerFunc func()

func (f closerFunc) Close() error { f(); return nil }

// An opening makes the entrances of a plan of those that there are and of new ones.
// Nothing that was there is touched before commit.
type opening struct {
	s      *Server
	p      *plan
	before *entrances
	now    entrances
	opened []io.Closer // new ones, to be closed on failure
	casts  []func()    // of commit, before anybody comes in by what is new
}

// open opens what is missing for p. Where it fails, all is as it was.
func (s *Server) open(ctx context.Context, p *plan, before *entrances) (*opening, error) {
	o := &opening{s: s, p: p, before: before}
	p.sockets = s.sockets
	err := o.open(ctx)
	if err != nil {
		o.discard()
		return nil, err
	}
	return o, nil
}

func (o *opening) discard() {
	for _, c := range o.opened {
		_ = c.Close()
	}
}

func (o *opening) open(ctx context.Context) error {
	c := o.p.config
	casts := make([]*casting, len(c.Listeners))
	for i := range c.Listeners {
		var err error
		if casts[i], err = o.s.cast(o.p, i); err != nil {
			return err
		}
	}
	for i := range c.Listeners {
		if err := o.listener(ctx, i, casts[i]); err != nil {
			return err
		}
	}
	for i := range c.Forwards {
		if err := o.forward(ctx, i); err != nil {
			return err
		}
	}
	for i := range c.DNS {
		if err := o.dns(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// door returns the open door of key, which is used once, or nil.
func (o *opening) door(key string) *door {
	for _, d := range o.before.doors {
		if d.key == key && !slices.Contains(o.now.doors, d) {
			return d
		}
	}
	return nil
}

// enter adds a door, a new one of l unless there is d, whose role becomes r.
func (o *opening) enter(d *door, key string, l net.Listener, cast func(address string, before *role) *role) *door {
	if d == nil {
		d = &door{Listener: l, key: key}
		o.opened = append(o.opened, d)
	}
	before := d.role.Load()
	r := cast(d.Addr().String(), before)
	o.now.doors = append(o.now.doors, d)
	if r != before {
		o.casts = append(o.casts, func() {
			d.role.Store(r)
			before.retire()
		})
	}
	return d
}

func (o *opening) listener(ctx context.Context, i int, c *casting) error {
	one := &o.p.config.Listeners[i]
	key := "tcp " + one.Address
	path, unix := one.Socket()
	if unix {
		key = "unix " + path
	}
	d := o.door(key)
	var l net.Listener
	var err error
	switch {
	case d == nil:
		l, err = open(ctx, o.p, i)
	case unix:
		if err = tellsPeer(o.p.config, i); err == nil && d.role.Load().of.listener.Mode != one.Mode {
			o.casts = append(o.casts, func() { o.s.chmod(path, one.Mode) })
		}
	default:
		err = within(o.p.config, d.Addr(), one.Address, one.Open || len(one.Users) > 0, fmt.Sprintf("listen[%d].address", i))
	}
	if err != nil {
		return err
	}
	o.enter(d, key, l, func(address string, before *role) *role { return c.at(address, o.s, before) })
	return nil
}

func (o *opening) forward(ctx context.Context, i int) error {
	f := &o.p.config.Forwards[i]
	if f.Network == configs.UDP {
		return o.forwardUDP(i)
	}
	key, at := "tcp "+f.Listen, fmt.Sprintf("forward[%d].listen", i)
	d := o.door(key)
	var l net.Listener
	var err error
	if d == nil {
		l, err = o.p.openTCP(ctx, f.Listen, f.Open, at)
	} else {
		err = within(o.p.config, d.Addr(), f.Listen, f.Open, at)
	}
	if err != nil {
		return err
	}
	d = o.enter(d, key, l, func(address string, _ *role) *role { return forwardRole(o.p, i, address) })
	o.now.told = append(o.now.told, d.Addr())
	return nil
}

func (o *opening) forwardUDP(i int) error {
	f := &o.p.config.Forwards[i]
	at := slices.IndexFunc(o.before.flows, func(u *udpForward) bool {
		return u.key == f.Listen && !slices.Contains(o.now.flows, u)
	})
	var u *udpForward
	if at >= 0 {
		u = o.before.flows[at]
		if err := within(o.p.config, u.socket.LocalAddr(), f.Listen, f.Open, fmt.Sprintf("forward[%d].listen", i)); err != nil {
			return err
		}
	} else {
		socket, err := openUDP(o.p, i)
		if err != nil {
			return err
		}
		u = newUDPForward(socket, nil, o.s.relay)
		u.key = f.Listen
		o.opened = append(o.opened, u)
	}
	q := forwardRequest(o.p, i, u.socket.LocalAddr().String())
	o.casts = append(o.casts, func() { u.request.Store(q) })
	o.now.flows = append(o.now.flows, u)
	o.now.told = append(o.now.told, u.socket.LocalAddr())
	return nil
}

// dns keeps a DNS listener that is the same, with its answers. One that is not goes on
// with the sockets of the one before.
func (o *opening) dns(ctx context.Context, i int) error {
	c := &o.p.config.DNS[i]
	at := slices.IndexFunc(o.before.names, func(n *nameServer) bool {
		return n.of.Listen == c.Listen && !slices.Contains(o.now.names, n)
	})
	if at >= 0 {
		if n := o.before.names[at]; reflect.DeepEqual(n.of, *c) && (len(c.Upstreams) == 0 || sameDialer(n.way, o.p.dns[i].Dialer)) {
			o.now.names = append(o.now.names, n)
			return nil
		}
	}
	var packets *net.UDPConn
	var conns net.Listener
	var err error
	if at >= 0 {
		if packets, conns, err = o.before.names[at].again(); err != nil {
			err = o.p.config.Errorf(fmt.Sprintf("dns[%d].listen", i), "is served, and on this system can't be changed while it is (%w); restart byway", err)
		} else if err = within(o.p.config, conns.Addr(), c.Listen, c.Open, fmt.Sprintf("dns[%d].listen", i)); err != nil {
			_, _ = packets.Close(), conns.Close()
		}
	} else {
		packets, conns, err = openDNS(ctx, o.p, i)
	}
	if err != nil {
		return err
	}
	n, err := o.s.newNameServer(o.p, i, packets, conns)
	if err != nil {
		_, _ = packets.Close(), conns.Close()
		return err
	}
	o.opened = append(o.opened, closerFunc(func() { n.deafen(); _ = n.Close() }))
	o.now.names = append(o.now.names, n)
	return nil
}

// without returns what of e is not in other as well.
func (e *entrances) without(other *entrances) (rest entrances) {
	for _, d := range e.doors {
		if !slices.Contains(other.doors, d) {
			rest.doors = append(rest.doors, d)
		}
	}
	for _, u := range e.flows {
		if !slices.Contains(other.flows, u) {
			rest.flows = append(rest.flows, u)
		}
	}
	for _, n := range e.names {
		if !slices.Contains(other.names, n) {
			rest.names = append(rest.names, n)
		}
	}
	return rest
}

var errStopping = errors.New("byway is stopping")
