package main

import (
	"cmp"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/httpproxy"
	"github.com/byway-proxy/byway/local"
	"github.com/byway-proxy/byway/relay"
)

func explainCommand() *cobra.Command {
	var file, user, listener, client, network, at string
	var asDNS bool
	c := &cobra.Command{
		Use:   "explain [-c FILE] HOST:PORT, or --dns NAME",
		Short: "Tell where a request would go, and by which rule, without any traffic",
		Long: "Tell which rule decides of a request, where it leads hop by hop, where the name would be\n" +
			"resolved, and which fields plain HTTP would lose. Nothing is sent, and nothing is looked up.\n" +
			"The request comes from 127.0.0.1 to the first listener of the file, now, unless told\n" +
			"otherwise.\n" +
			"With --dns, tell what a [[dns]] listener would answer about a name, and whom it would ask.",
		Example: "  byway explain www.example.org:443\n" +
			"  byway explain -c byway.toml --user alice --at 'Sat 22:30' 192.0.2.7:25\n" +
			"  byway explain --dns www.example.org",
		Args: cobra.ExactArgs(1),
	}
	c.Flags().StringVarP(&file, "config", "c", "byway.toml", "configuration file")
	c.Flags().StringVar(&user, "user", "", "the user who asks")
	c.Flags().StringVar(&listener, "listener", "", "the listener that is asked, as in the file")
	c.Flags().StringVar(&client, "client", "127.0.0.1", "the client's address")
	c.Flags().StringVar(&network, "network", "tcp", "tcp or udp")
	c.Flags().StringVar(&at, "at", "", "when: 2006-01-02T15:04:05Z, \"2006-01-02 15:04\", 15:04 or \"Mon 15:04\"")
	c.Flags().BoolVar(&asDNS, "dns", false, "tell what a DNS listener would answer about a name")
	_ = c.MarkFlagFilename("config", "toml")
	c.RunE = func(c *cobra.Command, args []string) error {
		when, err := parseTime(at, time.Now())
		if err != nil {
			return err
		}
		if network != "tcp" && network != "udp" {
			return fmt.Errorf("--network: %q is not tcp or udp", network)
		}
		from, err := netip.ParseAddr(client)
		if err != nil {
			return fmt.Errorf("--client: %q is not an address", client)
		}
		if asDNS {
			return explainDNS(c.OutOrStdout(), file, args[0], listener, from, when)
		}
		_, port, err := net.SplitHostPort(args[0])
		if n, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || n == 0 {
			return fmt.Errorf("%q is not host:port", args[0])
		}
		cfg, err := configs.LoadClient(file)
		if err != nil {
			return err
		}
		if listener, err = listenerOf(cfg, listener); err != nil {
			return err
		}
		s, err := local.New(cfg, &net.Dialer{}, slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		defer s.Close() //nolint:errcheck // nothing was opened
		q := relay.Request{
			Network: network, Addr: args[0], User: user, Listener: listener,
			Client: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0)),
		}
		_, err = fmt.Fprint(c.OutOrStdout(), explain(&q, when, s.Explain(q, when)))
		return err
	}
	return c
}

// listenerOf returns the listener that is asked.
func listenerOf(cfg *configs.Client, asked string) (string, error) {
	var known []string
	for _, l := range cfg.Listeners {
		if asked == "" || asked == l.Address {
			return l.Address, nil
		}
		known = append(known, l.Address)
	}
	if asked == "" {
		return "", nil
	}
	return "", fmt.Errorf("--listener: %q is not in the file, which has %s", asked, strings.Join(known, ", "))
}

// parseTime reads --at, which fills up what it does not say from now.
func parseTime(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return now, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	if t, err := time.ParseInLocation("2006-01-02 15:04", s, now.Location()); err == nil {
		return t, nil
	}
	clock, days := s, 0
	if day, rest, ok := strings.Cut(s, " "); ok {
		clock = rest
		for days < 7 && !strings.EqualFold(now.AddDate(0, 0, days).Format("Mon"), day) {
			days++
		}
	}
	t, err := time.ParseInLocation("15:04", clock, now.Location())
	if err != nil || days == 7 {
		return t, fmt.Errorf("--at: %q is not a time; write it like 2006-01-02T15:04:05Z, \"2006-01-02 15:04\", 15:04 or \"Mon 15:04\"", s)
	}
	return time.Date(now.Year(), now.Month(), now.Day()+days, t.Hour(), t.Minute(), 0, 0, now.Location()), nil
}

// explain is what explainCommand prints.
func explain(q *relay.Request, at time.Time, e local.Explanation) string {
	var b strings.Builder
	line := func(head, format string, args ...any) {
		fmt.Fprintf(&b, "%-8s%s\n", head, fmt.Sprintf(format, args...))
	}
	who := q.Client.(*net.TCPAddr).IP.String()
	if q.User != "" {
		who = q.User + " at " + who
	}
	line("request", "%s %s by %s to %s, %s", q.Network, q.Addr, who, cmp.Or(q.Listener, "no listener"), at.Format("Mon 2006-01-02 15:04 MST"))
	switch t := e.Target; {
	case t.Name != "":
		line("target", "the name %s", t.Name)
	case t.Addr.IsValid():
		line("target", "the address %s", t.Addr)
	}
	line("rule", "%s", e.Decision.Rule)
	p := e.Path
	switch {
	case e.Decision.Ask != nil:
		line("action", "depends on the address, and a look-up that fails blocks; explain that address to see more")
	case e.Decision.Dialer == nil:
		line("action", "block%s", map[relay.Block]string{
			relay.Refuse: ": the client is told at once",
			relay.Drop:   ": the client is kept waiting, and then told that nobody answered",
			relay.Page:   ": plain HTTP gets a page that names the rule, all else is told at once",
		}[e.Decision.Block])
	case p.Direct():
		line("action", "direct, through no hop")
	default:
		line("action", "to %s: %s > %s", p.To, strings.Join(p.Hops, " > "), cmp.Or(e.Decision.Addr, q.Meant(e.Decision).Addr))
	}
	if e.Decision.Dialer != nil {
		for _, h := range p.Heads {
			line("hop 1", "%s, at %s", h.Name, h.Reach)
		}
		for i, hop := range p.Hops[min(1, len(p.Hops)):] {
			line(fmt.Sprintf("hop %d", i+2), "%s, through %s", hop, p.Hops[i])
		}
		if e.Decision.Addr != "" {
			line("dialled", "as %s, which is read the same everywhere", e.Decision.Addr)
		}
	}
	if e.Decision.Dialer != nil && !chain.Carries(e.Decision.Dialer, q.Network) {
		line("but", "not every hop of it carries %s: the request fails, and goes no other way", strings.ToUpper(q.Network))
	}
	if e.Names != "" {
		line("name", "resolved by %s", e.Names)
	}
	if e.Decision.Dialer != nil && q.Network == "tcp" {
		line("fields", "plain HTTP goes without %s", strings.Join(httpproxy.RemovedFields(), ", "))
	}
	return b.String()
}
