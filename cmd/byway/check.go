package main

import (
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
	var isEgress bool
	c := &cobra.Command{
		Use:   "check -c FILE",
		Short: "Validate a configuration, and show every path that can go direct",
		Long: "Validate a configuration without listening or dialling. For the local side, show\n" +
			"where each rule leads and all that leaves this machine other than through a hop.\n" +
			"The exit status is 1 if the file has errors; each is told with its place.",
		Args: cobra.NoArgs,
	}
	c.Flags().StringVarP(&file, "config", "c", "", "configuration file")
	c.Flags().BoolVar(&isEgress, "egress", false, "the file is of an egress")
	_ = c.MarkFlagRequired("config")
	_ = c.MarkFlagFilename("config", "toml")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if isEgress {
			return checkEgress(c.OutOrStdout(), file)
		}
		return checkClient(c.OutOrStdout(), file)
	}
	return c
}

func checkClient(w io.Writer, file string) error {
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
	for _, l := range cfg.Listeners {
		who := "anybody who can reach it"
		if len(l.Users) > 0 {
			who = countUsers(len(l.Users))
		}
		fmt.Fprintf(&b, "listen  %s for %s\n", l.Address, who)
	}
	direct := 0
	for _, p := range s.Paths() {
		fmt.Fprintf(&b, "route   %s: to %s", p.From, p.To)
		if len(p.Hops) > 0 {
			fmt.Fprintf(&b, ": %s > target", strings.Join(p.Hops, " > "))
		}
		b.WriteByte('\n')
		switch {
		case p.Direct():
			direct++
			fmt.Fprintf(&b, "direct  %s: targets are reached from here, their names resolved by this system\n", p.From)
		case len(p.Hops) > 0:
			fmt.Fprintf(&b, "direct  %s: hop 1 %s alone, at %s\n", p.From, p.Hops[0], p.Reach)
		}
	}
	if len(s.Paths()) == 0 {
		b.WriteString("route   none: everything is blocked\n")
	}
	verdict := "no traffic goes direct"
	if direct > 0 {
		verdict = fmt.Sprintf("%d of %d routes go direct", direct, len(s.Paths()))
	}
	fmt.Fprintf(&b, "ok      %s: %s\n", file, verdict)
	_, err = io.WriteString(w, b.String())
	return err
}

func checkEgress(w io.Writer, file string) error {
	cfg, err := configs.LoadEgress(file)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "listen  %s for %s; everybody else sees the website\nok      %s\n",
		cfg.Listeners[0].Address, countUsers(len(cfg.Users)), file)
	return err
}

func countUsers(n int) string {
	if n == 1 {
		return "1 user"
	}
	return fmt.Sprintf("%d users", n)
}
