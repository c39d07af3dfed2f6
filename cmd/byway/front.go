package main

import (
	"net"

	"github.com/spf13/cobra"

	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/egress"
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
		return s.ListenAndServe(c.Context(), cfg, func(a net.Addr) {
			logger.Info("listening", "address", a.String(), "sites", len(cfg.Sites))
		})
	}
	return c
}
