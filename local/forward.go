package local

import (
	"context"
	"fmt"
	"net"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/relay"
)

// forwards decides where each forward leads, now and for good: no rule is asked
// when it is used.
func (p *plan) forwards(c *configs.Client, base chain.Dialer, reach map[string]Path) error {
	for i := range c.Forwards {
		f := &c.Forwards[i]
		table := fmt.Sprintf("forward[%d]", i)
		d, path, err := p.way(c, table, f.To, base, reach)
		if err != nil {
			return err
		}
		if f.Network == configs.UDP && !chain.Carries(d, "udp") {
			return c.Errorf(table+".to", "%q can't carry UDP; every hop has to be socks5", f.To)
		}
		path.Forward = f
		p.paths = append(p.paths, path)
		p.ways = append(p.ways, relay.Decision{Dialer: d, Via: f.To, Rule: path.From})
	}
	return nil
}

// forward listens at the address of forward i, which it returns.
func (s *Server) forward(ctx context.Context, i int) (net.Addr, error) {
	f := &s.config.Forwards[i]
	if f.Network == configs.UDP {
		u, err := s.forwardUDP(i)
		if err != nil {
			return nil, err
		}
		s.forwards = append(s.forwards, u)
		return u.socket.LocalAddr(), nil
	}
	l, err := s.openTCP(ctx, f.Listen, f.Open, fmt.Sprintf("forward[%d].listen", i))
	if err != nil {
		return nil, err
	}
	s.listeners = append(s.listeners, &listener{Listener: l, request: &relay.Request{
		Network: "tcp", Addr: f.Target, Listener: l.Addr().String(), Decided: &s.plan.ways[i],
	}})
	return l.Addr(), nil
}

// serveForward carries c to the target of the forward l.
func (s *Server) serveForward(ctx context.Context, l *listener, c net.Conn) {
	q := *l.request
	q.Client = c.RemoteAddr()
	_ = s.relay.Serve(ctx, &forwarded{conn: c, request: q}) // the trace has been told
}

// forwarded is a conn that came to a forward. It needs no answer: its client takes
// the conn for the target's.
type forwarded struct {
	conn     net.Conn
	request  relay.Request
	accepted bool
}

func (f *forwarded) Request() relay.Request { return f.request }

func (f *forwarded) Accept() (net.Conn, error) {
	f.accepted = true
	return f.conn, nil
}

// Reject resets the conn: an orderly end would look like a target that has nothing to say.
func (f *forwarded) Reject(error) error { return chain.Abort(f.conn) }
