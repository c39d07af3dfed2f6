package local

import (
	"context"
	"net"
	"syscall"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/dnsask"
)

// asking returns last, the last hop of a chain, with names that it can't resolve
// asked of the DNS server at that address, through the chain. An empty one changes
// nothing.
func asking(last chain.Hop, server string) chain.Hop {
	wrap := last.Wrap
	if server == "" || wrap == nil {
		return last
	}
	last.Wrap = func(next chain.Dialer) (chain.Dialer, error) {
		d, err := wrap(next)
		if err != nil || d == nil {
			return d, err
		}
		return &asker{Dialer: d, server: server}, nil
	}
	return last
}

// asker is a hop's dialer, and its way to a DNS server.
type asker struct {
	chain.Dialer
	server string
}

// Resolve is of chain.Resolver.
func (a *asker) Resolve(ctx context.Context, host string) (string, error) {
	if r, ok := a.Dialer.(chain.Resolver); ok {
		got, err := r.Resolve(ctx, host)
		if err == nil || chain.Errno(err) != syscall.EOPNOTSUPP {
			return got, err
		}
	}
	conn, err := a.DialContext(ctx, "tcp", a.server)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	got, err := dnsask.Ask(ctx, conn, host)
	if err != nil {
		return "", chain.Fail(chain.PhaseConnect, err)
	}
	return got, nil
}

// Await is of chain.Awaiter.
func (a *asker) Await(ctx context.Context, addr string, announce func(string) error) (net.Conn, string, error) {
	return chain.Await(ctx, a.Dialer, addr, announce)
}

// Carries is of chain.Carrier.
func (a *asker) Carries(network string) bool { return chain.Carries(a.Dialer, network) }

// Groups is that of chain.Chain.
func (a *asker) Groups() []chain.GroupStatus {
	if g, ok := a.Dialer.(interface{ Groups() []chain.GroupStatus }); ok {
		return g.Groups()
	}
	return nil
}

// Holdings is of chain.HoldingsOf.
func (a *asker) Holdings() chain.Holdings { return chain.HoldingsOf(a.Dialer) }

// Close closes what the hop keeps open.
func (a *asker) Close() error {
	if c, ok := a.Dialer.(interface{ Close() error }); ok {
		return c.Close()
	}
	return nil
}
