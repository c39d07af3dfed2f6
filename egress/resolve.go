package egress

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/byway-proxy/byway/internal/dnsask"
)

// resolveIdle is for how long a conn to ask for names may be silent.
const resolveIdle = time.Minute

// resolver returns a conn to ask for names by, which are resolved here and told as
// far as the policy lets tunnels lead there.
func (p *Policy) resolver() net.Conn {
	near, far := net.Pipe()
	go dnsask.Answer(far, source{p}, resolveIdle)
	return near
}

// source tells what the policy lets through.
type source struct{ *Policy }

// Addrs returns the addresses of name that a tunnel may lead to.
func (s source) Addrs(ctx context.Context, name string) ([]netip.Addr, error) {
	addrs, err := s.resolve(ctx, name)
	if err != nil {
		return nil, err
	}
	addrs = slices.DeleteFunc(addrs, func(a netip.Addr) bool { return !s.allowed(a) })
	if len(addrs) == 0 {
		return nil, ErrNotAllowed
	}
	return addrs, nil
}

// Names returns the names of an address that a tunnel may lead to.
func (s source) Names(ctx context.Context, addr netip.Addr) ([]string, error) {
	r, ok := s.Resolver.(interface {
		LookupAddr(ctx context.Context, addr string) ([]string, error)
	})
	if !ok || !s.allowed(addr) {
		return nil, ErrNotAllowed
	}
	return r.LookupAddr(ctx, addr.String())
}
