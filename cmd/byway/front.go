package main

import (
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/spf13/cobra"

	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/egress"
	"github.com/byway-proxy/byway/internal/sockets"
)

func frontCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "front",
		Short: "Serve the website of an egress alone: a reverse proxy, without tunnels",
		Long: "Serve the sites of an egress's configuration, without tunnels: a reverse proxy and\n" +
			"server of files. Users may be missing from the file, and do nothing if they are there.",
		Args: cobra.NoArgs,
	}
	c.Flags().StringVarP(&file, "config", "c", egressConfig, "configuration file")
	_ = c.MarkFlagFilename("config", "toml")
	log := logFlags(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := configs.LoadFront(file)
		if err != nil {
			return err
		}
		logger := log()
		s, err := egress.FrontFromConfig(cfg, logger)
		if err != nil {
			return err
		}
		if s.Sockets, err = sockets.TakeActivated(); err != nil {
			return err
		}
		return s.ListenAndServe(c.Context(), cfg, func(a net.Addr) {
			unclaimed(s.Sockets, logger)
			logger.Info("listening", "address", a.String(), "sites", len(cfg.Sites))
		})
	}
	return c
}

// checkFront tells which site answers what.
func checkFront(w io.Writer, file string) error {
	cfg, err := configs.LoadFront(file)
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, l := range cfg.Listeners {
		how := "by TLS"
		if l.Plain {
			how = "in the clear"
		}
		fmt.Fprintf(&b, "listen  %s %s\n", l.Address, how)
	}
	for i := range cfg.Sites {
		s := &cfg.Sites[i]
		host := strings.Join(s.Hosts, ", ")
		if host == "" {
			host = "all other hosts"
		}
		for j := range s.Paths {
			fmt.Fprintf(&b, "site    %s: %s: %s\n", host, s.Paths[j].Match, answerOf(&s.Paths[j].SiteAnswer))
		}
		fmt.Fprintf(&b, "site    %s: %s\n", host, answerOf(&s.SiteAnswer))
	}
	fmt.Fprintf(&b, "ok      %s\n", file)
	_, err = io.WriteString(w, b.String())
	return err
}

// answerOf tells what answers.
func answerOf(a *configs.SiteAnswer) string {
	switch {
	case a.Root != "":
		return "the files in " + a.Root
	case a.Redirect != "":
		return "go to " + a.Redirect
	case len(a.Upstreams) == 0:
		return fmt.Sprintf("status %d", a.Status)
	}
	var all []string
	for i := range a.Upstreams {
		all = append(all, a.Upstreams[i].URL.String())
	}
	if len(all) == 1 {
		return all[0]
	}
	return fmt.Sprintf("%s of %s", a.Balance.Pick, strings.Join(all, ", "))
}
