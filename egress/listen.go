package egress

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strconv"

	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/egress/front"
	"github.com/byway-proxy/byway/internal/sockets"
)

// ports are what a website is listened on.
type ports struct {
	tls   net.Listener   // in the clear for a front that is plain
	quic  net.PacketConn // nil without HTTP/3
	clear net.Listener   // sends visitors to https; nil without
}

func (p *ports) close() {
	_ = p.tls.Close()
	if p.quic != nil {
		_ = p.quic.Close()
	}
}

// listen opens what c names, of what is given what is there.
func listen(ctx context.Context, c *configs.Egress, given *sockets.Activated) (*ports, error) {
	l := &c.Listeners[0]
	var p ports
	var err error
	tcp := func(address string) (net.Listener, error) {
		if l := given.Listener(address); l != nil {
			return l, nil
		}
		return (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	}
	p.tls, err = tcp(l.Address)
	if err != nil {
		return nil, c.Errorf("listen[0].address", "cannot be listened on: %w", err)
	}
	if l.HTTP3 && !l.Plain {
		// The same port, which with port 0 the system has just chosen.
		if p.quic = given.PacketConn(l.Address); p.quic == nil {
			p.quic, err = (&net.ListenConfig{}).ListenPacket(ctx, "udp", p.tls.Addr().String())
		}
		if err != nil {
			p.close()
			return nil, c.Errorf("listen[0].address", "cannot be listened on by UDP: %w; free the port, or leave HTTP/3 out with http3 = false", err)
		}
	}
	if l.HTTPPort != 0 {
		host, _, _ := net.SplitHostPort(l.Address) // it has been listened on
		p.clear, err = tcp(net.JoinHostPort(host, strconv.Itoa(int(l.HTTPPort))))
		if err != nil {
			p.close()
			return nil, c.Errorf("listen[0].http_port", "cannot be listened on: %w; free the port, or leave http_port out", err)
		}
	}
	return &p, nil
}

// clearServer returns what is served in the clear beside https at: visitors are sent there, and
// the questions of an authority answered.
func clearServer(at net.Addr, a *ACME, c *configs.Egress) (*http.Server, error) {
	to, err := netip.ParseAddrPort(at.String())
	if err != nil {
		return nil, err
	}
	var h http.Handler = &front.Persona{Site: front.ToHTTPS(to.Port())}
	if a != nil {
		h = a.Challenge(h)
	}
	s, err := front.NewServer(h, nil)
	if err == nil && c.Timeouts.Handshake > 0 {
		s.ReadHeaderTimeout = c.Timeouts.Handshake
	}
	return s, err
}

// beside has what goes with a website served too: the port for HTTP in the clear, and the authority,
// which is asked from now on, as the ports are open.
func (p *ports) beside(ctx context.Context, c *configs.Egress, a *ACME, serve []func() error, shutdown func(context.Context) error) (
	[]func() error, func(context.Context) error, error,
) {
	if p.clear != nil {
		s, err := clearServer(p.tls.Addr(), a, c)
		if err != nil {
			return nil, nil, err
		}
		serve = append(serve, func() error { return s.Serve(p.clear) })
		website := shutdown
		shutdown = func(ctx context.Context) error {
			_ = s.Close() // its answers are short
			return website(ctx)
		}
	}
	if a != nil {
		if err := a.Start(ctx); err != nil {
			return nil, nil, c.Errorf("tls.acme", "%w", err)
		}
	}
	return serve, shutdown, nil
}
