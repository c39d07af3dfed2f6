package front

import (
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"time"

	"golang.org/x/net/http2"
)

// Limits of Caddy 2.11, where it has others than net/http. All are seen from outside.
const (
	headLimit      = time.Minute     // for TLS and for a request's head
	keepLimit      = 5 * time.Minute // between two requests
	stallLimit     = time.Minute     // for the next bytes of a body, in or out
	maxHeaderBytes = 16 << 10        // of a request's head; HTTP/2 tells it in its SETTINGS
)

// NewServer returns a server of h with the limits of the [Persona], which are those of all
// that is served on its port, tunnels included. Its HTTP/2 is x/net's, as Caddy's is: net/http's
// own greets with other SETTINGS. Without cfg it serves in the clear, with HTTP/2 for clients that begin with it. The
// caller changes what it wants otherwise before it serves.
func NewServer(h http.Handler, cfg *tls.Config) (*http.Server, error) {
	s := &http.Server{
		Handler:   h,
		TLSConfig: cfg,
		// No ReadTimeout or WriteTimeout: Caddy has none, and those would end tunnels.
		ReadHeaderTimeout: headLimit,
		IdleTimeout:       keepLimit,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          log.New(io.Discard, "", 0), // it would tell who came
	}
	if cfg == nil {
		s.Protocols = new(http.Protocols)
		s.Protocols.SetHTTP1(true)
		s.Protocols.SetUnencryptedHTTP2(true)
	}
	return s, http2.ConfigureServer(s, &http2.Server{}) //nolint:staticcheck // what is to take its place is net/http's, with SETTINGS of its own
}

// TLSConfig returns what the [Persona] offers in TLS, without a certificate. Caddy names the protocol
// of ACME's challenge at all times, with a certificate by ACME or not.
func TLSConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"h2", "http/1.1", "acme-tls/1"},
		// crypto/tls puts them in an order of its own.
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		CurvePreferences: []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256},
	}
}
