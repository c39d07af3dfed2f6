package names

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
)

// A dialer opens a conn to host:port through the chain, where the name is resolved.
type dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// newUpstream returns the way to ask the server at a URL: https, tls, tcp or udp. config may be
// nil for the system's roots.
func newUpstream(raw string, dial dialer, config *tls.Config) (upstream, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" {
		return nil, fmt.Errorf("%q is no URL of a DNS server", raw)
	}
	at := func(port string) string {
		if u.Port() != "" {
			port = u.Port()
		}
		return net.JoinHostPort(u.Hostname(), port)
	}
	if config == nil {
		config = &tls.Config{}
	}
	config = config.Clone()
	config.ServerName, config.MinVersion = u.Hostname(), tls.VersionTLS12
	switch u.Scheme {
	case "https":
		return newHTTPS(u, dial, config), nil
	case "tls":
		config.NextProtos = []string{"dot"}
		return &stream{addr: at("853"), dial: dial, tls: config}, nil
	case "tcp":
		return &stream{addr: at("53"), dial: dial}, nil
	case "udp":
		return &datagrams{addr: at("53"), dial: dial, tcp: &stream{addr: at("53"), dial: dial}}, nil
	}
	return nil, fmt.Errorf("%q is no URL of a DNS server: its scheme is not https, tls, tcp or udp", raw)
}
