package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/byway-proxy/byway/internal/status"
)

func watched1() *top {
	return &top{ctx: context.Background(), width: 100, height: 40, now: status.Snapshot{
		Uptime: 3661, Total: status.Sample{Open: 2, Opened: 7, Failed: 1, Up: 999, Down: 1_234_567},
		History: []status.Sample{{Down: 5000, Up: 12}},
		Ways: []status.Way{{
			Name: "out", Total: status.Sample{Open: 2, Opened: 7, Failed: 1}, Spares: 1,
			Hops: []status.Hop{
				{Name: "office", Kind: "socks5", Alive: true},
				{Name: "exits", Kind: "group", How: "first", Alive: true, Within: []status.Hop{
					{Name: "paris", Kind: "https", Judged: true, Error: "timed out"},
					{Name: "rome", Kind: "https", Judged: true, Alive: true, Latency: 25.04, Live: 2, Paused: true},
				}},
			},
		}},
		Failures: []status.Failure{{At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local), Via: "out", Hop: "2/2 exits/paris", Phase: "dial", Text: "timed out"}},
	}}
}

func TestTopDraws(t *testing.T) {
	const want = `byway  up for 1h1m1s

tunnels  2 open  7 opened  1 failed
traffic  5 kB/s down  12 B/s up  1.23 MB and 999 B in all

out  2 open  7 opened  1 failed  1 ready  0 sessions
  ● office           socks5
  exits group first
    ✕ paris            https  timed out  0 open
    ‖ rome             https  paused  2 open

failed lately
  03:04:05  out  2/2 exits/paris dial: timed out
`
	if got := watched1().draw(false); got != want {
		t.Errorf("drawn:\n%s\nwant:\n%s", got, want)
	}
}

// TestTopKeys presses keys.
func TestTopKeys(t *testing.T) {
	m := watched1()
	var asked []string
	m.ask = func(_ context.Context, command string, args ...string) (string, error) {
		asked = append(asked, command+" "+strings.Join(args, " "))
		if command == "newid" {
			return "", errors.New("no luck")
		}
		return "done", nil
	}
	press := func(key rune, name string) tea.Msg {
		t.Helper()
		k := tea.KeyPressMsg{Code: key}
		if name == "" {
			k.Text = string(key)
		}
		_, cmd := m.Update(k)
		if cmd == nil {
			return nil
		}
		msg := cmd()
		_, _ = m.Update(msg)
		return msg
	}
	press(tea.KeyUp, "up")
	press('p', "")
	press(tea.KeyDown, "down")
	press('p', "")
	press('j', "")
	press('j', "") // there are no more
	press('p', "")
	if m.note != "done" {
		t.Errorf("note %q", m.note)
	}
	press('n', "")
	if m.note != "no luck" {
		t.Errorf("note %q", m.note)
	}
	if got := strings.Join(asked, ", "); got != "pause office, pause paris, resume rome, newid " {
		t.Errorf("asked %s", got)
	}
	if _, ok := press('q', "").(tea.QuitMsg); !ok {
		t.Error("q does not end it")
	}
}

// TestTopFits: no line is wider and no screen higher than the terminal, and what can't be asked is
// said.
func TestTopFits(t *testing.T) {
	m := watched1()
	_, _ = m.Update(tea.WindowSizeMsg{Width: 20, Height: 5})
	_, cmd := m.Update(seen{err: errors.New("no byway serves x")})
	if cmd == nil {
		t.Error("it does not look again")
	}
	lines := strings.Split(m.View().Content, "\n")
	if len(lines) != 5 || !strings.Contains(lines[2], "no byway serves x") {
		t.Errorf("%d lines: %q", len(lines), lines)
	}
	if got := clip("\x1b[1mab\x1b[0mcd", 3); got != "\x1b[1mab\x1b[0mc" {
		t.Errorf("clipped to %q", got)
	}
}

func TestSpark(t *testing.T) {
	for _, test := range []struct {
		values []int64
		fit    int
		want   string
	}{
		{nil, 10, ""},
		{[]int64{0, 0}, 10, ""},
		{[]int64{0, 1, 50, 100}, 10, " ▁▄█"},
		{[]int64{100, 1, 2}, 2, "▄█"},
		{[]int64{1}, -3, ""},
	} {
		if got := spark(test.values, test.fit); got != test.want {
			t.Errorf("%v: %q, want %q", test.values, got, test.want)
		}
	}
}
