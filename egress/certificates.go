package egress

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"github.com/byway-proxy/byway/configs"
)

// certificates are a website's, from where the file says.
type certificates struct {
	made  tls.Certificate // on the spot, known by its pin; zero otherwise
	get   func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	acme  *ACME             // nil without an authority
	files *CertificateFiles // nil without files
}

func newCertificates(c *configs.Egress, log *slog.Logger) (certificates, error) {
	switch {
	case c.TLS.Certificate != "":
		f, err := NewCertificateFiles(c.TLS.Certificate, c.TLS.Key, log)
		if err != nil {
			return certificates{}, c.Errorf("tls.certificate", "the certificate and its key cannot be used: %w", err)
		}
		return certificates{get: f.GetCertificate, files: f}, nil
	case c.TLS.ACME.Directory != "":
		a, err := acmeFromConfig(c, log)
		if err != nil {
			return certificates{}, err
		}
		return certificates{get: a.GetCertificate, acme: a}, nil
	}
	cert, err := MadeCertificate(c.TLS.State, c.TLS.Names)
	if err != nil {
		return certificates{}, c.Errorf("tls.state", "%w", err)
	}
	served, err := newByName(cert)
	if err != nil {
		return certificates{}, c.Errorf("tls.state", "%w", err)
	}
	return certificates{made: cert, get: served.certificate}, nil
}

func acmeFromConfig(c *configs.Egress, log *slog.Logger) (*ACME, error) {
	host, portText, err := net.SplitHostPort(c.Listeners[0].Address)
	if err != nil {
		return nil, c.Errorf("listen[0].address", "%w", err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, c.Errorf("listen[0].address", "%w", err)
	}
	o := ACMEOptions{
		Directory: c.TLS.ACME.Directory, Email: c.TLS.ACME.Email, Names: c.TLS.Names,
		Folder: filepath.Join(c.TLS.State, "acme"),
		Host:   host, Port: uint16(port), HTTPPort: c.Listeners[0].HTTPPort,
		Log: log,
	}
	if c.TLS.ACME.CA != "" {
		o.Roots, err = roots(c.TLS.ACME.CA)
		if err != nil {
			return nil, c.Errorf("tls.acme.ca", "cannot be used: %w", err)
		}
	}
	return NewACME(o), nil
}

// roots reads certificates from a PEM file.
func roots(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("there is no certificate in it")
	}
	return pool, nil
}
