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
func (p *plan) forwards(c *configs.Client, reach map[string]Path) error {
	for i := range c.Forwards {
		f := &c.Forwards[i]
		table := fmt.Sprintf("forward[%d]", i)
		d, path, err := p.way(c, table, f.To, reach)
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

// forwardRole is that of the door of forward i, which is of TCP, at an address.
func forwardRole(p *plan, i int, address string) *role {
	return &role{at: address, request: forwardRequest(p, i, address)}
}

// forwardRequest is what each request of forward i is, save for the client.
func forwardRequest(p *plan, i int, address string) *relay.Request {
	f := &p.config.Forwards[i]
	return &relay.Request{Network: string(f.Network), Addr: f.Target, Listener: address, Decided: &p.ways[i]}
}

// serveForward carries c to the target of the forward of r.
func (s *Server) serveForward(ctx context.Context, r *role, c net.Conn) {
	q := *r.request
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
