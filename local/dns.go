package local

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/local/names"
	"github.com/byway-proxy/byway/relay"
)

// A nameServer is a DNS listener.
type nameServer struct {
	*names.Server
	packets *net.UDPConn
	conns   net.Listener
}

// dnsWays decides by which way the servers of each [[dns]] are reached, now and for good.
func (p *plan) dnsWays(c *configs.Client, base chain.Dialer, reach map[string]Path) error {
	for i := range c.DNS {
		n, table := &c.DNS[i], fmt.Sprintf("dns[%d]", i)
		if n.Via == configs.Block {
			return c.Errorf(table+".via", "%q leads nowhere", n.Via)
		}
		d, path, err := p.way(c, table, n.Via, base, reach)
		if err != nil {
			return err
		}
		path.DNS = n
		p.paths = append(p.paths, path)
		p.dns = append(p.dns, relay.Decision{Dialer: d, Via: n.Via, Rule: path.From})
	}
	return nil
}

// DNS returns the addresses of the DNS listeners, in the order of the file, once they are
// open.
func (s *Server) DNS() []net.Addr {
	var all []net.Addr
	for _, n := range s.names {
		all = append(all, n.packets.LocalAddr())
	}
	return all
}

// listenDNS listens for DNS listener i.
func (s *Server) listenDNS(ctx context.Context, i int) error {
	c := &s.config.DNS[i]
	n, err := s.openDNS(ctx, c, fmt.Sprintf("dns[%d].listen", i))
	if err != nil {
		return err
	}
	at := n.packets.LocalAddr().String()
	config := names.Config{
		Relay: s.relay, Way: s.plan.dns[i], Listener: at,
		Zero: c.Blocked == configs.BlockedZero, Cache: int(c.Cache), //nolint:gosec // configs gives no more than MostCached
		Blocked: func(name string, client net.Addr) bool {
			d, _ := s.plan.table.DecideName(relay.Request{Addr: name, Client: client, Listener: at}, time.Now())
			return d.Dialer == nil
		},
	}
	for _, u := range c.Upstreams {
		config.Upstreams = append(config.Upstreams, string(u))
	}
	if n.Server, err = names.New(config); err != nil {
		n.deafen()
		return s.config.Errorf(fmt.Sprintf("dns[%d].upstream", i), "%w", err)
	}
	s.names = append(s.names, n)
	return nil
}

// openDNS opens one port for TCP and UDP.
func (s *Server) openDNS(ctx context.Context, c *configs.DNS, key string) (*nameServer, error) {
	for try := 1; ; try++ {
		l, err := s.openTCP(ctx, c.Listen, c.Open, key)
		if err != nil {
			return nil, err
		}
		p, err := listenUDP(l.Addr())
		if err == nil {
			return &nameServer{packets: p, conns: l}, nil
		}
		_ = l.Close()
		if _, port, _ := net.SplitHostPort(c.Listen); port != "0" || try == 20 { // else another port may be free
			return nil, s.config.Errorf(key, "cannot be listened on: %w", err)
		}
	}
}

// listenUDP listens by UDP where a listens by TCP.
func listenUDP(a net.Addr) (*net.UDPConn, error) {
	at, ok := a.(*net.TCPAddr)
	if !ok {
		return nil, net.UnknownNetworkError(a.Network())
	}
	return net.ListenUDP("udp", net.UDPAddrFromAddrPort(at.AddrPort()))
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

// closeNames ends what the DNS listeners have under way.
func (s *Server) closeNames() {
	for _, n := range s.names {
		_ = n.Close()
	}
}
