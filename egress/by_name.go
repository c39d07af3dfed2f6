package egress

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"slices"
	"strings"
)

// byName gives the certificate to clients that ask for one of its names, as Caddy does: to
// others the server has none, and says so by an alert.
type byName struct {
	cert *tls.Certificate
	leaf *x509.Certificate
}

func newByName(cert tls.Certificate) (byName, error) {
	if cert.Leaf != nil {
		return byName{&cert, cert.Leaf}, nil
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	return byName{&cert, leaf}, err
}

// certificate is for [tls.Config.GetCertificate].
func (b byName) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if slices.Equal(hello.SupportedProtos, []string{"acme-tls/1"}) {
		return nil, errNoCertificate // an authority's question (RFC 8737), and there is no order
	}
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	if name == "" {
		// Clients that come to an address name none. Behind a translated address
		// the server can't know its own, so it gives what it has for addresses.
		if len(b.leaf.IPAddresses) > 0 {
			return b.cert, nil
		}
		return nil, errNoCertificate
	}
	for _, known := range b.leaf.DNSNames {
		known = strings.ToLower(known)
		if known == name || strings.HasPrefix(known, "*.") && known[1:] == parent(name) {
			return b.cert, nil
		}
	}
	if ip := net.ParseIP(name); ip != nil {
		for _, known := range b.leaf.IPAddresses {
			if known.Equal(ip) {
				return b.cert, nil
			}
		}
	}
	return nil, errNoCertificate
}

var errNoCertificate = errors.New("egress: no certificate for the name that was asked for")

// parent is a name without its first label, with the dot before it.
func parent(name string) string {
	if i := strings.IndexByte(name, '.'); i >= 0 {
		return name[i:]
	}
	return ""
}
