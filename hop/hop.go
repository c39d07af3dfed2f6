// Package hop turns the URL of an upstream proxy into a [chain.Hop].
//
//	socks5://host:port    SOCKS5 (RFC 1928, RFC 1929); names are sent, never resolved here
//	socks5h://host:port   the same
//	socks4a://host:port   SOCKS4a; names are sent
//	socks4://host:port    SOCKS4; a target given by name is refused
//	http://host:port      CONNECT over HTTP/1.1
//	https://host:port     CONNECT over TLS, on HTTP/2 where the proxy offers it, and CONNECT-UDP
//	h3://host:port        the same on HTTP/3; the way to the hop must carry UDP
//	ssh://user@host:port  tunnels of one SSH connection
//	socks5+unix:///path   SOCKS5 at a socket of this machine; with +unix also socks5h,
//	                      socks4a, socks4 and http. Only hop 1 is reached so
//
// Ports default to 1080, 80, 443, 443 and 22. A [Base] says by which way hop 1 is reached
// from this machine. Any other scheme is looked up among those
// that the program registered with golang.org/x/net/proxy; see also [Register].
package hop

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/hop/ssh"
	"github.com/byway-proxy/byway/httpproxy"
	"github.com/byway-proxy/byway/masque"
	"github.com/byway-proxy/byway/socks"
)

// Options are what a URL does not say. The zero value is good.
type Options struct {
	// Name is for people; the default is scheme://host:port.
	Name string

	// User and Password are sent to the hop, and to nobody else. They may stand
	// in the URL instead, not in both.
	User, Password string

	// Pipeline says whether a socks5 hop is sent greeting, credentials and
	// request at once.
	Pipeline socks.Pipeline

	// DialLimit bounds the time to reach the hop, HandshakeLimit that of TLS and
	// of the proxy's protocol each; 0 means 10 s.
	DialLimit, HandshakeLimit time.Duration

	// TLS is for https and h3 hops: roots, server name, client certificate. nil means
	// the system's roots and the URL's host.
	TLS *tls.Config

	// Pins, for https and h3 hops, are SHA-256 digests of which one must be that of the
	// SubjectPublicKeyInfo of the hop's certificate. Without roots in TLS, the
	// pin alone proves the hop.
	Pins [][32]byte

	// HTTP3, for https hops, has HTTP/3 race HTTP/2, and flows of UDP go by it; where UDP does not
	// get through, all goes as without.
	HTTP3 bool

	// Padding, for https hops, hides the lengths of the first bytes of tunnels. The proxy
	// has to take it: see [httpproxy.HopOptions].
	Padding bool

	// SSH is for ssh hops: the host key, and what to log in with. Its name, user,
	// password and limits are those above.
	SSH ssh.Options
}

// Parse returns the hop of rawURL. Errors do not hold the URL's credentials.
func Parse(rawURL string, o Options) (chain.Hop, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		// The text of url.Error quotes the URL, which may hold a password.
		var parse *url.Error
		if errors.As(err, &parse) {
			err = parse.Err
		}
		return chain.Hop{}, fmt.Errorf("hop: not a URL: %w", err)
	}
	return FromURL(u, o)
}

// FromURL returns the hop of u.
func FromURL(u *url.URL, o Options) (chain.Hop, error) {
	if u.User != nil {
		if o.User != "" {
			return chain.Hop{}, errors.New("hop: credentials stand in the URL and beside it")
		}
		o.User = u.User.Username()
		o.Password, _ = u.User.Password()
	}
	if err := o.check(u.Scheme); err != nil {
		return chain.Hop{}, err
	}
	if scheme, ok := strings.CutSuffix(u.Scheme, unixSuffix); ok {
		return overUnix(scheme, u, o)
	}
	if u.Hostname() == "" {
		return chain.Hop{}, errors.New("hop: the URL has no host; write scheme://host:port")
	}
	if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return chain.Hop{}, errors.New("hop: the URL has more than scheme, user, host and port")
	}
	addr := Addr(u)
	if o.Name == "" {
		o.Name = u.Scheme + "://" + addr
	}
	switch u.Scheme {
	case "ssh":
		return ssh.Hop(addr, o.ssh())
	case "https":
		return httpproxy.HopTLS(addr, o.https(addr)), nil
	case "h3":
		return masque.Hop(addr, o.http()), nil
	}
	if h, ok := plain(u.Scheme, addr, o); ok {
		return h, nil
	}
	return registered(u, o)
}

// Addr returns the host:port of a hop's URL, with the port of the scheme if it has none.
func Addr(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = defaultPorts[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// check finds options that are of no use to a scheme.
func (o *Options) check(scheme string) error {
	if scheme != "https" && scheme != "h3" && (o.TLS != nil || len(o.Pins) > 0) {
		return fmt.Errorf("hop: TLS settings are of no use to %s; write https or h3", scheme)
	}
	if scheme != "https" && o.HTTP3 {
		return fmt.Errorf("hop: HTTP/3 beside another version is of no use to %s; write https, or h3 for HTTP/3 alone", scheme)
	}
	if o.Padding && (scheme != "https" || o.HTTP3) {
		return errors.New("hop: padding is for https hops with HTTP/2 alone")
	}
	s := &o.SSH
	if scheme != "ssh" && (s.KnownHosts != "" || len(s.Pins)+len(s.Keys) > 0 || s.Passphrase != "" || s.Agent != nil) {
		return fmt.Errorf("hop: SSH settings are of no use to %s; write ssh", scheme)
	}
	return nil
}

// plain returns the hop of a scheme whose tunnels are the bare conn to the hop.
func plain(scheme, addr string, o Options) (chain.Hop, bool) {
	switch scheme {
	case "socks5", "socks5h":
		return socks.Hop5(addr, o.socks()), true
	case "socks4a":
		return socks.Hop4a(addr, o.socks()), true
	case "socks4":
		return socks.Hop4(addr, o.socks()), true
	case "http":
		return httpproxy.Hop(addr, o.http()), true
	}
	return chain.Hop{}, false
}

var defaultPorts = map[string]string{
	"socks4": "1080", "socks4a": "1080", "socks5": "1080", "socks5h": "1080", "http": "80", "https": "443", "h3": "443", "ssh": "22",
}

func (o Options) socks() socks.HopOptions {
	return socks.HopOptions{
		Name: o.Name, User: o.User, Password: o.Password, Pipeline: o.Pipeline,
		DialLimit: o.DialLimit, HandshakeLimit: o.HandshakeLimit,
	}
}

func (o Options) http() httpproxy.HopOptions {
	cfg := o.TLS
	if len(o.Pins) > 0 {
		if cfg == nil {
			cfg = &tls.Config{}
		}
		cfg = cfg.Clone()
		httpproxy.PinSPKI(cfg, o.Pins...)
	}
	return httpproxy.HopOptions{
		Name: o.Name, User: o.User, Password: o.Password, TLS: cfg, Padding: o.Padding,
		DialLimit: o.DialLimit, HandshakeLimit: o.HandshakeLimit,
	}
}

// https is http for a hop that may have HTTP/3 beside the others.
func (o Options) https(addr string) httpproxy.HopOptions {
	h := o.http()
	if o.HTTP3 {
		of := h
		h.HTTP3 = func(next chain.Dialer) httpproxy.HTTP3 { return masque.Beside(next, addr, of) }
	}
	return h
}

func (o Options) ssh() ssh.Options {
	s := o.SSH
	s.Name, s.User, s.Password = o.Name, o.User, o.Password
	s.DialLimit, s.HandshakeLimit = o.DialLimit, o.HandshakeLimit
	return s
}
