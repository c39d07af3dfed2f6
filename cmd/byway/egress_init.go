package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/egress"
	"github.com/byway-proxy/byway/egress/users"
)

type initOptions struct{ dir, domain, listen, user string }

func egressInitCommand() *cobra.Command {
	var o initOptions
	c := &cobra.Command{
		Use:   "init --domain NAME",
		Short: "Write a configuration, and make a first user with a link to join by",
		Long: "Write egress.toml, a certificate made on the spot and a page to begin with, make a user,\n" +
			"and print the link by which a client joins, also as a QR code. Files that exist are\n" +
			"never overwritten.",
		Example: "  byway egress init --domain my.example.org && byway egress",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return initEgress(c.OutOrStdout(), o) },
	}
	c.Flags().StringVar(&o.domain, "domain", "", "name or IP address by which clients reach this server")
	c.Flags().StringVar(&o.listen, "listen", ":443", "address to listen on")
	c.Flags().StringVar(&o.user, "user", "me", "name of the first user")
	c.Flags().StringVar(&o.dir, "dir", ".", "folder to write to")
	_ = c.MarkFlagRequired("domain")
	return c
}

func initEgress(w io.Writer, o initOptions) error {
	if _, port, err := net.SplitHostPort(o.listen); err != nil {
		return fmt.Errorf("--listen: %w; write host:port or :port", err)
	} else if port == "0" {
		return errors.New("--listen: with port 0 nobody would know the port; write one")
	}
	config := filepath.Join(o.dir, egressConfig)
	linkName := filepath.Join(o.dir, o.user+".link")
	if filepath.Dir(linkName) != filepath.Clean(o.dir) {
		return fmt.Errorf("--user %q cannot be the name of a file", o.user)
	}
	files := []struct{ name, text string }{
		{config, fmt.Sprintf(initConfig, quote(o.listen), quote(o.domain), quote(o.domain))},
		{filepath.Join(o.dir, "site", "index.html"), initPage},
	}
	for _, name := range []string{files[0].name, files[1].name, linkName, filepath.Join(o.dir, "state", "users.db")} {
		if _, err := os.Lstat(name); err == nil {
			return fmt.Errorf("%s exists already; nothing was written", name)
		}
	}
	for _, f := range files {
		if err := writeNew(f.name, f.text, 0o644); err != nil {
			return err
		}
	}
	// Read it as "byway egress" will, so that what is printed is what will serve.
	cfg, err := configs.LoadEgress(config)
	if err != nil {
		return err
	}
	l, err := (&linkOptions{}).link(cfg)
	if err != nil {
		return err
	}
	set, err := egress.OpenUsers(cfg)
	if err != nil {
		return err
	}
	token, err := set.Add(users.User{Name: o.user})
	if err = errors.Join(err, set.Close()); err != nil {
		return err
	}
	l.hop.User = url.UserPassword(o.user, token)
	if err := writeNew(linkName, l.String()+"\n", 0o600); err != nil {
		return err
	}
	code, err := qrCode(l.String())
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, initReport, config, linkName, filepath.Join(o.dir, "site"), l, code, configFlag(config), l)
	return err
}

// configFlag is what "byway egress" needs to find the file.
func configFlag(config string) string {
	if config == egressConfig {
		return ""
	}
	return " -c " + config
}

func writeNew(name, text string, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

const initConfig = `# Written by "byway egress init". Every key is explained in the sample,
# configs/egress.toml.

[[listen]]
address = %s

[tls]
names = [%s]
state = "state"

[[site]]
host = %s
root = "site"

# Users are made by "byway user", and kept here.
[store]
file = "state/users.db"
`

const initPage = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Welcome</title>
<p>Nothing to see here yet.</p>
</html>
`

const initReport = `wrote %s
      %s (the link below; it has the token: remove it when you have joined)
      %s (the website: put your own there)

The link, for one client, and a proxy URL to curl and browsers, too:

    %s

%s
Next, here:       byway egress%s
on the client:    byway join '%s'
                  byway run
`
