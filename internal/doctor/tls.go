package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// tls does the handshake with hop k, as the hop itself would, and tells what was seen. A
// certificate that is refused is told of, too.
func (e *examination) tls(ctx context.Context, k int, conn net.Conn) bool {
	h := &e.course.Hops[k]
	if h.TLS == nil {
		return true
	}
	e.say("hop %d/%d %s: TLS", k+1, len(e.course.Hops), h.Name)
	cfg := h.TLS.Clone()
	if cfg.ServerName == "" {
		cfg.ServerName, _, _ = net.SplitHostPort(h.Addr)
	}
	cfg.NextProtos = []string{"h2", "http/1.1"}
	ctx, cancel := context.WithTimeout(ctx, e.Limit)
	defer cancel()
	c := tls.Client(conn, cfg)
	began := time.Now()
	err := c.HandshakeContext(ctx)
	took := time.Since(began)
	if err != nil {
		e.fault(k, "tls", took, err)
		return false
	}
	state := c.ConnectionState()
	detail := tls.VersionName(state.Version)
	if state.NegotiatedProtocol != "" {
		detail += ", " + state.NegotiatedProtocol
	}
	if state.ECHAccepted {
		detail += ", ECH"
	}
	if len(state.PeerCertificates) > 0 {
		detail += ", " + describe(state.PeerCertificates[0], time.Now())
	}
	if h.pinned() {
		detail += ", pinned"
	}
	e.add(k, Step{Name: "tls", Took: took, Detail: detail})
	e.report.Hops[k].Adds += took
	e.took += took // as in each tunnel that is opened cold
	return true
}

// pinned reports whether a pin proves the hop.
func (h *Hop) pinned() bool { return h.TLS != nil && h.TLS.VerifyConnection != nil }

// describe tells of a certificate what people ask of one.
func describe(c *x509.Certificate, now time.Time) string {
	names := c.DNSNames
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) > 3 {
		names = append(names[:3:3], "…")
	}
	if len(names) == 0 {
		names = []string{"no names"}
	}
	days := int(c.NotAfter.Sub(now).Hours() / 24)
	left := plural(days, "day") + " left"
	switch {
	case now.After(c.NotAfter):
		left = "expired on " + c.NotAfter.Format(time.DateOnly)
	case now.Before(c.NotBefore):
		left = "not good before " + c.NotBefore.Format(time.DateTime)
	}
	by := c.Issuer.CommonName
	if by == "" && len(c.Issuer.Organization) > 0 {
		by = c.Issuer.Organization[0]
	}
	if by == "" {
		return fmt.Sprintf("certificate of %s, %s", strings.Join(names, " "), left)
	}
	return fmt.Sprintf("certificate of %s by %s, %s", strings.Join(names, " "), by, left)
}

// offending returns the certificate that err is about, or nil.
func offending(err error) *x509.Certificate {
	var invalid x509.CertificateInvalidError
	var host x509.HostnameError
	var unknown x509.UnknownAuthorityError
	var wrong *tls.CertificateVerificationError
	switch {
	case errors.As(err, &invalid):
		return invalid.Cert
	case errors.As(err, &host):
		return host.Certificate
	case errors.As(err, &unknown):
		return unknown.Cert
	case errors.As(err, &wrong) && len(wrong.UnverifiedCertificates) > 0:
		return wrong.UnverifiedCertificates[0]
	}
	return nil
}
