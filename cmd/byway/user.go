package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/egress"
	"github.com/byway-proxy/byway/egress/users"
	"github.com/byway-proxy/byway/internal/control"
)

func userCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "user",
		Short: "Make, show, change and remove the users of an egress",
		Long: "Make, show, change and remove the users of an egress. One that serves is told by its\n" +
			"control socket, and what is changed is in force at once: whoever is disabled or removed\n" +
			"loses all tunnels. If none serves, the file in [store] is changed.\n" +
			"Users in the configuration are shown, and changed there alone.",
	}
	c.AddCommand(userAddCommand(), userListCommand(), userRotateCommand(), userLinkCommand(),
		userChangeCommand("disable", "Make a stranger of a user, until \"enable\""),
		userChangeCommand("enable", "Make a user again of one who was disabled"),
		userChangeCommand("remove", "Forget a user, and what the user has used"))
	return c
}

// egressFlag adds the flag that says which egress is meant.
func egressFlag(c *cobra.Command) (file *string) {
	file = c.Flags().StringP("config", "c", egressConfig, "configuration file of the egress")
	_ = c.MarkFlagFilename("config", "toml")
	return file
}

// tellUsers has the egress of a configuration do what is asked, or does it with the store if none serves.
func tellUsers(ctx context.Context, cfg *configs.Egress, q egress.UserCommand) (egress.UserReply, error) {
	if cfg.Store.File == "" && q.Do != "list" {
		return egress.UserReply{}, cfg.Errorf("", "has no [store] to keep users in; add one")
	}
	if cfg.Control.Serve && cfg.Control.Socket != "" {
		ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("the egress did not answer within a minute"))
		defer cancel()
		r, err := egress.AskUsers(ctx, cfg.Control.Socket, q)
		if !errors.Is(err, control.ErrNobody) {
			return r, err
		}
	}
	set, err := egress.OpenUsers(cfg)
	if errors.Is(err, users.ErrInUse) {
		return egress.UserReply{}, cfg.Errorf("store.file", "%w, and does not answer at control.socket; is it an egress of another configuration, or one without a socket?", users.ErrInUse)
	}
	if err != nil {
		return egress.UserReply{}, err
	}
	r, err := egress.TellUsers(set, q)
	return r, errors.Join(err, set.Close())
}

func userAddCommand() *cobra.Command {
	var expires, rate, day, month string
	var u users.User
	var o linkOptions
	c := &cobra.Command{
		Use:   "add NAME",
		Short: "Make a user, and print the link by which a client joins",
		Long: "Make a user, and print the link by which a client joins. It has the token, which is\n" +
			"kept nowhere and cannot be shown again. Without limits there are none.",
		Example: "  byway user add alice --qr\n  byway user add bob --rate 4MiB --quota-per-month 100GiB --expires 2027-01-31",
		Args:    cobra.ExactArgs(1),
	}
	file := egressFlag(c)
	f := c.Flags()
	f.StringVar(&expires, "expires", "", "when the user becomes a stranger: a date, a time, or for how long from now, such as 720h")
	f.StringSliceVar(&u.Allow, "allow", nil, "where tunnels may lead, and to nothing else: names, addresses, ranges, with ports if you like")
	f.StringSliceVar(&u.Deny, "deny", nil, "where they may not")
	f.StringVar(&rate, "rate", "", "bytes a second, up and down each, such as 4MiB")
	f.StringVar(&day, "quota-per-day", "", "bytes up and down together in a day of UTC, such as 10GiB")
	f.StringVar(&month, "quota-per-month", "", "the same in a month")
	f.IntVar(&u.Tunnels, "tunnels", 0, "tunnels at a time")
	f.IntVar(&u.Flows, "udp-flows", 0, "flows of UDP at a time")
	o.flags(c)
	c.RunE = func(c *cobra.Command, args []string) (err error) {
		u.Name = args[0]
		if u.Expires, err = parseExpiry(expires, time.Now()); err != nil {
			return err
		}
		for _, s := range []struct {
			flag, text string
			to         *int64
		}{{"rate", rate, &u.Rate}, {"quota-per-day", day, &u.Day}, {"quota-per-month", month, &u.Month}} {
			if s.text == "" {
				continue
			}
			n, err := configs.ParseSize(s.text)
			if err != nil {
				return fmt.Errorf("--%s: %w", s.flag, err)
			}
			*s.to = int64(n)
		}
		return tokenCommand(c, *file, egress.UserCommand{Do: "add", User: u}, o)
	}
	return c
}

// parseExpiry reads a time, or for how long from now.
func parseExpiry(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(d).UTC().Truncate(time.Second), nil
	}
	t, err := configs.ParseTime(s)
	if err != nil {
		return t, fmt.Errorf("--expires: %w", err)
	}
	return t, nil
}

func userRotateCommand() *cobra.Command {
	var overlap time.Duration
	var o linkOptions
	c := &cobra.Command{
		Use:   "rotate NAME",
		Short: "Give a user a new token, and print the new link",
		Long: "Give a user a new token, and print the new link. The old token is good for the overlap\n" +
			"still. With --overlap 0 it is not, and the user's tunnels end: do so when it may be in\n" +
			"wrong hands.",
		Args: cobra.ExactArgs(1),
	}
	file := egressFlag(c)
	c.Flags().DurationVar(&overlap, "overlap", 24*time.Hour, "for how long the old token is good")
	o.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return tokenCommand(c, *file, egress.UserCommand{Do: "rotate", User: users.User{Name: args[0]}, Overlap: overlap}, o)
	}
	return c
}

// tokenCommand does what makes a token, and prints the link with it.
func tokenCommand(c *cobra.Command, file string, q egress.UserCommand, o linkOptions) error {
	cfg, err := configs.LoadEgress(file)
	if err != nil {
		return err
	}
	// First, so that no token is made that can't be told.
	l, err := o.link(cfg)
	if err != nil {
		return err
	}
	r, err := tellUsers(c.Context(), cfg, q)
	if err != nil {
		return err
	}
	l.hop.User = url.UserPassword(q.User.Name, r.Token)
	return o.print(c.OutOrStdout(), l)
}

func userLinkCommand() *cobra.Command {
	var o linkOptions
	c := &cobra.Command{
		Use:   "link NAME [--token FILE]",
		Short: "Print a user's link again, for those who have the token",
		Long: "Print the link by which a client joins, for a user whose token the configuration names\n" +
			"or --token has. Tokens that \"byway user\" makes are kept nowhere: \"byway user rotate\"\n" +
			"makes a new link.",
		Args: cobra.ExactArgs(1),
	}
	file := egressFlag(c)
	tokenFile := c.Flags().String("token", "", "file with the token; - for the standard input")
	o.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		cfg, err := configs.LoadEgress(*file)
		if err != nil {
			return err
		}
		token, err := knownToken(c.InOrStdin(), cfg, args[0], *tokenFile)
		if err != nil {
			return err
		}
		l, err := o.link(cfg)
		if err != nil {
			return err
		}
		l.hop.User = url.UserPassword(args[0], token)
		return o.print(c.OutOrStdout(), l)
	}
	return c
}

func userChangeCommand(do, short string) *cobra.Command {
	c := &cobra.Command{Use: do + " NAME", Short: short, Args: cobra.ExactArgs(1)}
	file := egressFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		cfg, err := configs.LoadEgress(*file)
		if err == nil {
			_, err = tellUsers(c.Context(), cfg, egress.UserCommand{Do: do, User: users.User{Name: args[0]}})
		}
		return err
	}
	return c
}

func userListCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "Show users, their limits, what they have used, and their live tunnels",
		Args:  cobra.NoArgs,
	}
	file := egressFlag(c)
	asJSON := c.Flags().Bool("json", false, "as JSON, sizes in bytes")
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := configs.LoadEgress(*file)
		if err != nil {
			return err
		}
		all := []users.Status{}
		q := egress.UserCommand{Do: "list"}
		for more := true; more; {
			r, err := tellUsers(c.Context(), cfg, q)
			if err != nil {
				return err
			}
			all = append(all, r.Users...)
			if more = r.More; more {
				q.After = all[len(all)-1].Name
			}
		}
		if *asJSON {
			e := json.NewEncoder(c.OutOrStdout())
			e.SetIndent("", "  ")
			return e.Encode(all)
		}
		return printUsers(c.OutOrStdout(), all, time.Now())
	}
	return c
}

func printUsers(w io.Writer, all []users.Status, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "USER\tSTATE\tLIVE\tTODAY\tMONTH\tUP\tDOWN\tRATE\tEXPIRES\tDESTINATIONS")
	for _, u := range all {
		state := u.Standing(now)
		if u.Declared {
			state += " (file)"
		}
		expires := "-"
		if !u.Expires.IsZero() {
			expires = u.Expires.Format(time.RFC3339)
		}
		var where []string
		if len(u.Allow) > 0 {
			where = append(where, strings.Join(u.Allow, " "))
		}
		if len(u.Deny) > 0 {
			where = append(where, "not "+strings.Join(u.Deny, " "))
		}
		if where == nil {
			where = []string{"any"}
		}
		rate := "-"
		if u.Rate > 0 {
			rate = sizeText(u.Rate) + "/s"
		}
		live := ofLimit(u.Live, u.Tunnels)
		if u.Flows > 0 {
			live += " + " + ofLimit(u.Flows, u.Limits.Flows) + " UDP"
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", u.Name, state, live,
			sizeOf(u.Usage.Today, u.Day), sizeOf(u.Usage.Month, u.Limits.Month), sizeText(u.Usage.Up), sizeText(u.Usage.Down), rate, expires, strings.Join(where, ", "))
	}
	return t.Flush()
}

func ofLimit(n, limit int) string {
	if limit == 0 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d of %d", n, limit)
}

func sizeOf(n, limit int64) string {
	if limit == 0 {
		return sizeText(n)
	}
	return sizeText(n) + " of " + sizeText(limit)
}

// sizeText writes a number of bytes for people, in the units of configurations.
func sizeText(n int64) string {
	f, unit := float64(n), 0
	for ; f >= 1000 && unit < 4; unit++ {
		f /= 1024
	}
	name := []string{"B", "KiB", "MiB", "GiB", "TiB"}[unit]
	if f == math.Trunc(f) || unit == 0 {
		return fmt.Sprintf("%.0f%s", f, name)
	}
	return fmt.Sprintf("%.1f%s", f, name)
}

// portOf is the port that an egress listens on, "" if the system chooses it.
func portOf(cfg *configs.Egress) string {
	_, port, err := net.SplitHostPort(cfg.Listeners[0].Address)
	if err != nil || port == "0" {
		return ""
	}
	return port
}
