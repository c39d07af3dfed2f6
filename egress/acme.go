package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// An ACME gets the certificates of a website from an authority (RFC 8555) and renews them
// as the authority suggests (RFC 9773), staples OCSP, and keeps all of it in a folder. The authority's
// questions are answered on the website's own ports (TLS-ALPN-01, RFC 8737; HTTP-01), and
// nowhere else. It dials the authority directly and as the system resolves its name; no
// proxy of the environment is asked. [ACME.Close] must be called.
type ACME struct {
	names  []string
	cache  *certmagic.Cache
	config *certmagic.Config
	issuer *certmagic.ACMEIssuer
}

// ACMEOptions are those of [NewACME]. Directory, Folder, Names and Port are required.
type ACMEOptions struct {
	Directory string         // URL of the authority
	Email     string         // by which the authority reaches the owner; may be empty
	Roots     *x509.CertPool // who vouches for the authority's own server; nil for the system's
	Folder    string         // account, keys and certificates
	Names     []string       // DNS names, each with a certificate of its own

	// Host and Port are where the website is listened on, HTTPPort where the handler of
	// [ACME.Challenge] is, or 0. An empty Host stands for all addresses.
	Host           string
	Port, HTTPPort uint16

	Check time.Duration // between two looks for what is due; 0 for 10 minutes
	Log   *slog.Logger  // is told of certificates that came, or did not; nil for none
}

// NewACME returns an ACME that has asked nobody for anything yet.
func NewACME(o ACMEOptions) *ACME {
	a := &ACME{names: o.Names}
	silent := zap.NewNop() // events tell what there is to tell
	storage := &certmagic.FileStorage{Path: o.Folder}
	a.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert:   func(certmagic.Certificate) (*certmagic.Config, error) { return a.config, nil },
		RenewCheckInterval: o.Check,
		Logger:             silent,
	})
	a.config = certmagic.New(a.cache, certmagic.Config{
		Storage: storage, Logger: silent, OnEvent: acmeEvents(o.Log),
		OCSP: certmagic.OCSPConfig{HTTPProxy: noProxy},
	})
	a.issuer = certmagic.NewACMEIssuer(a.config, certmagic.ACMEIssuer{
		CA: o.Directory, Email: o.Email, Agreed: true, TrustedRoots: o.Roots,
		ListenHost: o.Host, AltTLSALPNPort: int(o.Port), AltHTTPPort: int(o.HTTPPort),
		DisableHTTPChallenge: o.HTTPPort == 0,
		HTTPProxy:            noProxy, Logger: silent,
	})
	a.config.Issuers = []certmagic.Issuer{a.issuer}
	return a
}

func noProxy(*http.Request) (*url.URL, error) { return nil, nil }

// GetCertificate is for [tls.Config.GetCertificate]. To clients that ask for a name without a
// certificate it has none, and asks the authority for none.
func (a *ACME) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return a.config.GetCertificate(hello)
}

// Challenge has the authority's questions answered before next, which gets all
// other requests.
func (a *ACME) Challenge(next http.Handler) http.Handler { return a.issuer.HTTPChallengeHandler(next) }

// Start serves the certificates in the folder, and gets those that are missing or due in
// the background, until ctx ends. The ports have to be listened on.
func (a *ACME) Start(ctx context.Context) error { return a.config.ManageAsync(ctx, a.names) }

// Close stops to renew.
func (a *ACME) Close() { a.cache.Stop() }

// acmeEvents logs what happens with certificates. The names in it are those of the file.
func acmeEvents(log *slog.Logger) func(context.Context, string, map[string]any) error {
	if log == nil {
		return nil
	}
	return func(_ context.Context, event string, data map[string]any) error {
		attrs := []any{"name", data["identifier"]}
		switch event {
		case "cert_obtaining":
			log.Info("asking for a certificate", attrs...)
		case "cert_obtained":
			log.Info("certificate obtained", append(attrs, "renewal", data["renewal"])...)
		case "cert_failed":
			log.Warn("no certificate; it will be tried again", append(attrs, "renewal", data["renewal"], "error", data["error"])...)
		case "cert_ocsp_revoked":
			log.Warn("certificate revoked by its authority; a new one is asked for", "names", data["subjects"])
		}
		return nil
	}
}
