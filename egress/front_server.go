package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/egress/front"
	"github.com/byway-proxy/byway/internal/sockets"
	"github.com/byway-proxy/byway/masque"
)

// A FrontServer is a website alone: what an egress is to those without a credential,
// without any tunnels.
type FrontServer struct {
	// Sockets are those that a service manager has opened; may be nil.
	Sockets *sockets.Activated

	certs  certificates // none in the clear
	site   *Website
	http   *http.Server
	http3  *masque.Server // nil without
	altSvc altSvc
}

// FrontFromConfig builds the website that c describes, over the system's dialer; what changes
// with the servers behind it is logged. Nothing is listened on yet. Errors have their place in the file.
func FrontFromConfig(c *configs.Egress, log *slog.Logger) (*FrontServer, error) {
	site, err := NewWebsite(c, WayBehind{(&net.Dialer{}).DialContext, net.DefaultResolver}, UpstreamTrace(log))
	if err != nil {
		return nil, err
	}
	s := &FrontServer{site: site}
	if !c.Listeners[0].Plain {
		if s.certs, err = newCertificates(c, log); err != nil {
			site.Close()
			return nil, err
		}
	}
	ech, err := echOf(c, &s.certs)
	if err != nil {
		site.Close()
		return nil, err
	}
	if s.http, err = websiteServer(http.HandlerFunc(s.serveHTTP), s.certs.get, ech, c.Timeouts.Handshake); err != nil {
		site.Close()
		return nil, err
	}
	if c.Listeners[0].HTTP3 && !c.Listeners[0].Plain {
		s.http3 = http3Beside(s.http)
	}
	return s, nil
}

func (s *FrontServer) serveHTTP(w http.ResponseWriter, r *http.Request) {
	s.altSvc.announce(w, r)
	s.site.ServeHTTP(w, r)
}

// websiteServer returns the HTTP server of a website, with tunnels or without; in the clear, with
// HTTP/2 for clients that begin with it, if certificate is nil.
func websiteServer(h http.Handler, certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error), ech *ECHKeys, headLimit time.Duration) (*http.Server, error) {
	var cfg *tls.Config
	if certificate != nil {
		cfg = front.TLSConfig()
		cfg.GetCertificate = certificate
		if ech != nil {
			cfg.GetEncryptedClientHelloKeys = ech.Get
		}
	}
	s, err := front.NewServer(h, cfg)
	if err == nil && headLimit > 0 {
		s.ReadHeaderTimeout = headLimit
	}
	return s, err
}

// ListenAndServe listens where c says and serves until ctx ends, then waits for requests to end
// for c's limit. ready is called with the address when it listens.
func (s *FrontServer) ListenAndServe(ctx context.Context, c *configs.Egress, ready func(net.Addr)) error {
	defer s.site.Close()
	if s.certs.acme != nil {
		defer s.certs.acme.Close()
	}
	p, err := listen(ctx, c, s.Sockets)
	if err != nil {
		return err
	}
	serve := []func() error{func() error {
		if s.certs.get == nil {
			return s.http.Serve(p.tls)
		}
		return s.http.ServeTLS(p.tls, "", "")
	}}
	if p.quic != nil {
		serve = append(serve, func() error { return s.http3.Serve(p.quic) })
		s.altSvc.tell(p.quic.LocalAddr())
	}
	serve, shutdown, err := p.beside(ctx, c, s.certs.acme, serve, s.shutdown)
	if err != nil {
		p.close()
		return err
	}
	ready(p.tls.Addr())
	return serveAll(ctx, c.Timeouts.Drain, shutdown, serve)
}

// shutdown waits for requests to end, as long as ctx does not.
func (s *FrontServer) shutdown(ctx context.Context) error {
	done := make(chan error, 1)
	go func() {
		if s.http3 == nil {
			done <- nil
			return
		}
		done <- s.http3.Shutdown(ctx)
	}()
	err := errors.Join(s.http.Shutdown(ctx), <-done)
	_ = s.http.Close()
	return err
}

// at is the path of an element of a list in the configuration.
func at(list string, i int) string { return list + "[" + strconv.Itoa(i) + "]" }
