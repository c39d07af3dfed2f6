package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/internal/doctor"
	"github.com/byway-proxy/byway/local"
	"github.com/byway-proxy/byway/route"
)

func doctorCommand() *cobra.Command {
	var file, only, target string
	var throughput time.Duration
	var asJSON bool
	c := &cobra.Command{
		Use:   "doctor [-c FILE] [--chain NAME]",
		Short: "Examine a chain hop by hop, and tell what is wrong with it",
		Long: "Examine the chains of a configuration hop by hop: whether each is reached, its TLS, the\n" +
			"credentials, what it adds to the time in which a tunnel opens; then UDP, where names go,\n" +
			"and the exit as an egress of byway tells it itself. Of a group each member is examined.\n" +
			"The last line names the hop at fault, the cause and the remedy; the exit status is 1\n" +
			"unless all chains are well. Nothing is connected to behind the last hop unless it is\n" +
			"named by --target or by a group's probe.",
		Example: "  byway doctor\n" +
			"  byway doctor --chain paris --target www.example.org:443 --throughput",
		Args: cobra.NoArgs,
	}
	c.Flags().StringVarP(&file, "config", "c", "byway.toml", "configuration file")
	c.Flags().StringVar(&only, "chain", "", "the chain or group to examine (default all that something leads to)")
	c.Flags().StringVar(&target, "target", "", "host:port to connect to at the end")
	c.Flags().DurationVar(&throughput, "throughput", 0, "move data with an egress of byway for as long each way (5s if no time is given)")
	c.Flags().Lookup("throughput").NoOptDefVal = "5s"
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	_ = c.MarkFlagFilename("config", "toml")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if _, _, err := net.SplitHostPort(target); target != "" && err != nil {
			return fmt.Errorf("--target: %q is not host:port", target)
		}
		cfg, err := configs.LoadClient(file)
		if err != nil {
			return err
		}
		s, err := local.New(cfg, &net.Dialer{}, slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		defer s.Close() //nolint:errcheck // nothing was opened
		courses, err := coursesOf(s, only)
		if err != nil {
			return err
		}
		o := doctor.Options{Target: target, Throughput: throughput, Resolver: net.DefaultResolver}
		if o.Country, err = countryOf(cfg); err != nil {
			return err
		}
		return examine(c.Context(), c.OutOrStdout(), c.ErrOrStderr(), courses, o, asJSON)
	}
	return c
}

// coursesOf returns what is to be examined.
func coursesOf(s *local.Server, only string) (all []local.Course, err error) {
	names := s.Targets()
	if only != "" {
		names = []string{only}
	}
	if len(names) == 0 {
		return nil, errors.New("there is no chain to examine")
	}
	for _, name := range names {
		some, err := s.Courses(name)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// countryOf returns what tells the country of an address, or nil if the file names no database.
func countryOf(cfg *configs.Client) (func(netip.Addr) string, error) {
	if cfg.Geo.Database == "" {
		return nil, nil
	}
	data, err := os.ReadFile(cfg.Geo.Database)
	if err != nil {
		return nil, cfg.Errorf("geo.database", "%w", err)
	}
	db, err := route.NewCountryDB(data)
	if err != nil {
		return nil, cfg.Errorf("geo.database", "%w", err)
	}
	return db.Country, nil
}

var errUnwell = errors.New("not all chains are well")

// examine examines all, and prints what it finds as it comes.
func examine(ctx context.Context, out, progress io.Writer, all []local.Course, o doctor.Options, asJSON bool) error {
	wipe := func() {}
	if f, ok := progress.(*os.File); ok && term.IsTerminal(int(f.Fd())) { //nolint:gosec // a descriptor
		wipe = func() { _, _ = io.WriteString(progress, "\r\x1b[K") }
		o.Progress = func(what string) { _, _ = fmt.Fprintf(progress, "\r\x1b[K%s …", what) }
	}
	reports, unwell := []*doctor.Report{}, false
	for _, course := range all {
		c := doctor.Course{Name: course.Name, Base: course.Base}
		mine := o
		for _, h := range course.Hops {
			c.Hops = append(c.Hops, doctor.Hop{
				Hop: h.Hop, Scheme: h.Scheme, Addr: h.Addr, TLS: h.TLS, Unix: strings.HasSuffix(h.Scheme, "+unix"),
			})
			if mine.Target == "" {
				mine.Target = probed(h.Probe)
			}
		}
		r := doctor.Examine(ctx, c, mine)
		wipe()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		reports, unwell = append(reports, r), unwell || !r.OK
		if !asJSON {
			if _, err := io.WriteString(out, table(r)); err != nil {
				return err
			}
		}
	}
	if asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		if err := e.Encode(reports); err != nil {
			return err
		}
	}
	if unwell {
		return errUnwell
	}
	return nil
}

// probed returns host:port of a probe's target.
func probed(target string) string {
	scheme, rest, ok := strings.Cut(target, "://")
	if !ok {
		return target
	}
	host, _, _ := strings.Cut(rest, "/")
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), map[string]string{"http": "80", "https": "443"}[scheme])
}

// width is that of the bars, in characters.
const width = 24

// table is a report for people: a line for each step, with a bar that begins where the one
// before ended.
func table(r *doctor.Report) string {
	var b strings.Builder
	whole := time.Duration(1)
	for _, h := range r.Hops {
		for _, s := range h.Steps {
			whole += s.Took
		}
	}
	fmt.Fprintf(&b, "%s\n", r.Course)
	began := time.Duration(0)
	step := func(s doctor.Step, bars bool) {
		bar := ""
		if bars {
			from := int(width * began / whole)
			n := int(width*(began+s.Took)/whole) - from
			if s.Took > 0 {
				n = max(n, 1)
			}
			bar = strings.Repeat(" ", from) + strings.Repeat("▇", n)
			bar += strings.Repeat(" ", max(0, width+1-utf8.RuneCountInString(bar))) + " "
			began += s.Took
		}
		line := fmt.Sprintf("    %-8s %9s  %s%s", s.Name, tookOf(s), bar, said(s))
		fmt.Fprintln(&b, strings.TrimRight(line, " "))
	}
	for i, h := range r.Hops {
		fmt.Fprintf(&b, "  hop %d/%d %s, %s at %s", i+1, len(r.Hops), h.Name, h.Kind, h.Addr)
		if h.Adds > 0 {
			fmt.Fprintf(&b, ", adds %v", short(h.Adds))
		}
		b.WriteByte('\n')
		for _, s := range h.Steps {
			step(s, true)
		}
	}
	if len(r.Whole) > 0 {
		b.WriteString("  all hops together\n")
	}
	for _, s := range r.Whole {
		step(s, false)
	}
	fmt.Fprintf(&b, "  %s\n", r.Verdict)
	if r.Remedy != "" {
		fmt.Fprintf(&b, "  %s\n", r.Remedy)
	}
	return b.String()
}

func tookOf(s doctor.Step) string {
	if s.Took <= 0 {
		return ""
	}
	return short(s.Took).String()
}

func said(s doctor.Step) string {
	if s.Error != "" {
		return "FAILED: " + s.Error
	}
	return cmp.Or(s.Left, s.Detail)
}

// short rounds d to three digits or so.
func short(d time.Duration) time.Duration {
	switch {
	case d < time.Millisecond:
		return d.Round(10 * time.Microsecond)
	case d < 100*time.Millisecond:
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}
