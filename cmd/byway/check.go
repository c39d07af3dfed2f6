package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"

	"github.com/spf13/cobra"

	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/local"
)

func checkCommand() *cobra.Command {
	var file string
	var isEgress, isFront, strict bool
	c := &cobra.Command{
		Use:   "check -c FILE",
		Short: "Validate a configuration, and show every path that can go direct",
		Long: "Validate a configuration without listening or dialling. For the local side, show\n" +
			"where each rule leads, whether UDP goes there, and all that leaves this machine other\n" +
			"than through a hop.\n" +
			"What has no effect is warned of: rules that are never reached, chains, hops and lists\n" +
			"that nothing uses. The exit status is 1 if the file has errors, or with --strict\n" +
			"warnings; each is told with its place.",
		Args: cobra.NoArgs,
	}
	c.Flags().StringVarP(&file, "config", "c", "", "configuration file")
	c.Flags().BoolVar(&isEgress, "egress", false, "the file is of an egress")
	c.Flags().BoolVar(&isFront, "front", false, "the file is of a website without tunnels")
	c.Flags().BoolVar(&strict, "strict", false, "fail if there are warnings")
	_ = c.MarkFlagRequired("config")
	_ = c.MarkFlagFilename("config", "toml")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if isFront {
			return checkFront(c.OutOrStdout(), file)
		}
		if isEgress {
			return checkEgress(c.OutOrStdout(), file)
		}
		return checkClient(c.OutOrStdout(), file, strict)
	}
	return c
}

func checkClient(w io.Writer, file string, strict bool) error {
	cfg, err := configs.LoadClient(file)
	if err != nil {
		return err
	}
	s, err := local.New(cfg, &net.Dialer{}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer s.Close() //nolint:errcheck // nothing was opened
	var b strings.Builder
	for i := range cfg.Listeners {
		l := &cfg.Listeners[i]
		by := ""
		if l.TLS.Certificate != "" {
			by = ", by TLS alone,"
		}
		fmt.Fprintf(&b, "listen  %s%s for %s\n", l.Address, by, clientsOf(l))
	}
	describe(&b, s.Paths(), len(cfg.Listeners)+len(cfg.DNS) > 0)
	describeOwn(&b, cfg)
	warnings := s.Lint()
	for _, one := range warnings {
		fmt.Fprintf(&b, "warning %v\n", one)
	}
	for _, note := range s.Notes() {
		fmt.Fprintf(&b, "note    %s\n", note)
	}
	fmt.Fprintf(&b, "ok      %s: %s\n", file, verdict(s.Paths()))
	if _, err = io.WriteString(w, b.String()); err != nil || !strict || len(warnings) == 0 {
		return err
	}
	return errors.New("there are warnings, and --strict was asked for")
}

// clientsOf tells who may use a listener.
func clientsOf(l *configs.Listener) string {
	who := "anybody who can reach it"
	if len(l.Users) > 0 {
		who = countUsers(len(l.Users))
	}
	if _, ok := l.Socket(); !ok {
		return who
	}
	switch uids, own := l.UIDs(); {
	case own:
		return who + ", if it is the system's user that runs byway, or root"
	case uids != nil:
		return who + ", if it is one of the system's users " + strings.Trim(fmt.Sprint(uids), "[]")
	}
	return fmt.Sprintf("%s, with mode %04o", who, l.Mode)
}

// describe writes where rules and forwards lead, and what of it goes direct. Without
// a rule, it says what that means to those who listen.
func describe(b *strings.Builder, paths []local.Path, listens bool) {
	routes := 0
	for _, p := range paths {
		target := "target"
		switch f, l, n := p.Forward, p.List, p.DNS; {
		case n != nil:
			target = upstreamsOf(n)
			fmt.Fprintf(b, "dns     %s: %s answers%s", p.From, n.Listen, asksOf(n))
		case f != nil:
			target = f.Target
			fmt.Fprintf(b, "forward %s: %s %s to %s by %s", p.From, f.Network, f.Listen, f.Target, p.To)
		case l != nil:
			target = withoutQuery(string(l.URL))
			fmt.Fprintf(b, "list    %s: %s from %s by %s", p.From, l.Name, target, p.To)
		case p.Lookup:
			target = "resolver"
			fmt.Fprintf(b, "lookup  %s: names are asked for through %s", p.From, p.To)
		default:
			routes++
			fmt.Fprintf(b, "route   %s: to %s", p.From, p.To)
		}
		if len(p.Hops) > 0 {
			fmt.Fprintf(b, ": %s > %s", strings.Join(p.Hops, " > "), target)
		}
		b.WriteByte('\n')
		switch {
		case p.Direct() && p.DNS != nil:
			fmt.Fprintf(b, "direct  %s: %s: reached from here, a name resolved by %s\n", p.From, target, p.Names)
		case p.Direct() && (p.Forward != nil || p.List != nil):
			fmt.Fprintf(b, "direct  %s: %s is reached from here, its name resolved by %s\n", p.From, target, p.Names)
		case p.Direct():
			fmt.Fprintf(b, "direct  %s: targets are reached from here, their names resolved by %s\n", p.From, p.Names)
		default:
			for _, h := range p.Heads {
				fmt.Fprintf(b, "direct  %s: hop 1 %s alone, at %s\n", p.From, h.Name, h.Reach)
			}
		}
		describeUDP(b, &p)
	}
	if routes == 0 && listens {
		b.WriteString("route   none: everything is blocked\n")
	}
}

// describeOwn writes what byway sends of its own accord: questions to DNS servers, and
// probes.
func describeOwn(b *strings.Builder, cfg *configs.Client) {
	place := func(path string) string {
		at := cfg.Errorf(path, "here")
		return fmt.Sprintf("%s:%d", at.File, at.Line)
	}
	if by := local.ResolverOf(cfg); cfg.Resolve.Direct != "" {
		fmt.Fprintf(b, "direct  %s: the DNS server %s is reached from here\n", place("resolve"), by)
	}
	for i := range cfg.Chains {
		if ch := &cfg.Chains[i]; ch.DNS != "" {
			fmt.Fprintf(b, "names   %s: of names that are to be resolved, and its last hop can't, %s asks %s through it\n", place(fmt.Sprintf("chain[%d].dns", i)), ch.Name, ch.DNS)
		}
	}
	for i := range cfg.Groups {
		if g := &cfg.Groups[i]; g.Probe.Target != "" {
			fmt.Fprintf(b, "probe   %s: while %s is used, %s is tried through each member, every %v\n",
				place(fmt.Sprintf("group[%d].probe", i)), g.Name, withoutQuery(g.Probe.Target), g.Probe.Interval)
		}
	}
}

// asksOf tells what answers consist of, and whom they are asked.
func asksOf(n *configs.DNS) string {
	asks := fmt.Sprintf(", asking %s by %s", upstreamsOf(n), n.Via)
	switch {
	case n.Addresses != configs.AddressesStandIn:
		return asks
	case len(n.Upstreams) == 0:
		return " with addresses that stand for names, and nothing else"
	}
	return " with addresses that stand for names; of all else" + asks
}

// upstreamsOf names the servers that are asked.
func upstreamsOf(n *configs.DNS) string {
	var all []string
	for _, u := range n.Upstreams {
		all = append(all, withoutQuery(string(u)))
	}
	return strings.Join(all, ", else ")
}

// withoutQuery returns a URL without what may be a token.
func withoutQuery(raw string) string {
	at, query, ok := strings.Cut(raw, "?")
	if !ok || query == "" {
		return at
	}
	return at + "?…"
}

// describeUDP writes what becomes of UDP that comes to a rule.
func describeUDP(b *strings.Builder, p *local.Path) {
	switch {
	case p.UDP == local.UDPRefused:
		fmt.Fprintf(b, "udp     %s: refused, and goes no other way: not every hop carries UDP\n", p.From)
	case p.UDP == local.UDPCarried && p.Direct():
		fmt.Fprintf(b, "udp     %s: goes direct, too\n", p.From)
	case p.UDP == local.UDPCarried:
		fmt.Fprintf(b, "udp     %s: goes the same way, if each hop offers it when asked\n", p.From)
	}
}

// verdict sums up what goes direct.
func verdict(paths []local.Path) string {
	kinds := []string{"routes", "forwards", "DNS listeners", "lists"}
	var all, direct [4]int
	for _, p := range paths {
		kind := 0
		switch {
		case p.Lookup:
			continue // a chain's, always
		case p.Forward != nil:
			kind = 1
		case p.DNS != nil:
			kind = 2
		case p.List != nil:
			kind = 3
		}
		all[kind]++
		if p.Direct() {
			direct[kind]++
		}
	}
	var said []string
	for kind, n := range direct {
		if n > 0 {
			said = append(said, fmt.Sprintf("%d of %d %s", n, all[kind], kinds[kind]))
		}
	}
	if said == nil {
		return "no traffic goes direct"
	}
	return strings.Join(said, " and ") + " go direct"
}

func checkEgress(w io.Writer, file string) error {
	cfg, err := configs.LoadEgress(file)
	if err != nil {
		return err
	}
	var b strings.Builder
	l := &cfg.Listeners[0]
	fmt.Fprintf(&b, "listen  %s for %s; everybody else sees the website\n", l.Address, usersOf(cfg))
	if l.HTTPPort != 0 {
		fmt.Fprintf(&b, "listen  port %d sends everybody to https\n", l.HTTPPort)
	}
	if a := cfg.TLS.ACME.Directory; a != "" {
		fmt.Fprintf(&b, "direct  tls.acme: %s and its OCSP server are reached from here, their names resolved by this system\n", a)
	}
	fmt.Fprintf(&b, "ok      %s\n", file)
	_, err = io.WriteString(w, b.String())
	return err
}

func usersOf(cfg *configs.Egress) string {
	switch n := len(cfg.Users); {
	case cfg.Store.File == "":
		return countUsers(n)
	case n == 0:
		return "the users of " + cfg.Store.File
	default:
		return countUsers(n) + " and those of " + cfg.Store.File
	}
}

func countUsers(n int) string {
	if n == 1 {
		return "1 user"
	}
	return fmt.Sprintf("%d users", n)
}
