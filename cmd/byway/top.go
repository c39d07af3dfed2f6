package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/byway-proxy/byway/internal/status"
)

func topCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "top [-c FILE | --control SOCKET]",
		Short: "Watch a running byway",
		Long: "Watch a running byway: tunnels, traffic, the chains with the health of their hops, and what\n" +
			"failed lately. Never a target. Keys: q ends, p pauses the hop that is chosen (arrows choose)\n" +
			"or lets it go on, n makes a new identity. Where the output is no terminal, what is seen now is\n" +
			"printed once.",
		Args: cobra.NoArgs,
	}
	ask := controlFlags(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		look := func(ctx context.Context) (s status.Snapshot, err error) {
			said, err := ask(ctx, "snapshot")
			if err == nil {
				err = json.Unmarshal([]byte(said), &s)
			}
			return s, err
		}
		first, err := look(c.Context())
		if err != nil {
			return err
		}
		m := &top{ctx: c.Context(), look: look, ask: ask, now: first, width: 100, height: 1 << 10}
		if !term.IsTerminal(int(os.Stdout.Fd())) { //nolint:gosec // a descriptor
			_, err := fmt.Fprint(c.OutOrStdout(), m.draw(false))
			return err
		}
		_, err = tea.NewProgram(m, tea.WithContext(c.Context())).Run()
		if c.Context().Err() != nil {
			return context.Cause(c.Context()) // it was asked to end
		}
		return err
	}
	return c
}

// top is the state of what is seen.
type top struct {
	ctx  context.Context
	look func(context.Context) (status.Snapshot, error)
	ask  func(ctx context.Context, command string, args ...string) (string, error)

	now           status.Snapshot
	down          []int64 // by second, the newest last
	err           error
	note          string
	chosen        int // of the hops, as they are drawn
	width, height int
}

type (
	seen struct {
		status.Snapshot
		err error
	}
	done struct {
		said string
		err  error
	}
)

// Init is of tea.Model.
func (m *top) Init() tea.Cmd { return m.next() }

// next looks again in a second.
func (m *top) next() tea.Cmd {
	return tea.Tick(time.Second, func(time.Time) tea.Msg {
		s, err := m.look(m.ctx)
		return seen{s, err}
	})
}

// do has the running byway do something.
func (m *top) do(command string, args ...string) tea.Cmd {
	return func() tea.Msg {
		said, err := m.ask(m.ctx, command, args...)
		return done{said, err}
	}
}

// Update is of tea.Model.
func (m *top) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case seen:
		if m.err = msg.err; msg.err == nil {
			m.now = msg.Snapshot
			if n := len(m.now.History); n > 0 {
				m.down = append(m.down[max(0, len(m.down)-200):], m.now.History[n-1].Down)
			}
		}
		return m, m.next()
	case done:
		m.note = msg.said
		if msg.err != nil {
			m.note = msg.err.Error()
		}
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		return m, m.key(msg.String())
	}
	return m, nil
}

func (m *top) key(k string) tea.Cmd {
	hops := m.hops()
	switch k {
	case "q", "esc", "ctrl+c":
		return tea.Quit
	case "up", "k":
		m.chosen = max(0, m.chosen-1)
	case "down", "j":
		m.chosen = min(len(hops)-1, m.chosen+1)
	case "n":
		return m.do("newid")
	case "p":
		if m.chosen < len(hops) {
			h := hops[m.chosen]
			command := "pause"
			if h.Paused {
				command = "resume"
			}
			return m.do(command, h.Name)
		}
	}
	return nil
}

// hops returns all that can be chosen.
func (m *top) hops() (all []*status.Hop) {
	var add func(hops []status.Hop)
	add = func(hops []status.Hop) {
		for i := range hops {
			if hops[i].Within == nil {
				all = append(all, &hops[i])
			}
			add(hops[i].Within)
		}
	}
	for _, w := range m.now.Ways {
		add(w.Hops)
	}
	return all
}

// View is of tea.Model.
func (m *top) View() tea.View {
	lines := strings.Split(m.draw(true), "\n")
	for i, l := range lines[:min(len(lines), m.height)] {
		lines[i] = clip(l, m.width)
	}
	v := tea.NewView(strings.Join(lines[:min(len(lines), m.height)], "\n"))
	v.AltScreen = true
	return v
}

// clip cuts a line to a width, and leaves out none of its escapes.
func clip(line string, width int) string {
	var b strings.Builder
	n, escape := 0, false
	for _, r := range line {
		switch {
		case r == '\x1b':
			escape = true
		case escape:
			escape = r != 'm'
		default:
			if n++; n > width {
				continue
			}
		}
		b.WriteRune(r)
	}
	return b.String()
}

// paint is text in the colours of the terminal.
type paint bool

func (p paint) in(code, s string) string {
	if !p || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (p paint) bold(s string) string  { return p.in("1", s) }
func (p paint) faint(s string) string { return p.in("2", s) }
func (p paint) bad(s string) string   { return p.in("31", s) }
func (p paint) good(s string) string  { return p.in("32", s) }
func (p paint) warn(s string) string  { return p.in("33", s) }

// draw draws what is known.
func (m *top) draw(colours bool) string {
	p, b, s := paint(colours && os.Getenv("NO_COLOR") == ""), &strings.Builder{}, &m.now
	fmt.Fprintf(b, "%s  up for %v\n\n", p.bold("byway"), (time.Duration(s.Uptime) * time.Second).String())
	if m.err != nil {
		fmt.Fprintf(b, "%s\n\n", p.bad(m.err.Error()))
	}
	fmt.Fprintf(b, "tunnels  %s open  %d opened  %s\n", p.bold(fmt.Sprint(s.Total.Open)), s.Total.Opened, p.bad(failed(s.Total.Failed)))
	last := status.Sample{}
	if n := len(s.History); n > 0 {
		last = s.History[n-1]
	}
	fmt.Fprintf(b, "traffic  %s/s down  %s/s up  %s\n", size(last.Down), size(last.Up), p.faint(fmt.Sprintf("%s and %s in all", size(s.Total.Down), size(s.Total.Up))))
	if bars := spark(m.down, m.width-9); bars != "" {
		fmt.Fprintf(b, "         %s\n", p.good(bars))
	}
	n := 0
	for i := range s.Ways {
		m.way(b, p, &s.Ways[i], &n)
	}
	if len(s.Failures) > 0 {
		fmt.Fprintf(b, "\n%s\n", p.bold("failed lately"))
	}
	for _, f := range s.Failures[:min(len(s.Failures), 10)] {
		fmt.Fprintf(b, "  %s  %s  %s\n", p.faint(f.At.Local().Format(time.TimeOnly)), f.Via, strings.Trim(f.Hop+" "+f.Phase, " ")+": "+f.Text)
	}
	if colours {
		fmt.Fprintf(b, "\n%s\n", p.faint("q quit · ↑↓ choose a hop · p pause it · n new identity"))
	}
	if m.note != "" {
		fmt.Fprintf(b, "%s\n", m.note)
	}
	return b.String()
}

func (m *top) way(b *strings.Builder, p paint, w *status.Way, n *int) {
	fmt.Fprintf(b, "\n%s  %d open  %d opened  %s  %s\n", p.bold(w.Name), w.Total.Open, w.Total.Opened, p.bad(failed(w.Total.Failed)),
		p.faint(fmt.Sprintf("%d ready  %d sessions", w.Spares, w.Sessions)))
	m.hopLines(b, p, w.Hops, "  ", n)
}

func (m *top) hopLines(b *strings.Builder, p paint, hops []status.Hop, indent string, n *int) {
	for i := range hops {
		h := &hops[i]
		if h.Within != nil {
			fmt.Fprintf(b, "%s%s %s\n", indent, h.Name, p.faint(strings.TrimSpace(h.Kind+" "+h.How)))
			m.hopLines(b, p, h.Within, indent+"  ", n)
			continue
		}
		mark, state := p.good("●"), ""
		switch {
		case h.Paused:
			mark, state = p.warn("‖"), p.warn("paused")
		case !h.Alive:
			mark, state = p.bad("✕"), p.bad(h.Error)
		case h.Latency > 0:
			state = fmt.Sprintf("%.3g ms", h.Latency)
		}
		if h.Judged {
			state = strings.TrimSpace(state + p.faint(fmt.Sprintf("  %d open", h.Live)))
		}
		name := h.Name + strings.Repeat(" ", max(0, 16-utf8.RuneCountInString(h.Name)))
		if *n == m.chosen && bool(p) {
			name = p.in("7", name)
		}
		*n++
		fmt.Fprintln(b, strings.TrimRight(fmt.Sprintf("%s%s %s %s  %s", indent, mark, name, p.faint(h.Kind), state), " "))
	}
}

func failed(n int64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d failed", n)
}

// size is n bytes for people.
func size(n int64) string {
	v, unit := float64(n), "B"
	for _, u := range []string{"kB", "MB", "GB", "TB"} {
		if v < 1000 {
			break
		}
		v, unit = v/1000, u
	}
	if unit == "B" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.3g %s", v, unit)
}

// spark draws the last values, as many as fit.
func spark(values []int64, fit int) string {
	values = values[max(0, len(values)-max(fit, 0)):]
	most := int64(1)
	for _, v := range values {
		most = max(most, v)
	}
	bars := []rune(" ▁▂▃▄▅▆▇█")
	var b strings.Builder
	for _, v := range values {
		b.WriteRune(bars[(v*int64(len(bars)-1)+most-1)/most])
	}
	return strings.TrimRight(b.String(), " ")
}
