package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/masque"
	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/route"
)

// FromConfig builds the server that c describes, with its limits, over the
// system's resolver and dialer. Nothing is listened on yet. Errors have their place
// in the file.
func FromConfig(c *configs.Egress, trace *relay.Trace) (*Server, error) {
	base := &net.Dialer{}
	site, err := NewWebsite(c, WayBehind{base.DialContext, net.DefaultResolver}, nil)
	if err != nil {
		return nil, err
	}
	cert, err := certificateOf(c)
	if err != nil {
		site.Close()
		return nil, err
	}
	ech, err := echOf(c, cert)
	if err != nil {
		site.Close()
		return nil, err
	}
	set, err := servedUsers(c)
	if err != nil {
		site.Close()
		return nil, err
	}
	policy := &Policy{
		Resolver:  net.DefaultResolver,
		Base:      base,
		Allow:     c.Destinations.Allow,
		Deny:      c.Destinations.Deny,
		DenyPorts: c.Destinations.DenyPorts,
	}
	datagrams := masque.ToFriends
	if c.Listeners[0].HTTP3Datagrams {
		datagrams = masque.ToAll
	}
	return &Server{
		Users:        set,
		Site:         site,
		Certificate:  cert,
		HeadLimit:    c.Timeouts.Handshake,
		Windows:      windowsOf(c.HTTP2),
		Padding:      c.HTTP2.Padding,
		ECH:          ech,
		Datagrams:    datagrams,
		FlowsPerUser: c.UDP.FlowsPerUser,
		Relay: &relay.Relay{
			Router:    route.Table{{To: policy, Via: "direct", Place: "egress"}},
			DialLimit: c.Timeouts.Dial,
			IdleLimit: c.Timeouts.Idle,
			Trace:     trace,

			FlowIdleLimit: c.UDP.Idle,
		},
	}, nil
}

// echOf returns the keys of ECH that c asks for, or nil. A client whose key is not known any more can
// tell so only if the public name is in the certificate.
func echOf(c *configs.Egress, cert tls.Certificate) (*ECHKeys, error) {
	if c.ECH.Name == "" || len(cert.Certificate) == 0 {
		return nil, nil
	}
	byName, err := newByName(cert)
	if err != nil {
		return nil, err
	}
	if _, err := byName.certificate(&tls.ClientHelloInfo{ServerName: c.ECH.Name}); err != nil {
		return nil, c.Errorf("ech.name", "%q is not in the certificate; have it made for this name, too", c.ECH.Name)
	}
	keys, err := OpenECH(c.ECH.State, c.ECH.Name, c.ECH.Rotate)
	if err != nil {
		return nil, c.Errorf("ech.state", "%w", err)
	}
	return keys, nil
}

func windowsOf(h configs.HTTP2) Windows {
	if h.Budget == 0 {
		return Windows{}
	}
	return Windows{Stream: int(h.StreamWindow), Session: int(h.SessionWindow), Budget: int64(h.Budget)}
}

func certificateOf(c *configs.Egress) (tls.Certificate, error) {
	if c.TLS.Certificate == "" {
		cert, err := MadeCertificate(c.TLS.State, c.TLS.Names)
		if err != nil {
			return tls.Certificate{}, c.Errorf("tls.state", "%w", err)
		}
		return cert, nil
	}
	cert, err := tls.LoadX509KeyPair(c.TLS.Certificate, c.TLS.Key)
	if err != nil {
		return tls.Certificate{}, c.Errorf("tls.certificate", "the certificate and its key cannot be used: %w", err)
	}
	return cert, nil
}

// ListenAndServe listens where c says and serves until ctx ends, then drains the
// tunnels for c's limit, and stores what users have used. ready is called with the address
// when it listens.
func (s *Server) ListenAndServe(ctx context.Context, c *configs.Egress, ready func(net.Addr)) (err error) {
	defer func() { err = errors.Join(err, s.Users.Close()) }()
	stop, err := s.control(ctx, c)
	if err != nil {
		return err
	}
	defer stop()
	l, p, err := listen(ctx, c)
	if err != nil {
		return err
	}
	serve := []func() error{func() error { return s.Serve(l) }}
	if p != nil {
		serve = append(serve, func() error { return s.ServePacket(p) })
	}
	ready(l.Addr())
	return serveAll(ctx, c.Timeouts.Drain, s.Shutdown, serve)
}

// listen opens what c names; p is nil without HTTP/3.
func listen(ctx context.Context, c *configs.Egress) (l net.Listener, p net.PacketConn, err error) {
	l, err = (&net.ListenConfig{}).Listen(ctx, "tcp", c.Listeners[0].Address)
	if err != nil {
		return nil, nil, c.Errorf("listen[0].address", "cannot be listened on: %w", err)
	}
	if c.Listeners[0].HTTP3 && !c.Listeners[0].Plain {
		// The same port, which with port 0 the system has just chosen.
		p, err = (&net.ListenConfig{}).ListenPacket(ctx, "udp", l.Addr().String())
		if err != nil {
			_ = l.Close()
			return nil, nil, c.Errorf("listen[0].address", "cannot be listened on by UDP: %w; free the port, or leave HTTP/3 out with http3 = false", err)
		}
	}
	return l, p, nil
}

// serveAll runs serve until ctx ends or one of them does, and then shutdown for as long as drain.
func serveAll(ctx context.Context, drain time.Duration, shutdown func(context.Context) error, serve []func() error) error {
	served := make(chan error, len(serve))
	for _, f := range serve {
		go func() { served <- f() }()
	}
	var failed error
	select {
	case failed = <-served:
		serve = serve[1:]
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	err := shutdown(ctx)
	for range serve {
		if e := <-served; failed == nil {
			failed = e
		}
	}
	if failed != nil && !errors.Is(failed, http.ErrServerClosed) {
		return failed
	}
	return err
}
