package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/internal/control"
)

func newidCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "newid [-c FILE | --control SOCKET]",
		Short: "Make strangers of the tunnels to come and those before",
		Long: "Tell a running byway that whoever uses it is somebody else from now on: tunnels to\n" +
			"come share nothing with those before (HTTP/2 and SSH sessions, TLS tickets, tunnels kept\n" +
			"ready, connections to websites, the picks of sticky groups). What was kept is closed, sessions\n" +
			"with live tunnels when the last has ended. What\n" +
			"programs remember, such as cookies, is theirs.",
		Args: cobra.NoArgs,
	}
	ask := controlFlags(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		said, err := ask(c.Context(), "newid")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(c.OutOrStdout(), said)
		return err
	}
	return c
}

// controlFlags adds the flags that say which byway is meant, and returns what has it
// do a command.
func controlFlags(c *cobra.Command) func(ctx context.Context, command string, args ...string) (string, error) {
	file := c.Flags().StringP("config", "c", "", "configuration file of the byway that is meant")
	socket := c.Flags().String("control", "", "its control socket (default $XDG_RUNTIME_DIR/byway/control.sock)")
	c.MarkFlagsMutuallyExclusive("config", "control")
	_ = c.MarkFlagFilename("config", "toml")
	return func(ctx context.Context, command string, args ...string) (string, error) {
		path := *socket
		if *file != "" {
			cfg, err := configs.LoadClient(*file)
			if err != nil {
				return "", err
			}
			if !cfg.Control.Serve {
				return "", cfg.Errorf("control.serve", "is false: that byway cannot be told anything")
			}
			path = cfg.Control.Socket
		}
		if path == "" {
			path = control.DefaultPath()
		}
		if path == "" {
			return "", errors.New("XDG_RUNTIME_DIR is not set, so there is no default for the control socket; give --control or -c")
		}
		ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("byway did not answer within a minute"))
		defer cancel()
		return control.Ask(ctx, path, command, args...)
	}
}
