package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/byway-proxy/byway/configs"
)

// clientConfig is where "join" writes and "run" reads by default.
const clientConfig = "byway.toml"

func joinCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "join LINK",
		Short: "Take an egress into a client's configuration, by its link",
		Long: "Take an egress into a client's configuration, by the link that \"byway egress init\" or\n" +
			"\"byway user add\" has printed; - reads it from the standard input, as command lines are\n" +
			"seen by the machine's other users. Hop, chain and route are written behind what the file\n" +
			"has, which stays as it is; the token goes into a file of its own beside it. Without a\n" +
			"file, one is made. The link of a hop that is there already renews its token and pin.",
		Example: "  byway join 'https://me:TOKEN@my.example.org?pin=sha256/…' && byway run",
		Args:    cobra.ExactArgs(1),
	}
	c.Flags().StringVarP(&file, "config", "c", clientConfig, "configuration file of the client")
	_ = c.MarkFlagFilename("config", "toml")
	c.RunE = func(c *cobra.Command, args []string) error {
		raw := args[0]
		if raw == "-" {
			line, err := oneLine(c.InOrStdin())
			if err != nil {
				return err
			}
			raw = line
		}
		l, err := parseLink(strings.TrimSpace(raw))
		if err != nil {
			return fmt.Errorf("the link: %w", err)
		}
		j := &joining{file: file, link: l}
		if err := j.join(); err != nil {
			return err
		}
		return j.tell(c.OutOrStdout())
	}
	return c
}

// joining is what is to become of a link.
type joining struct {
	file string
	link *link

	hop, chain string // their names
	secret     string // name of the token's file
	routed     bool   // all that no rule of the file fits goes to the chain
	renewed    bool   // the hop was there
	made       bool   // the file was not
}

func (j *joining) join() error {
	if j.link.hop.User == nil {
		return errors.New("the link has no user and token; copy it whole")
	}
	if real, err := filepath.EvalSymlinks(j.file); err == nil {
		j.file = real // what a link leads to is written, not the link
	}
	text, err := os.ReadFile(j.file)
	cfg := &configs.Client{}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		j.made = true
	case err != nil:
		return err
	default:
		if cfg, err = configs.ParseClient(j.file, text); err != nil {
			return err // to write into a file with mistakes would hide whose they are
		}
	}
	if i := j.existing(cfg); i >= 0 {
		return j.renew(cfg, i)
	}
	return j.add(cfg, string(text))
}

// existing returns the index of the link's hop in a configuration, or -1.
func (j *joining) existing(cfg *configs.Client) int {
	return slices.IndexFunc(cfg.Hops, func(h configs.Hop) bool {
		return h.URL.Scheme == j.link.hop.Scheme && h.URL.Host == j.link.hop.Host && h.User == j.link.hop.User.Username()
	})
}

// renew puts the link's token into the file that the hop has it in. Another pin is for people to
// change: the link may be a forgery that leads elsewhere.
func (j *joining) renew(cfg *configs.Client, i int) error {
	h := &cfg.Hops[i]
	var pins []string
	for _, p := range h.TLS.Pins {
		pins = append(pins, p.String())
	}
	for _, p := range j.link.pins {
		if !slices.Contains(pins, p) {
			return cfg.Errorf(fmt.Sprintf("hop[%d]", i), "has another pin than the link, %s; if the server's key has changed, and the link is from whom you think, put it there, and join again", p)
		}
	}
	token, _ := j.link.hop.User.Password()
	j.hop, j.renewed = h.Name, true
	if h.Secret.Reveal() == token {
		return nil
	}
	j.secret = filepath.Join(filepath.Dir(j.file), secretName(h.Name))
	if before, err := os.ReadFile(j.secret); err != nil || strings.TrimSpace(string(before)) != h.Secret.Reveal() {
		return cfg.Errorf(fmt.Sprintf("hop[%d].secret", i), "is not in %s, where \"byway join\" would have put it; put the link's token there yourself", filepath.Base(j.secret))
	}
	return replaceFile(j.secret, token+"\n", 0o600)
}

// add writes hop, chain and route behind text, if what comes of it is a good configuration.
func (j *joining) add(cfg *configs.Client, text string) error {
	name := j.link.name
	if name == "" {
		name = j.link.hop.Hostname()
	}
	j.hop = free(cfg, name)
	if j.chain = "default"; len(cfg.Chains) > 0 || j.hop == j.chain {
		j.chain = "via " + j.hop
	}
	j.chain = free(cfg, j.chain)
	j.routed = !slices.ContainsFunc(cfg.Routes, always)
	token, _ := j.link.hop.User.Password()
	var err error
	if j.secret, err = newSecret(filepath.Dir(j.file), j.hop, token); err != nil {
		return err
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	mode := fs.FileMode(0o644)
	if info, err := os.Stat(j.file); err == nil {
		mode = info.Mode().Perm()
	}
	text += j.text()
	if _, err = configs.ParseClient(j.file, []byte(text)); err != nil {
		err = fmt.Errorf("what the link needs cannot be added to %s, which is as it was: %w", j.file, err)
	} else {
		err = replaceFile(j.file, text, mode)
	}
	if err != nil {
		return errors.Join(err, os.Remove(j.secret))
	}
	return nil
}

// text is what is added to the file.
func (j *joining) text() string {
	var b strings.Builder
	if j.made {
		b.WriteString("# Written by \"byway join\". Every key is explained in the sample,\n# configs/client.toml.\n\n[[listen]]\naddress = \"127.0.0.1:1080\"\n")
	} else {
		b.WriteString("\n# Added by \"byway join\".\n")
	}
	bare := *j.link.hop
	bare.User = nil
	fmt.Fprintf(&b, "\n[[hop]]\nname = %s\nurl = %s\nuser = %s\nsecret = { file = %s }\n",
		quote(j.hop), quote(bare.String()), quote(j.link.hop.User.Username()), quote(filepath.Base(j.secret)))
	if len(j.link.pins) > 0 || j.link.ech != "" {
		b.WriteString("\n[hop.tls]\n")
	}
	switch len(j.link.pins) {
	case 0:
	case 1:
		fmt.Fprintf(&b, "pin = %s\n", quote(j.link.pins[0]))
	default:
		fmt.Fprintf(&b, "pin = [%s]\n", quoteAll(j.link.pins))
	}
	if j.link.ech != "" {
		fmt.Fprintf(&b, "ech = %s\n", quote(j.link.ech))
	}
	fmt.Fprintf(&b, "\n[[chain]]\nname = %s\nhops = [%s]\n", quote(j.chain), quote(j.hop))
	if j.routed {
		fmt.Fprintf(&b, "\n[[route]]\nto = %s\n", quote(j.chain))
	}
	return b.String()
}

// tell says what was done, and what to do next.
func (j *joining) tell(w io.Writer) error {
	var b strings.Builder
	switch {
	case j.renewed && j.secret == "":
		fmt.Fprintf(&b, "%s has hop %q already, with this token\n", j.file, j.hop)
	case j.renewed:
		fmt.Fprintf(&b, "wrote %s: hop %q has a new token\n", j.secret, j.hop)
	default:
		fmt.Fprintf(&b, "wrote %s: hop %q, chain %q\n      %s: the token; keep it secret\n", j.file, j.hop, j.chain, j.secret)
	}
	flag := ""
	if j.file != clientConfig {
		flag = " -c " + j.file
	}
	switch {
	case j.renewed:
	case j.routed:
		fmt.Fprintf(&b, "What no other rule fits goes there.\n")
	default:
		fmt.Fprintf(&b, "The rules of the file leave nothing over: write to = %s where you want it.\n", quote(j.chain))
	}
	fmt.Fprintf(&b, "Next: byway run%s (or byway reload%s, if it runs)\n", flag, flag)
	_, err := io.WriteString(w, b.String())
	return err
}

// always reports whether a route fits everything.
func always(r configs.Route) bool {
	return len(r.Domains)+len(r.Lists)+len(r.CIDRs)+len(r.Countries)+len(r.Ports)+len(r.Listeners)+len(r.Users)+len(r.Clients)+
		len(r.Times)+len(r.Weekdays)+len(r.Not) == 0 && r.Network == ""
}

// free returns name, or name-2 and so on, such that nothing that routes and chains lead to has it.
func free(cfg *configs.Client, name string) string {
	taken := []string{configs.Direct, configs.Block}
	for _, h := range cfg.Hops {
		taken = append(taken, h.Name)
	}
	for _, g := range cfg.Groups {
		taken = append(taken, g.Name)
	}
	for _, c := range cfg.Chains {
		taken = append(taken, c.Name)
	}
	all := name
	for n := 2; slices.Contains(taken, all); n++ {
		all = fmt.Sprintf("%s-%d", name, n)
	}
	return all
}

// secretName is the name of the file with a hop's token.
func secretName(hop string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_", r) {
			return r
		}
		return '_'
	}, "hop-"+hop) + ".token"
}

// newSecret writes a token to a file that was not there, for its owner alone.
func newSecret(dir, hop, token string) (string, error) {
	path := filepath.Join(dir, secretName(hop))
	err := writeNew(path, token+"\n", 0o600)
	if errors.Is(err, fs.ErrExist) {
		err = fmt.Errorf("%s exists already, and no hop of the configuration is its; remove it, or give the link another name behind #", path)
	}
	return path, err
}

// replaceFile writes a file whole or not at all.
func replaceFile(path, text string, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
