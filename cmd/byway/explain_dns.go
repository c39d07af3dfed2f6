package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/local"
	"github.com/byway-proxy/byway/route"
)

// explainDNS is "explain --dns": what the DNS listener that is asked, or the first one, would
// answer about a name.
func explainDNS(w io.Writer, file, name, asked string, from netip.Addr, at time.Time) error {
	if t, err := route.ParseHost(name); err != nil || t.Name == "" {
		return fmt.Errorf("--dns: %q is not a name; give one without a port", name)
	}
	cfg, err := configs.LoadClient(file)
	if err != nil {
		return err
	}
	i, err := dnsOf(cfg, asked)
	if err != nil {
		return err
	}
	s, err := local.New(cfg, &net.Dialer{}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer s.Close() //nolint:errcheck // nothing was opened
	n := &cfg.DNS[i]
	e := s.ExplainName(i, name, net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), at)
	var b strings.Builder
	line := func(head, format string, args ...any) {
		fmt.Fprintf(&b, "%-8s%s\n", head, fmt.Sprintf(format, args...))
	}
	line("request", "DNS %s by %s to %s, %s", name, from, n.Listen, at.Format("Mon 2006-01-02 15:04 MST"))
	if e.Target.Name != "" {
		line("target", "the name %s", e.Target.Name)
	}
	if e.Rule != "" {
		line("rule", "%s", e.Rule)
	}
	line("answer", "%s", e.Answer)
	if !e.Asked {
		line("asked", "nobody")
		_, err = io.WriteString(w, b.String())
		return err
	}
	way := n.Via
	if len(e.Path.Hops) > 0 {
		way += ": " + strings.Join(e.Path.Hops, " > ")
	}
	line("asked", "%s by %s", upstreamsOf(n), way)
	for _, h := range e.Path.Heads {
		line("hop 1", "%s, at %s", h.Name, h.Reach)
	}
	_, err = io.WriteString(w, b.String())
	return err
}

// dnsOf returns the index of the DNS listener that is asked.
func dnsOf(cfg *configs.Client, asked string) (int, error) {
	var known []string
	for i := range cfg.DNS {
		if asked == "" || asked == cfg.DNS[i].Listen {
			return i, nil
		}
		known = append(known, cfg.DNS[i].Listen)
	}
	if known == nil {
		return 0, errors.New("--dns: there is no [[dns]] in the file")
	}
	return 0, fmt.Errorf("--listener: %q is no [[dns]] of the file, which has %s", asked, strings.Join(known, ", "))
}
