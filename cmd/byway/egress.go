package main

import (
	"encoding/base64"
	"net"

	"github.com/spf13/cobra"

	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/egress"
	"github.com/byway-proxy/byway/internal/sockets"
	"github.com/byway-proxy/byway/local"
)

// egressConfig is where "egress init" writes and "egress" reads by default.
const egressConfig = "egress.toml"

func egressCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "egress",
		Short: "Serve as the last hop, and as a website for everybody else",
		Long: "Serve as the last hop for those who hold a credential, and as a website for\n" +
			"everybody else. \"byway egress init\" writes a configuration to begin with.\n" +
			"On SIGHUP the file is read again: the website changes, and the certificate's files are\n" +
			"looked at; what else has changed is for the next start, and told in the log.",
		Args: cobra.NoArgs,
	}
	c.Flags().StringVarP(&file, "config", "c", egressConfig, "configuration file")
	_ = c.MarkFlagFilename("config", "toml")
	log := logFlags(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := configs.LoadEgress(file)
		if err != nil {
			return err
		}
		logger := log()
		s, err := egress.FromConfig(cfg, local.Trace(logger), logger)
		if err != nil {
			return err
		}
		if s.Sockets, err = sockets.TakeActivated(); err != nil {
			return err
		}
		defer reloadsEgress(c.Context(), s, cfg, file, logger)()
		return s.ListenAndServe(c.Context(), cfg, func(a net.Addr) {
			unclaimed(s.Sockets, logger)
			attrs := []any{"address", a.String(), "users", len(s.Users.List())}
			if cfg.TLS.Certificate == "" {
				// Made on the spot: clients know it by its pin.
				if pin, err := egress.Pin(s.Certificate); err == nil {
					attrs = append(attrs, "pin", pin)
				}
			}
			if s.ECH != nil {
				attrs = append(attrs, "ech", base64.StdEncoding.EncodeToString(s.ECH.List()))
			}
			logger.Info("listening", attrs...)
		})
	}
	c.AddCommand(egressInitCommand())
	return c
}
