package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strconv"

	"github.com/byway-proxy/byway/configs"
)

// A FrontServer is a website alone: what an egress is to those without a credential,
// without any tunnels.
type FrontServer struct {
	// Certificate is that of the website; without one it is served in the clear, with HTTP/2 for
	// clients that begin with it.
	Certificate tls.Certificate

	site *Website
	http *http.Server
}

// FrontFromConfig builds the website that c describes, over the system's dialer; what changes
// with the servers behind it is logged. Nothing is listened on yet. Errors have their place in the file.
func FrontFromConfig(c *configs.Egress, log *slog.Logger) (*FrontServer, error) {
	s := &FrontServer{}
	if !c.Listeners[0].Plain {
		cert, err := certificateOf(c)
		if err != nil {
			return nil, err
		}
		s.Certificate = cert
	}
	site, err := NewWebsite(c, (&net.Dialer{}).DialContext, UpstreamTrace(log))
	if err != nil {
		return nil, err
	}
	s.site = site
	s.http = websiteServer(site, s.Certificate)
	s.http.ReadHeaderTimeout = c.Timeouts.Handshake
	return s, nil
}

// websiteServer returns the HTTP server of a website, in the clear if there is no certificate.
func websiteServer(h http.Handler, cert tls.Certificate) *http.Server {
	s := &http.Server{
		Handler: h,
		// No ReadTimeout or WriteTimeout: those would end tunnels.
		IdleTimeout: idle,
		ErrorLog:    log.New(io.Discard, "", 0), // it would tell who came
	}
	if len(cert.Certificate) > 0 {
		s.TLSConfig = &tls.Config{
			Certificates: []tls.Certificate{cert},
			MinVersion:   tls.VersionTLS12,
			NextProtos:   []string{"h2", "http/1.1"},
		}
		return s
	}
	s.Protocols = new(http.Protocols)
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	return s
}

// ListenAndServe listens where c says and serves until ctx ends, then waits for requests to end
// for c's limit. ready is called with the address when it listens.
func (s *FrontServer) ListenAndServe(ctx context.Context, c *configs.Egress, ready func(net.Addr)) error {
	defer s.site.Close()
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Listeners[0].Address)
	if err != nil {
		return c.Errorf("listen[0].address", "cannot be listened on: %w", err)
	}
	ready(l.Addr())
	served := make(chan error, 1)
	go func() {
		if s.http.TLSConfig == nil {
			served <- s.http.Serve(l)
		} else {
			served <- s.http.ServeTLS(l, "", "")
		}
	}()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.Timeouts.Drain)
	defer cancel()
	err = s.http.Shutdown(drain)
	_ = s.http.Close()
	if e := <-served; e != nil && !errors.Is(e, http.ErrServerClosed) {
		return e
	}
	return err
}

// at is the path of an element of a list in the configuration.
func at(list string, i int) string { return list + "[" + strconv.Itoa(i) + "]" }
