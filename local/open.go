package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/internal/sockets"
)

// open listens at the address of listener i of p.
func open(ctx context.Context, p *plan, i int) (net.Listener, error) {
	c := &p.config.Listeners[i]
	key := fmt.Sprintf("listen[%d].", i)
	path, ok := c.Socket()
	if !ok {
		return p.openTCP(ctx, c.Address, c.Open || len(c.Users) > 0, key+"address")
	}
	if err := tellsPeer(p.config, i); err != nil {
		return nil, err
	}
	if l := p.sockets.Listener(path); l != nil { // its mode is the manager's to give
		return l, nil
	}
	l, err := sockets.Listen(ctx, path, c.Mode)
	if errors.Is(err, errors.ErrUnsupported) {
		err = errors.New("sockets have no mode on this system; listen on 127.0.0.1")
	}
	if err != nil {
		return nil, p.config.Errorf(key+"address", "cannot be listened on: %w", err)
	}
	return l, nil
}

// tellsPeer returns an error if listener i wants to know of the system what that does not tell.
func tellsPeer(c *configs.Client, i int) error {
	if c.Listeners[i].AllowUIDs != nil && !sockets.TellsPeer {
		return c.Errorf(fmt.Sprintf("listen[%d].allow_uids", i), "this system does not tell who connects; remove it, and use mode")
	}
	return nil
}

// openTCP is the function of that name, with the sockets that were handed over.
func (p *plan) openTCP(ctx context.Context, address string, beyond bool, key string) (net.Listener, error) {
	l := p.sockets.Listener(address)
	if l == nil {
		return openTCP(ctx, p.config, address, beyond, key)
	}
	err := within(p.config, l.Addr(), address, beyond, key)
	if t, ok := l.(*net.TCPListener); ok && err == nil {
		if raw, rerr := t.SyscallConn(); rerr == nil {
			_ = keepAlives("", "", raw) // without, net's are the ones of accepted conns
		}
	}
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// openTCP listens at host:port. Unless that may be beyond loopback, it makes sure
// that it is not: "localhost" is what this system says it is.
func openTCP(ctx context.Context, c *configs.Client, address string, beyond bool, key string) (net.Listener, error) {
	l, err := (&net.ListenConfig{KeepAlive: keepAlive, Control: keepAlives}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, c.Errorf(key, "cannot be listened on: %w", err)
	}
	if err := within(c, l.Addr(), address, beyond, key); err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// within returns an error if a, which address stands for, is beyond loopback and may not be.
func within(c *configs.Client, a net.Addr, address string, beyond bool, key string) error {
	if beyond {
		return nil
	}
	switch a := a.(type) {
	case *net.TCPAddr:
		if a.IP.IsLoopback() {
			return nil
		}
	case *net.UDPAddr:
		if a.IP.IsLoopback() {
			return nil
		}
	}
	return c.Errorf(key, "%q is %v here, which other machines can reach; listen on 127.0.0.1", address, a)
}

// peers says who may be at the other end of a conn, and who speaks for others.
type peers struct {
	unix    bool
	uids    []sockets.UID  // of a unix socket; nil leaves it to the mode
	proxies []netip.Prefix // whose conns begin with a header of the PROXY protocol
}

func peersOf(c *configs.Listener) peers {
	if _, ok := c.Socket(); !ok {
		return peers{proxies: c.ProxyProtocol}
	}
	p := peers{unix: true}
	all, own := c.UIDs()
	if own && sockets.TellsPeer {
		all = []int{0, os.Geteuid()}
	}
	for _, uid := range all {
		p.uids = append(p.uids, sockets.UID(uid)) //nolint:gosec // configs gives no others
	}
	return p
}

// admit returns c, whose remote address tells the client, or closes it. It waits
// for no more than limit.
func (p *peers) admit(ctx context.Context, c net.Conn, limit time.Duration) (net.Conn, error) {
	var in net.Conn
	var err error
	if p.unix {
		in, err = p.identify(c)
	} else {
		in, err = p.unwrap(ctx, c, limit)
	}
	if err != nil {
		_ = c.Close()
	}
	return in, err
}

// identify asks the system who is at the other end of a unix socket.
func (p *peers) identify(c net.Conn) (net.Conn, error) {
	uid, err := sockets.Peer(c)
	switch {
	case errors.Is(err, errors.ErrUnsupported) && p.uids == nil:
		return c, nil
	case err != nil:
		return nil, err
	case p.uids != nil && !slices.Contains(p.uids, uid):
		return nil, fmt.Errorf("%v may not use the socket; see allow_uids", uid)
	}
	return chain.From(c, uid), nil
}
