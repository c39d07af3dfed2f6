package upstream

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Resolver looks names up; *net.Resolver does.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	LookupSRV(ctx context.Context, service, proto, name string) (cname string, addrs []*net.SRV, err error)
}

// An Origin is what a configuration names: one server, or all that a name stands for.
type Origin struct {
	// Server is as in [NewPool], without a client; of a name, each server that it stands for is like it.
	Server Server

	// Follow makes each address of the URL's host a server, as they change. It goes without saying for
	// a URL with +srv, whose host is the name of SRV records (RFC 2782), such as _http._tcp.example.org: of those, the
	// targets of the lowest priority that has any are servers, by their weight.
	Follow bool

	// Client makes that of a server at addr (host:port), or, if that is empty, at the URL.
	Client func(addr string) (Client, error)
}

// resolveLimit bounds one look-up.
const resolveLimit = 10 * time.Second

// Follow has p be of the servers that origins stand for, and looks names up every interval, or sooner after a failure. What
// was found last stays as long as nothing else is found. Requests wait for the first look-up.
func (p *Pool) Follow(origins []Origin, r Resolver, interval time.Duration) error {
	f := &follower{p: p, origins: origins, resolver: r, found: make([][]*Server, len(origins)), done: make(chan struct{})}
	named := false
	for i, o := range origins {
		if o.Follow || strings.HasSuffix(o.URL().Scheme, "+srv") {
			named = true
			continue
		}
		s, err := o.at("", 1)
		if err != nil {
			return err
		}
		f.found[i] = []*Server{s}
	}
	if !named {
		f.apply()
		return nil
	}
	p.mu.Lock()
	p.resolved = f.done
	p.mu.Unlock()
	p.run.Go(func() { f.follow(interval) })
	return nil
}

// URL is where the origin is.
func (o *Origin) URL() *url.URL { return o.Server.URL }

// at makes the server of o at an address.
func (o *Origin) at(addr string, weight float64) (*Server, error) {
	c, err := o.Client(addr)
	if err != nil {
		return nil, err
	}
	s := &Server{
		Name: o.Server.Name, URL: o.Server.URL, Client: c, Weight: cmp.Or(o.Server.Weight, 1) * weight, Limit: o.Server.Limit,
		Region: o.Server.Region, At: o.Server.At,
	}
	if addr != "" {
		s.Name = addr
	}
	return s, nil
}

// A follower knows what names stood for when they were looked up last.
type follower struct {
	p        *Pool
	origins  []Origin
	resolver Resolver
	found    [][]*Server // of each origin
	done     chan struct{}
}

func (f *follower) follow(interval time.Duration) {
	ctx := f.p.ctx
	soon := min(time.Second, interval)
	for first := true; ; first = false {
		wait := interval
		for i := range f.origins {
			if err := f.look(ctx, i); err != nil {
				wait = soon
				if t := f.p.set.Trace; t != nil && t.Unresolved != nil && ctx.Err() == nil {
					t.Unresolved(f.origins[i].URL().Hostname(), err)
				}
			}
		}
		f.apply()
		if first {
			close(f.done)
		}
		if wait == soon {
			soon = min(2*soon, interval)
		} else {
			soon = min(time.Second, interval)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// apply has the pool be of what was found.
func (f *follower) apply() { f.p.SetServers(slices.Concat(f.found...)) }

// A spot is an address and its share.
type spot struct {
	addr   string
	weight float64
}

// look looks origin i up, if it is a name, and keeps the servers of spots that are there still.
func (f *follower) look(ctx context.Context, i int) error {
	o := &f.origins[i]
	ctx, cancel := context.WithTimeout(ctx, resolveLimit)
	defer cancel()
	var spots []spot
	var err error
	switch {
	case strings.HasSuffix(o.URL().Scheme, "+srv"):
		spots, err = f.services(ctx, o.URL().Hostname())
	case o.Follow:
		spots, err = f.addresses(ctx, o.URL().Hostname(), portOf(o.URL()), 1)
	default:
		return nil
	}
	if err != nil {
		return err
	}
	var now []*Server
	for _, at := range spots {
		known := slices.IndexFunc(f.found[i], func(s *Server) bool {
			return s.Name == at.addr && s.Weight == cmp.Or(o.Server.Weight, 1)*at.weight
		})
		if known >= 0 {
			now = append(now, f.found[i][known])
			continue
		}
		s, err := o.at(at.addr, at.weight)
		if err != nil {
			return err
		}
		now = append(now, s)
	}
	f.found[i] = now
	return nil
}

// addresses returns what host stands for, in an order that does not change by itself.
func (f *follower) addresses(ctx context.Context, host, port string, weight float64) ([]spot, error) {
	addrs, err := f.resolver.LookupNetIP(ctx, "ip", host)
	if err == nil && len(addrs) == 0 {
		err = errors.New("the name has no address")
	}
	if err != nil {
		return nil, err
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	var all []spot
	for _, a := range slices.Compact(addrs) {
		all = append(all, spot{net.JoinHostPort(a.String(), port), weight})
	}
	return all, nil
}

// services returns the targets of the lowest priority of which one can be resolved (RFC 2782).
func (f *follower) services(ctx context.Context, name string) ([]spot, error) {
	_, records, err := f.resolver.LookupSRV(ctx, "", "", name)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(records, func(a, b *net.SRV) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Target, b.Target), cmp.Compare(a.Port, b.Port))
	})
	err = errors.New("the name has no service")
	var all []spot
	for i, r := range records {
		if len(all) > 0 && r.Priority != records[i-1].Priority {
			break
		}
		target := strings.TrimSuffix(r.Target, ".")
		if target == "" {
			continue // decidedly not available (RFC 2782)
		}
		// A weight of 0 is for a target that should be chosen hardly ever.
		weight := max(float64(r.Weight), 0.01)
		found, e := f.addresses(ctx, target, strconv.Itoa(int(r.Port)), 1)
		if e != nil {
			err = e
			continue
		}
		for _, at := range found {
			at.weight = weight / float64(len(found))
			all = append(all, at)
		}
	}
	if len(all) > 0 {
		return all, nil
	}
	return nil, err
}
