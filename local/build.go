package local

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/hop"
	"github.com/byway-proxy/byway/route"
	"github.com/byway-proxy/byway/socks"
)

// A Path is one way that traffic can take, for people.
type Path struct {
	From  string   // the rule, file:line
	To    string   // "direct", "block" or the chain's name
	Hops  []string // the names of the chain's hops
	Reach string   // how hop 1 is reached: its address and who resolves its name
}

// Direct reports whether traffic leaves from here without a hop.
func (p Path) Direct() bool { return p.To == configs.Direct }

// plan is what a configuration comes to, before anything is listened on.
type plan struct {
	chains map[string]*chain.Chain
	table  route.Table
	paths  []Path
}

func (p *plan) close() {
	for _, c := range p.chains {
		_ = c.Close()
	}
}

// build makes chains and rules over base. Errors have their place in the file.
func build(c *configs.Client, base chain.Dialer) (*plan, error) {
	p := &plan{chains: make(map[string]*chain.Chain)}
	byName := make(map[string]int)
	hops := make([]chain.Hop, len(c.Hops))
	for i, h := range c.Hops {
		built, err := buildHop(c, i)
		if err != nil {
			return nil, err
		}
		hops[i], byName[h.Name] = built, i
	}
	reach := make(map[string]Path)
	for i, ch := range c.Chains {
		through := make([]chain.Hop, len(ch.Hops))
		for j, name := range ch.Hops {
			at, ok := byName[name]
			if !ok {
				return nil, c.Errorf(fmt.Sprintf("chain[%d].hops[%d]", i, j), "hop %q is not defined", name)
			}
			through[j] = hops[at]
		}
		if len(through) > 0 && ch.Spares > 0 {
			last := len(through) - 1
			through[last] = chain.Spare(through[last], chain.SpareOptions{Max: int(ch.Spares)})
		}
		built, err := chain.New(base, through...)
		if err != nil {
			p.close()
			return nil, c.Errorf(fmt.Sprintf("chain[%d]", i), "%w", err)
		}
		p.chains[ch.Name] = built
		reach[ch.Name] = Path{To: ch.Name, Hops: built.Hops(), Reach: reachOf(&c.Hops[byName[ch.Hops[0]]])}
	}
	for i, r := range c.Routes {
		place := c.Errorf(fmt.Sprintf("route[%d]", i), "here")
		from := fmt.Sprintf("%s:%d", place.File, place.Line)
		rule, path := route.Rule{Via: r.To, Place: from}, Path{To: r.To}
		switch r.To {
		case configs.Block:
		case configs.Direct:
			rule.To = base
		default:
			ch, ok := p.chains[r.To]
			if !ok {
				p.close()
				return nil, c.Errorf(fmt.Sprintf("route[%d].to", i), "chain %q is not defined", r.To)
			}
			rule.To, path = ch, reach[r.To]
		}
		path.From = from
		p.table, p.paths = append(p.table, rule), append(p.paths, path)
	}
	return p, nil
}

func reachOf(h *configs.Hop) string {
	host := h.URL.Hostname()
	if net.ParseIP(host) != nil {
		return h.URL.Host + ", directly"
	}
	return h.URL.Host + ", directly, its name resolved by this system"
}

func buildHop(c *configs.Client, i int) (chain.Hop, error) {
	h := &c.Hops[i]
	o := hop.Options{
		Name:           h.Name,
		User:           h.User,
		Password:       h.Secret.Reveal(),
		DialLimit:      h.DialTimeout,
		HandshakeLimit: h.HandshakeTimeout,
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
	built, err := hop.FromURL(h.URL, o)
	if err != nil {
		return chain.Hop{}, c.Errorf(fmt.Sprintf("hop[%d].url", i), "%w", err)
	}
	return built, nil
}

// buildTLS returns the TLS settings of a hop, or nil if it has none.
func buildTLS(c *configs.Client, i int) (*tls.Config, error) {
	t := &c.Hops[i].TLS
	if t.ServerName == "" && t.CA == "" && t.Certificate == "" {
		return nil, nil
	}
	cfg := &tls.Config{ServerName: t.ServerName, MinVersion: tls.VersionTLS12}
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
