package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/egress"
)

// linkOptions says what a link is to have, and how it is shown.
type linkOptions struct {
	host, name, ech string
	qr, asJSON      bool
}

func (o *linkOptions) flags(c *cobra.Command) {
	c.Flags().StringVar(&o.host, "host", "", "name or address by which clients reach the egress, with :port if that is not the listener's (default: from the configuration)")
	c.Flags().StringVar(&o.name, "name", "", "what clients call the hop, if not by the host")
	c.Flags().StringVar(&o.ech, "ech", "", "its ECHConfigList, in base64")
	c.Flags().BoolVar(&o.qr, "qr", false, "also as a QR code")
	c.Flags().BoolVar(&o.asJSON, "json", false, "as JSON")
	c.MarkFlagsMutuallyExclusive("qr", "json")
}

// link returns the link to the egress of a configuration, without credentials.
func (o *linkOptions) link(cfg *configs.Egress) (*link, error) {
	host, port := o.host, portOf(cfg)
	if h, p, err := net.SplitHostPort(o.host); err == nil {
		host, port = h, p
	}
	host = strings.Trim(host, "[]")
	if host == "" {
		names, err := namesOf(cfg)
		if err != nil {
			return nil, err
		}
		if len(names) == 0 {
			return nil, errors.New("the configuration does not say by which name clients reach the egress; give --host")
		}
		host = names[0]
	}
	if port == "" {
		return nil, errors.New("the system chooses the port of the egress; give --host host:port")
	}
	l := &link{hop: &url.URL{Scheme: "https", Host: hostPort(host, port)}, ech: o.ech, name: o.name}
	if len(cfg.TLS.Names) > 0 && cfg.TLS.Certificate == "" && cfg.TLS.State != "" {
		cert, err := egress.MadeCertificate(cfg.TLS.State, cfg.TLS.Names)
		if err != nil {
			return nil, err
		}
		pin, err := egress.Pin(cert)
		if err != nil {
			return nil, err
		}
		l.pins = []string{pin}
	}
	_, err := parseLink(l.String()) // what is wrong with host, name or ech
	return l, err
}

// namesOf returns the names by which clients may reach an egress.
func namesOf(cfg *configs.Egress) ([]string, error) {
	names := slices.Clone(cfg.TLS.Names)
	if cfg.TLS.Certificate != "" {
		cert, err := tls.LoadX509KeyPair(cfg.TLS.Certificate, cfg.TLS.Key)
		if err != nil {
			return nil, cfg.Errorf("tls.certificate", "%w", err)
		}
		leaf, err := x509.ParseCertificate(cert.Certificate[0])
		if err != nil {
			return nil, cfg.Errorf("tls.certificate", "%w", err)
		}
		names = leaf.DNSNames
	}
	return slices.DeleteFunc(names, func(n string) bool { return strings.HasPrefix(n, "*") }), nil
}

// print shows a link.
func (o *linkOptions) print(w io.Writer, l *link) error {
	if o.asJSON {
		token, _ := l.hop.User.Password()
		return json.NewEncoder(w).Encode(map[string]string{"user": l.hop.User.Username(), "token": token, "link": l.String()})
	}
	text := l.String() + "\n"
	if o.qr {
		code, err := qrCode(l.String())
		if err != nil {
			return err
		}
		text += "\n" + code
	}
	_, err := io.WriteString(w, text)
	return err
}

// knownToken returns a user's token from where it is written down.
func knownToken(in io.Reader, cfg *configs.Egress, user, file string) (string, error) {
	for _, u := range cfg.Users {
		if u.Name == user && file == "" {
			return u.Secret.Reveal(), nil
		}
	}
	switch file {
	case "":
		return "", fmt.Errorf("user %q: the configuration has none of that name, and tokens of others are kept nowhere; "+
			"give --token FILE, or \"byway user rotate %s\" for a new one", user, user)
	case "-":
		return oneLine(in)
	}
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // it was read only
	return oneLine(f)
}
