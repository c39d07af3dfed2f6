package egress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/dnsask"
	"github.com/byway-proxy/byway/internal/eyeballs"
	"github.com/byway-proxy/byway/internal/gauge"
)

// A Resolver looks names up. *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// A Policy is a dialer to those targets that the egress may reach. It resolves a
// name once, checks every address, and dials the addresses that passed, racing
// them as RFC 8305 says. The zero value refuses all: Resolver and Base are required.
type Policy struct {
	Resolver Resolver
	Base     chain.Dialer // is given addresses only, never names

	// Deny refuses addresses, whatever Allow says; Allow lets addresses through
	// that are special-purpose or the server's own. DenyPorts refuses ports.
	Allow, Deny []netip.Prefix
	DenyPorts   []uint16

	own ownAddrs
}

// ErrNotAllowed is the error of a target that the policy refuses. Its errno is EACCES.
var ErrNotAllowed error = notAllowed{}

type notAllowed struct{}

func (notAllowed) Error() string        { return "the egress does not allow this destination" }
func (notAllowed) Is(target error) bool { return target == syscall.EACCES }

// DialContext connects to addr over tcp, or makes a socket for datagrams to and from it alone. To dnsask.Exit it is itself that answers,
// with names and addresses in so far as tunnels may lead there, and to gauge.Exit with bytes.
func (p *Policy) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return p.dial(ctx, network, addr, nil)
}

// dial is DialContext within what only, if not nil, allows.
func (p *Policy) dial(ctx context.Context, network, addr string, only *destinations) (net.Conn, error) {
	if network != "tcp" && network != "udp" {
		return nil, fmt.Errorf("egress: network %q: %w", network, errors.ErrUnsupported)
	}
	if p.Base == nil || p.Resolver == nil {
		return nil, ErrNotAllowed
	}
	if addr == dnsask.Exit {
		if network == "udp" {
			return nobody(), nil
		}
		return p.resolver(), nil
	}
	if addr == gauge.Exit {
		near, far := net.Pipe()
		go gauge.Answer(far)
		return near, nil
	}
	host, port, err := splitTarget(addr)
	if err != nil {
		return nil, err
	}
	if slices.Contains(p.DenyPorts, port) {
		return nil, ErrNotAllowed
	}
	addrs, err := p.resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	addrs = slices.DeleteFunc(addrs, func(a netip.Addr) bool {
		return !p.allowed(a) || only != nil && !only.allows(host, a, port)
	})
	if len(addrs) == 0 {
		return nil, ErrNotAllowed
	}
	if network == "udp" {
		return first(ctx, p.Base, addrs, port)
	}
	return eyeballs.Dial(ctx, p.Base, network, strconv.Itoa(int(port)), eyeballs.Known(addrs))
}

// nobody returns a flow by which nothing comes, and nothing goes further: whoever asks for it
// learns that datagrams are carried as far as here.
func nobody() net.Conn {
	near, far := net.Pipe()
	go func() { _, _ = io.Copy(io.Discard, far) }()
	return near
}

// first returns a socket to the first of addrs that this machine has a route to. Whether
// anybody is there, no dial can tell.
func first(ctx context.Context, d chain.Dialer, addrs []netip.Addr, port uint16) (conn net.Conn, err error) {
	var errs []error
	for _, a := range addrs {
		if conn, err = d.DialContext(ctx, "udp", netip.AddrPortFrom(a.Unmap(), port).String()); err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errs[0]
}

// Carries reports that the policy carries datagrams if its base does. It is of chain.Carrier.
func (p *Policy) Carries(network string) bool { return chain.Carries(p.Base, network) }

func (p *Policy) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	addrs, err := p.Resolver.LookupNetIP(ctx, "ip", host)
	if err == nil && len(addrs) == 0 {
		err = &net.DNSError{Err: "no such host", IsNotFound: true}
	}
	return slices.Clone(addrs), err
}

// allowed reports whether a tunnel may lead to a. A v4-mapped address is judged as
// the IPv4 address that the system would dial.
func (p *Policy) allowed(a netip.Addr) bool {
	if a.Zone() != "" {
		return false
	}
	a = a.Unmap()
	if contains(p.Deny, a) {
		return false
	}
	if contains(p.Allow, a) {
		return true
	}
	return a.IsGlobalUnicast() && !contains(special, a) && !p.own.has(a)
}

// ownAddrs knows the addresses of this machine's interfaces.
type ownAddrs struct {
	mu    sync.Mutex
	read  time.Time
	addrs map[netip.Addr]bool
}

// ownFor is how long the addresses are taken to stay as they are.
const ownFor = 5 * time.Second

func (o *ownAddrs) has(a netip.Addr) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.addrs == nil || time.Since(o.read) > ownFor {
		list, err := net.InterfaceAddrs()
		if err != nil {
			return true // not known to be another's
		}
		o.addrs, o.read = make(map[netip.Addr]bool, len(list)), time.Now()
		for _, n := range list {
			if p, err := netip.ParsePrefix(n.String()); err == nil {
				o.addrs[p.Addr().Unmap().WithZone("")] = true
			}
		}
	}
	return o.addrs[a]
}
