package doctor

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/httpproxy"
)

// denied reports whether err says that something is not allowed.
func denied(err error) bool { return chain.Errno(err) == syscall.EACCES }

// remedy is what to do about the failure of a step of h, in a line.
func remedy(h *Hop, step string, err error) string {
	var dns *net.DNSError
	switch step {
	case "name":
		if errors.As(err, &dns) && dns.IsNotFound {
			return "correct the name in the hop's url, or write its address there"
		}
		return "see to this system's resolver, or write the hop's address into its url"
	case "tcp":
		return ofReaching(h, err)
	case "tls":
		return ofTLS(h, err)
	case "auth":
		return ofAuth(h, err)
	case "connect":
		return ofConnecting(err)
	case "names":
		return "this is a mistake in byway: please report it"
	}
	return ""
}

func ofReaching(h *Hop, err error) string {
	switch chain.Errno(err) {
	case syscall.ECONNREFUSED:
		return fmt.Sprintf("nothing listens at %s: start the proxy there, or correct host and port in its url", h.Addr)
	case syscall.ETIMEDOUT:
		return fmt.Sprintf("nobody answers at %s: a firewall drops it on the way, the machine is off, or the address is wrong", h.Addr)
	case syscall.ENETUNREACH, syscall.EHOSTUNREACH:
		return fmt.Sprintf("there is no way to %s: see to the network, and whether the address (IPv6?) is right", h.Addr)
	case syscall.EACCES:
		return "the way to it is forbidden by a firewall, or by the rules of the hop before"
	case syscall.ECONNRESET:
		return "something on the way hangs up: a firewall, or the hop before"
	}
	return "correct host and port in the hop's url"
}

func ofTLS(h *Hop, err error) string {
	var host x509.HostnameError
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	cert := offending(err)
	switch {
	case errors.Is(err, httpproxy.ErrPin):
		return "the hop has another key than the pinned one: if that was not renewed, somebody is in between; else set tls.pin anew"
	case errors.As(err, &host):
		return fmt.Sprintf("its certificate is of %s: correct the host in its url, or set tls.server_name to one of these", strings.Join(cert.DNSNames, " "))
	case errors.As(err, &unknown):
		return "nobody that this machine trusts has signed its certificate: set tls.pin or tls.ca; if it was good before, somebody is in between"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		if cert != nil && time.Now().Before(cert.NotBefore) {
			return "its certificate is not good yet: is the clock of this machine right?"
		}
		return "renew the hop's certificate; if it should be good, is the clock of this machine right?"
	}
	switch chain.Errno(err) {
	case syscall.ECONNRESET:
		return "something hangs up during TLS: a firewall that dislikes the server name (see tls.ech), or a server that speaks no TLS there"
	case syscall.ETIMEDOUT:
		return "TLS gets no answer: a firewall drops it, or what listens there speaks no TLS"
	}
	return fmt.Sprintf("does %s speak TLS there? If not, its url is not https", h.Name)
}

func ofAuth(h *Hop, err error) string {
	switch chain.Errno(err) {
	case syscall.ECONNRESET:
		return fmt.Sprintf("it hangs up instead of answering: is it a proxy that speaks %s, at this port?", h.Scheme)
	case syscall.ETIMEDOUT:
		return fmt.Sprintf("it does not answer: is it a proxy that speaks %s, at this port?", h.Scheme)
	}
	said := reason(err)
	switch {
	case strings.Contains(said, "rejected"), strings.Contains(said, "check the credentials"), denied(err):
		return "correct the hop's user and secret"
	case strings.Contains(said, "that is not"):
		return fmt.Sprintf("it speaks something else than %s: correct the scheme or the port in its url", h.Scheme)
	}
	return "see to the hop's user and secret, and whether it wants any"
}

func ofConnecting(err error) string {
	switch chain.Errno(err) {
	case syscall.EACCES:
		return "the hop does not allow the target or its port: allow it there, or name another --target"
	case syscall.ECONNREFUSED:
		return "the hop is good; the target refuses: name another --target to make sure"
	case syscall.ETIMEDOUT, syscall.ENETUNREACH, syscall.EHOSTUNREACH:
		return "the hop does not reach the target: does its machine have a network and a resolver? Name another --target to make sure"
	}
	return "the hop failed by itself: see to its log"
}
