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
		Short: "Write a configuration, a token and what the client needs",
		Long: "Write egress.toml, a token, a certificate made on the spot and a page to begin with,\n" +
			"and print what goes into the client's configuration. Files that exist are never\n" +
			"overwritten.",
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
	host, port, err := net.SplitHostPort(o.listen)
	if err != nil {
		return fmt.Errorf("--listen: %w; write host:port or :port", err)
	}
	_ = host
	config := filepath.Join(o.dir, egressConfig)
	tokenName := o.user + ".token"
	text := fmt.Sprintf(initConfig, quote(o.listen), quote(o.domain), quote(o.domain), quote(o.user), quote(tokenName))
	token := users.NewToken()
	if filepath.Base(tokenName) != tokenName {
		return fmt.Errorf("--user %q cannot be the name of a file", o.user)
	}
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return err
	}
	files := []struct {
		name, text string
		mode       fs.FileMode
	}{
		{filepath.Join(o.dir, tokenName), token + "\n", 0o600},
		{config, text, 0o644},
		{filepath.Join(o.dir, "site", "index.html"), initPage, 0o644},
	}
	for _, f := range files {
		if _, err := os.Lstat(f.name); err == nil {
			return fmt.Errorf("%s exists already; nothing was written", f.name)
		}
	}
	for _, f := range files {
		if err := writeNew(f.name, f.text, f.mode); err != nil {
			return err
		}
	}
	// Read it as "byway egress" will, so that what is printed is what will serve.
	cfg, err := configs.LoadEgress(config)
	if err != nil {
		return err
	}
	cert, err := egress.MadeCertificate(cfg.TLS.State, cfg.TLS.Names)
	if err != nil {
		return err
	}
	pin, err := egress.Pin(cert)
	if err != nil {
		return err
	}
	target := url.URL{Scheme: "https", Host: net.JoinHostPort(o.domain, port)}
	if port == "443" {
		target.Host = o.domain
		if net.ParseIP(o.domain) != nil && net.ParseIP(o.domain).To4() == nil {
			target.Host = "[" + o.domain + "]"
		}
	}
	linkName := o.user + ".link"
	link := target
	link.User = url.UserPassword(o.user, token)
	if err := writeNew(filepath.Join(o.dir, linkName), link.String()+"#pin="+pin+"\n", 0o600); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, initReport, config, filepath.Join(o.dir, tokenName), filepath.Join(o.dir, linkName),
		filepath.Join(o.dir, "site"), quote(o.domain), quote(target.String()), quote(o.user), quote(tokenName), quote(pin),
		configFlag(config), linkName)
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

[[user]]
name = %s
secret = { file = %s }
`

const initPage = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Welcome</title>
<p>Nothing to see here yet.</p>
</html>
`

const initReport = `wrote %s
      %s (the token; keep it secret)
      %s (the same as a proxy URL; keep it secret)
      %s (the website: put your own there)

For the client's configuration, with the token file beside it:

    [[hop]]
    name = %s
    url = %s
    user = %s
    secret = { file = %s }

    [hop.tls]
    pin = %s

Next, here:             byway egress%s
or on the client alone: byway run --via "$(cat %s)"
`
