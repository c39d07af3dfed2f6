package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/masque"
	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/route"
)

// FromConfig builds the server that c describes, with its limits, over the
// system's resolver and dialer. log is told of certificates and of the servers behind the website. Nothing is
// listened on yet. Errors have their place in the file.
func FromConfig(c *configs.Egress, trace *relay.Trace, log *slog.Logger) (*Server, error) {
	base := &net.Dialer{}
	way := WayBehind{base.DialContext, net.DefaultResolver}
	site, err := NewWebsite(c, way, UpstreamTrace(log))
	if err != nil {
		return nil, err
	}
	certs, err := newCertificates(c, log)
	if err != nil {
		site.Close()
		return nil, err
	}
	ech, err := echOf(c, &certs)
	if err != nil {
		site.Close()
		return nil, err
	}
	set, err := servedUsers(c, log)
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
		Users:          set,
		Site:           newLiveSite(site, way),
		Certificate:    certs.made,
		GetCertificate: certs.get,
		HeadLimit:      c.Timeouts.Handshake,
		Windows:        windowsOf(c.HTTP2),
		Padding:        c.HTTP2.Padding,
		ECH:            ech,
		Datagrams:      datagrams,
		FlowsPerUser:   c.UDP.FlowsPerUser,
		acme:           certs.acme,
		files:          certs.files,
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
func echOf(c *configs.Egress, certs *certificates) (*ECHKeys, error) {
	if c.ECH.Name == "" || certs.get == nil {
		return nil, nil
	}
	known := slices.Contains(c.TLS.Names, c.ECH.Name)
	if certs.acme == nil { // else it is to be asked for these names
		_, err := certs.get(&tls.ClientHelloInfo{ServerName: c.ECH.Name})
		known = err == nil
	}
	if !known {
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
	if s.acme != nil {
		defer s.acme.Close()
	}
	p, err := listen(ctx, c, s.Sockets)
	if err != nil {
		return err
	}
	serve := []func() error{func() error { return s.Serve(p.tls) }}
	if p.quic != nil {
		serve = append(serve, func() error { return s.ServePacket(p.quic) })
	}
	serve, shutdown, err := p.beside(ctx, c, s.acme, serve, s.Shutdown)
	if err != nil {
		p.close()
		return err
	}
	ready(p.tls.Addr())
	return serveAll(ctx, c.Timeouts.Drain, shutdown, serve)
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
