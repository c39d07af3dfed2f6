package local

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/hop"
	"github.com/byway-proxy/byway/hop/ssh"
	"github.com/byway-proxy/byway/socks"
)

func buildHop(c *configs.Client, i int) (chain.Hop, error) {
	h := &c.Hops[i]
	o := hop.Options{
		Name:           h.Name,
		User:           h.User,
		Password:       h.Secret.Reveal(),
		Padding:        h.Padding,
		DialLimit:      h.DialTimeout,
		HandshakeLimit: h.HandshakeTimeout,
		HTTP3:          h.HTTP3,
	}
	switch h.Pipeline {
	case configs.PipelineOn:
		o.Pipeline = socks.On
	case configs.PipelineOff:
		o.Pipeline = socks.Off
	default:
		o.Pipeline = socks.Auto
	}
	for _, pin := range h.TLS.Pins {
		o.Pins = append(o.Pins, pin)
	}
	cfg, err := buildTLS(c, i)
	if err != nil {
		return chain.Hop{}, err
	}
	o.TLS = cfg
	if h.URL.Scheme == "ssh" {
		if o.SSH, err = buildSSH(c, i); err != nil {
			return chain.Hop{}, err
		}
	}
	built, err := hop.FromURL(h.URL, o)
	var wrong *ssh.OptionError
	switch {
	case err == nil:
		return built, nil
	case errors.As(err, &wrong) && wrong.Option != "":
		return chain.Hop{}, c.Errorf(fmt.Sprintf("hop[%d].ssh.%s", i, wrong.Option), "%w", wrong.Err)
	}
	return chain.Hop{}, c.Errorf(fmt.Sprintf("hop[%d].url", i), "%w", err)
}

// buildSSH returns the settings of an ssh hop.
func buildSSH(c *configs.Client, i int) (ssh.Options, error) {
	s := &c.Hops[i].SSH
	o := ssh.Options{KnownHosts: s.KnownHosts, Keys: s.Keys, Passphrase: s.Passphrase.Reveal()}
	for _, pin := range s.Pins {
		o.Pins = append(o.Pins, string(pin))
	}
	if s.Agent {
		socket := os.Getenv("SSH_AUTH_SOCK")
		if socket == "" {
			return o, c.Errorf(fmt.Sprintf("hop[%d].ssh.agent", i), "the environment has no SSH_AUTH_SOCK; start an agent (ssh-agent), or use a key")
		}
		o.Agent = func(ctx context.Context) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}
	}
	return o, nil
}

// buildTLS returns the TLS settings of a hop, or nil if it has none.
func buildTLS(c *configs.Client, i int) (*tls.Config, error) {
	t := &c.Hops[i].TLS
	if t.ServerName == "" && t.CA == "" && t.Certificate == "" && t.ECH == nil {
		return nil, nil
	}
	cfg := &tls.Config{ServerName: t.ServerName, MinVersion: tls.VersionTLS12}
	if t.ECH != nil {
		cfg.EncryptedClientHelloConfigList, cfg.MinVersion = t.ECH, tls.VersionTLS13
	}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, c.Errorf(fmt.Sprintf("hop[%d].tls.ca", i), "%w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, c.Errorf(fmt.Sprintf("hop[%d].tls.ca", i), "no certificate in %s; give a PEM file", t.CA)
		}
	}
	if t.Certificate != "" {
		cert, err := tls.LoadX509KeyPair(t.Certificate, t.Key)
		if err != nil {
			return nil, c.Errorf(fmt.Sprintf("hop[%d].tls.certificate", i), "the certificate and its key cannot be used: %w", err)
		}
		cfg.Certificates = []tls.Certificate{cert}
	}
	return cfg, nil
}
