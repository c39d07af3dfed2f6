package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/internal/control"
	"github.com/byway-proxy/byway/internal/sockets"
	"github.com/byway-proxy/byway/local"
)

func runCommand() *cobra.Command {
	var file, listen string
	var via []string
	c := &cobra.Command{
		Use:   "run [-c FILE | --via URL,URL]",
		Short: "Serve local apps",
		Long: "Serve local apps, as a configuration file says (byway.toml, if nothing else is said), or\n" +
			"through the hops of --via, the nearest first. A URL is socks5://, socks4a://, socks4://, http://, https:// or h3://,\n" +
			"with user:password@ where the hop asks for it; ?pin=sha256/… behind an https or h3\n" +
			"URL names the key that the hop must have, and the link of an egress has it. Hops by ssh:// or at a unix socket are for\n" +
			"configurations.\n" +
			"URLs on a command line are seen by the machine's other users: keep secrets in files\n" +
			"named by a configuration.",
		Example: "  byway run -c byway.toml\n" +
			"  byway run --via socks5://10.0.0.2:1080,https://alice:TOKEN@paris.example.org",
		Args: cobra.NoArgs,
	}
	c.Flags().StringVarP(&file, "config", "c", "", "configuration file")
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:1080", "address to listen on, with --via")
	c.Flags().StringSliceVar(&via, "via", nil, "URLs of the hops, the nearest first")
	c.MarkFlagsMutuallyExclusive("config", "via")
	c.MarkFlagsMutuallyExclusive("config", "listen")
	_ = c.MarkFlagFilename("config", "toml")
	log := logFlags(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		var cfg *configs.Client
		var err error
		if file == "" && len(via) == 0 {
			if c.Flags().Changed("listen") {
				return errors.New("--listen stands without --via; give both, or a configuration file")
			}
			file = clientConfig
		}
		if file != "" {
			cfg, err = configs.LoadClient(file)
		} else {
			cfg, err = clientFrom(listen, via)
		}
		if err != nil {
			return err
		}
		logger := log()
		s, err := local.New(cfg, &net.Dialer{}, logger)
		if err != nil {
			return err
		}
		stop, err := showStatus(c.Context(), s, cfg, logger)
		if err != nil {
			return err
		}
		defer stop()
		given, err := sockets.TakeActivated()
		if err != nil {
			return err
		}
		s.Inherit(given)
		listeners, forwards, err := s.Listen(c.Context())
		if err != nil {
			return err
		}
		unclaimed(given, logger)
		if path := control.DefaultPath(); path != "" && cfg.Control.Serve && cfg.Control.Socket == "" {
			if err := s.Control(c.Context(), path); err != nil {
				logger.Warn("no control socket", "error", err)
			}
		}
		tell(logger, s, listeners, forwards, s.DNS())
		if file != "" {
			defer reloads(c.Context(), s, cfg, file, logger)()
		}
		return s.Serve(c.Context())
	}
	return c
}

// tell says where s listens, and where that leads.
func tell(log *slog.Logger, s *local.Server, listeners, forwards, dns []net.Addr) {
	for _, a := range listeners {
		log.Info("listening", "address", a.String())
	}
	routes, entries := 0, len(listeners)+len(dns)
	for _, p := range s.Paths() {
		hops := strings.Join(p.Hops, " > ")
		if p.Forward != nil {
			log.Info("forwarding", "address", forwards[0].String(), "target", p.Forward.Target, "to", p.To, "hops", hops)
			forwards = forwards[1:]
			continue
		}
		if p.DNS != nil {
			log.Info("answering DNS", "address", dns[0].String(), "addresses", p.DNS.Addresses, "via", p.To, "hops", hops)
			dns = dns[1:]
			continue
		}
		if p.List != nil {
			log.Info("list", "list", p.List.Name, "via", p.To, "hops", hops)
			continue
		}
		if p.Lookup {
			log.Info("lookup", "rule", p.From, "via", p.To, "hops", hops)
			continue
		}
		routes++
		log.Info("route", "rule", p.From, "to", p.To, "hops", hops)
	}
	if routes == 0 && entries > 0 {
		log.Warn("no route: everything is blocked")
	}
}

// clientFrom is the configuration that --listen and --via stand for.
func clientFrom(listen string, via []string) (*configs.Client, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "[[listen]]\naddress = %s\n", quote(listen))
	var names []string
	for i, raw := range via {
		l, err := parseLink(raw)
		if err != nil {
			return nil, fmt.Errorf("--via: URL %d: %w", i+1, err)
		}
		name := fmt.Sprintf("%s://%s", l.hop.Scheme, l.hop.Host)
		if slices.Contains(names, name) {
			name = fmt.Sprintf("%s (%d)", name, i+1)
		}
		names = append(names, name)
		fmt.Fprintf(&b, "[[hop]]\nname = %s\nurl = %s\n", quote(name), quote(l.hop.String()))
		if len(l.pins) > 0 || l.ech != "" {
			b.WriteString("[hop.tls]\n")
		}
		if len(l.pins) > 0 {
			fmt.Fprintf(&b, "pin = [%s]\n", quoteAll(l.pins))
		}
		if l.ech != "" {
			fmt.Fprintf(&b, "ech = %s\n", quote(l.ech))
		}
	}
	fmt.Fprintf(&b, "[[chain]]\nname = \"via\"\nhops = [%s]\n[[route]]\nto = \"via\"\n", quoteAll(names))
	cfg, err := configs.ParseClient("--via", []byte(b.String()))
	var all configs.Errors
	if errors.As(err, &all) {
		// Places in a file that nobody wrote help nobody.
		var texts []string
		for _, e := range all {
			texts = append(texts, fmt.Sprintf("%s: %v", e.Key, e.Err))
		}
		return nil, errors.New("--listen and --via: " + strings.Join(texts, "; "))
	}
	return cfg, err
}

// quote writes s as a TOML string.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, "\\u%04x", r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func quoteAll(all []string) string {
	quoted := make([]string, len(all))
	for i, s := range all {
		quoted[i] = quote(s)
	}
	return strings.Join(quoted, ", ")
}
