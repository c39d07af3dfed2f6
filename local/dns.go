package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/internal/sockets"
	"github.com/byway-proxy/byway/local/names"
	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/route"
)

// A nameServer is a DNS listener.
type nameServer struct {
	*names.Server
	packets *net.UDPConn
	conns   net.Listener

	of  configs.DNS  // what it is made of,
	way chain.Dialer // and leads to its upstreams
}

// dnsWays decides by which way the servers of each [[dns]] are reached, now and for good.
func (p *plan) dnsWays(c *configs.Client, reach map[string]Path) error {
	for i := range c.DNS {
		n, table := &c.DNS[i], fmt.Sprintf("dns[%d]", i)
		if len(n.Upstreams) == 0 {
			place := c.Errorf(table, "here")
			p.paths = append(p.paths, Path{From: fmt.Sprintf("%s:%d", place.File, place.Line), DNS: n})
			p.dns = append(p.dns, relay.Decision{})
			continue
		}
		if n.Via == configs.Block {
			return c.Errorf(table+".via", "%q leads nowhere", n.Via)
		}
		d, path, err := p.way(c, table, n.Via, reach)
		if err != nil {
			return err
		}
		path.DNS = n
		p.paths = append(p.paths, path)
		p.dns = append(p.dns, relay.Decision{Dialer: d, Via: n.Via, Rule: path.From})
	}
	return nil
}

// newNameServer makes the server of DNS listener i of p at open sockets.
func (s *Server) newNameServer(p *plan, i int, packets *net.UDPConn, conns net.Listener) (*nameServer, error) {
	c, at := &p.config.DNS[i], packets.LocalAddr().String()
	decide := func(name string, client net.Addr) (relay.Decision, *route.Rule) {
		table := s.now().table
		d, i := table.DecideName(relay.Request{Addr: name, Client: client, Listener: at}, time.Now())
		if i < 0 {
			return d, nil
		}
		return d, &table[i]
	}
	config := names.Config{
		Relay: s.relay, Way: p.dns[i], Listener: at, Trace: dnsTrace(s.log, at),
		Zero: c.Blocked == configs.BlockedZero, Cache: int(c.Cache), //nolint:gosec // configs gives no more than MostCached
		Blocked: func(name string, client net.Addr) bool {
			d, _ := decide(name, client)
			return d.Dialer == nil
		},
		Listed: func(name string, client net.Addr) bool {
			d, rule := decide(name, client)
			return d.Dialer == nil && rule != nil && rule.IsAboutNames()
		},
	}
	if c.Addresses == configs.AddressesStandIn {
		config.StandIns = &s.stand.StandIns
		blocked := config.Blocked
		config.Blocked = func(name string, client net.Addr) bool {
			t, err := route.ParseHost(name)
			return err != nil || t.Name != name || blocked(name, client) // "0x7f.1" is an address
		}
	}
	for _, u := range c.Upstreams {
		config.Upstreams = append(config.Upstreams, string(u))
	}
	server, err := names.New(config)
	if err != nil {
		return nil, p.config.Errorf(fmt.Sprintf("dns[%d].upstream", i), "%w", err)
	}
	return &nameServer{Server: server, packets: packets, conns: conns, of: *c, way: p.dns[i].Dialer}, nil
}

// openDNS opens the port of DNS listener i of p, for TCP and UDP.
func openDNS(ctx context.Context, p *plan, i int) (*net.UDPConn, net.Listener, error) {
	c, key := &p.config.DNS[i], fmt.Sprintf("dns[%d].listen", i)
	for try := 1; ; try++ {
		l, err := p.openTCP(ctx, c.Listen, c.Open, key)
		if err != nil {
			return nil, nil, err
		}
		packets, err := listenUDP(l.Addr())
		if err == nil {
			return packets, l, nil
		}
		_ = l.Close()
		if _, port, _ := net.SplitHostPort(c.Listen); port != "0" || try == 20 { // else another port may be free
			return nil, nil, p.config.Errorf(key, "cannot be listened on: %w", err)
		}
	}
}

// again returns the sockets of n once more: what comes to them is lost to neither,
// and n can be deafened.
func (n *nameServer) again() (packets *net.UDPConn, conns net.Listener, err error) {
	l, ok := n.conns.(*net.TCPListener)
	if !ok {
		return nil, nil, errors.ErrUnsupported
	}
	if conns, err = copyOf(l, net.FileListener); err != nil {
		return nil, nil, err
	}
	p, err := copyOf(n.packets, net.FilePacketConn)
	if err != nil {
		_ = conns.Close()
		return nil, nil, err
	}
	return p.(*net.UDPConn), conns, nil
}

// copyOf returns of, made anew of a copy of its descriptor.
func copyOf[T any](of interface{ File() (*os.File, error) }, from func(*os.File) (T, error)) (out T, err error) {
	f, err := of.File()
	if err != nil {
		return out, err
	}
	defer f.Close() //nolint:errcheck // it was copied
	return from(f)
}

// listenUDP listens by UDP where a listens by TCP.
func listenUDP(a net.Addr) (*net.UDPConn, error) {
	at, ok := a.(*net.TCPAddr)
	if !ok {
		return nil, net.UnknownNetworkError(a.Network())
	}
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at.AddrPort()))
	if err == nil && at.IP.IsUnspecified() {
		sockets.TellAsked(c)
	}
	return c, err
}

// serve answers until n is deafened.
func (n *nameServer) serve() {
	var wg sync.WaitGroup
	wg.Go(func() { n.Serve(n.conns) })
	wg.Go(func() { n.ServePacket(n.packets) })
	wg.Wait()
}

// deafen has n take no more questions.
func (n *nameServer) deafen() {
	_ = n.packets.Close()
	_ = n.conns.Close()
}

// finish ends what n has under way: it is deaf.
func (n *nameServer) finish() { _ = n.Close() }
