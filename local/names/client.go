package names

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// resolutionDelay is how long addresses of IPv4 wait for those of IPv6 (RFC 8305 §3).
const resolutionDelay = 50 * time.Millisecond

// ClientConfig is what a [Client] is made of. Server and Dial are required.
type ClientConfig struct {
	Server string // a URL: https, tls, tcp or udp
	Dial   func(ctx context.Context, network, addr string) (net.Conn, error)
	TLS    *tls.Config // nil for the system's roots
	Cache  int         // how many answers are kept at most; 0 keeps none
	Trace  *Trace      // told how the server fares; may be nil
}

// A Client looks names up, for this program, by one server and by nobody else. What it was told
// is kept as long as its TTL allows.
type Client struct {
	config   ClientConfig
	standing *standing
	wg       sync.WaitGroup // what outlives a Forget

	mu     sync.Mutex
	now    *resolver
	closed bool
}

// NewClient returns a client, or says why the server can't be asked.
func NewClient(c ClientConfig) (*Client, error) {
	client := &Client{config: c, standing: newStanding(c.Server, c.Trace)}
	var err error
	client.now, err = client.resolver()
	return client, err
}

func (c *Client) resolver() (*resolver, error) {
	r := newResolver(c.config.Cache)
	u, err := newUpstream(c.config.Server, func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(r.ctx, cancel)()
		conn, err := c.config.Dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return tie(r.ctx, conn), nil
	}, c.config.TLS)
	if err != nil {
		return nil, err
	}
	r.servers = []*server{{upstream: u, standing: c.standing}}
	return r, nil
}

// Forget has all look-ups to come share nothing with those before.
func (c *Client) Forget() {
	r, err := c.resolver()
	if err != nil { // it was made before
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.now.retire(&c.wg)
		c.now = r
	}
}

// Close ends the look-ups under way, and the conns to the server.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	r := c.now
	c.mu.Unlock()
	r.Close()
	c.wg.Wait()
	return nil
}

// errNoAnswer is about the server, and says nothing of the name.
var errNoAnswer = errors.New("the DNS server that is named for it gives no answer")

func notFound(name string) error {
	return &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

// ask returns the records for a name, whose kind they all have.
func (c *Client) ask(ctx context.Context, name string, kind uint16) ([]dns.RR, error) {
	if _, ok := dns.IsDomainName(name); !ok || strings.Contains(name, `\`) || nobodys(name) {
		return nil, notFound(name)
	}
	c.mu.Lock()
	r := c.now
	c.mu.Unlock()
	a := r.ask(ctx, key{name: strings.ToLower(dns.Fqdn(name)), kind: kind})
	switch {
	case a == nil && ctx.Err() != nil:
		return nil, ctx.Err()
	case a == nil, failure(a.rcode):
		return nil, errNoAnswer
	}
	var all []dns.RR
	for _, rr := range a.records {
		if rr.Header().Rrtype == kind { // of aliases, those at the end
			all = append(all, rr)
		}
	}
	if len(all) == 0 {
		return nil, notFound(name)
	}
	return all, nil
}

// nobodys reports whether a name is one that servers are not asked about (RFC 6761 §6.4,
// RFC 7686 §2, RFC 9476 §2). The zones of home networks may be why a server is named.
func nobodys(name string) bool {
	for _, zone := range []string{"onion.", "invalid.", "alt."} {
		if dns.IsSubDomain(zone, dns.Fqdn(strings.ToLower(name))) {
			return true
		}
	}
	return false
}

// addrs returns the addresses of a name, of one family.
func (c *Client) addrs(ctx context.Context, name string, kind uint16) (all []netip.Addr, err error) {
	if dns.IsSubDomain("localhost.", dns.Fqdn(strings.ToLower(name))) { // RFC 6761 §6.3
		return map[uint16][]netip.Addr{
			dns.TypeA: {netip.AddrFrom4([4]byte{127, 0, 0, 1})}, dns.TypeAAAA: {netip.IPv6Loopback()},
		}[kind], nil
	}
	records, err := c.ask(ctx, name, kind)
	for _, rr := range records {
		var ip net.IP
		switch rr := rr.(type) {
		case *dns.A:
			ip = rr.A
		case *dns.AAAA:
			ip = rr.AAAA
		}
		if a, ok := netip.AddrFromSlice(ip); ok {
			all = append(all, a.Unmap())
		}
	}
	return all, err
}

// Lookup looks both families of name's addresses up at once. They come by found, which is
// closed at the end: as soon as they are there, but those of IPv4 wait for those of IPv6 a
// little (RFC 8305 §3). After that failed tells why there are none.
func (c *Client) Lookup(ctx context.Context, name string) (found <-chan []netip.Addr, failed func() error) {
	type result struct {
		addrs []netip.Addr
		err   error
	}
	ask := func(kind uint16) <-chan result {
		done := make(chan result, 1)
		go func() {
			addrs, err := c.addrs(ctx, name, kind)
			done <- result{addrs, err}
		}()
		return done
	}
	six, four := ask(dns.TypeAAAA), ask(dns.TypeA)
	out := make(chan []netip.Addr, 2)
	var err error
	take := func(r result) {
		if len(r.addrs) > 0 {
			out <- r.addrs
		}
		var missing *net.DNSError
		if err == nil || errors.As(err, &missing) { // that nobody answers says more
			err = r.err
		}
	}
	go func() {
		defer close(out)
		select {
		case r := <-six:
			take(r)
			take(<-four)
			return
		case r := <-four:
			wait := time.NewTimer(resolutionDelay)
			defer wait.Stop()
			select {
			case first := <-six:
				take(first)
				take(r)
			case <-wait.C:
				take(r)
				take(<-six)
			}
		}
	}()
	return out, func() error { return err }
}

// Name returns the name of an address.
func (c *Client) Name(ctx context.Context, a netip.Addr) (string, error) {
	reverse, err := dns.ReverseAddr(a.WithZone("").String())
	if err != nil {
		return "", err
	}
	records, err := c.ask(ctx, reverse, dns.TypePTR)
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(records[0].(*dns.PTR).Ptr, "."), nil
}
