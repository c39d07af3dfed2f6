package local

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"sync/atomic"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/internal/eyeballs"
	"github.com/byway-proxy/byway/local/names"
)

// A direct is how targets are reached without a hop, where a DNS server is named for their
// names: the base is given addresses alone, so the system's resolver is not asked.
type direct struct {
	base    chain.Dialer
	names   *names.Client
	of      configs.Resolve
	dialing atomic.Int64
}

// directCache is how many answers are kept.
const directCache = 4096

// newDirect returns how p reaches what goes direct: by base, or by what old, which may be nil,
// has made for the same server.
func newDirect(p *plan, base chain.Dialer, old *plan, log *slog.Logger) (chain.Dialer, error) {
	c := p.config.Resolve
	if c.Direct == "" {
		return base, nil
	}
	if old != nil {
		if d, ok := old.direct.(*direct); ok && d.of == c && sameDialer(d.base, base) {
			return d, nil
		}
	}
	client, err := names.NewClient(names.ClientConfig{
		Server: string(c.Direct), Cache: directCache, Trace: dnsTrace(log, "direct"),
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			host, port, err := net.SplitHostPort(addr)
			if c.Address.IsValid() {
				host = c.Address.String()
			}
			if _, bad := netip.ParseAddr(host); err != nil || bad != nil { // configs lets none through
				return nil, fmt.Errorf("the DNS server %s has no address", c.Direct)
			}
			return base.DialContext(ctx, network, net.JoinHostPort(host, port))
		},
	})
	if err != nil {
		return nil, p.config.Errorf("resolve.direct", "%w", err)
	}
	return &direct{base: base, names: client, of: c}, nil
}

// DialContext is of chain.Dialer.
func (d *direct) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if _, isName := netip.ParseAddr(host); err != nil || isName == nil || network != "tcp" && network != "udp" {
		return d.base.DialContext(ctx, network, addr)
	}
	d.dialing.Add(1)
	defer d.dialing.Add(-1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	found, failed := d.names.Lookup(ctx, host)
	conn, err := eyeballs.Dial(ctx, d.base, network, port, found)
	if conn == nil && err == nil {
		err = failed()
	}
	return conn, err
}

// Resolve is of chain.Resolver.
func (d *direct) Resolve(ctx context.Context, host string) (string, error) {
	d.dialing.Add(1)
	defer d.dialing.Add(-1)
	if a, err := netip.ParseAddr(host); err == nil {
		return d.names.Name(ctx, a)
	}
	found, failed := d.names.Lookup(ctx, host)
	var all []netip.Addr
	for some := range found {
		all = append(all, some...)
	}
	if len(all) == 0 {
		return "", failed()
	}
	return chain.Preferred(all)
}

// Carries is of chain.Carrier.
func (d *direct) Carries(network string) bool { return chain.Carries(d.base, network) }

// Dialing returns how many dials and look-ups are under way.
func (d *direct) Dialing() int { return int(d.dialing.Load()) }

// Close ends the conns to the server.
func (d *direct) Close() error { return d.names.Close() }

// ResolverOf tells people who resolves the names of what goes direct in c: "this system", or a
// DNS server.
func ResolverOf(c *configs.Client) string {
	if c.Resolve.Direct == "" {
		return "this system"
	}
	server := string(c.Resolve.Direct)
	if u, err := url.Parse(server); err == nil {
		u.RawQuery = ""
		server = u.String()
	}
	if c.Resolve.Address.IsValid() {
		server += " at " + c.Resolve.Address.String()
	}
	return server
}
