package probe

import (
	"errors"
	"fmt"
	"strings"
)

// A Probe is one connection: what is done on it, in order.
type Probe struct {
	Name  string
	Steps []Step

	vars map[string]string // from lists
}

// A Step is a verb and what stands behind it.
type Step struct {
	Verb, Rest string
	Line       int // in the table
}

// Steps are the verbs, with what each does.
var Steps = map[string]string{
	"tls":     "does TLS's handshake: alpn=A,B sni=NAME max=1.2 min=1.3 curves=X25519,P256; sni=- sends none",
	"send":    "sends a text",
	"drip":    "sends a text, a byte in each 3 ms",
	"noise":   "sends as many bytes of noise, which is the same each time",
	"pause":   "waits until nothing has come for a while",
	"wait":    "waits so many seconds for the server to close",
	"fin":     "ends our direction, in TLS too if there is TLS",
	"rst":     "resets the connection",
	"h2":      "sends the preface of HTTP/2 and SETTINGS: ID=VALUE …",
	"headers": "sends HEADERS: STREAM [end] [more] NAME VALUE; NAME VALUE …",
	"data":    "sends DATA: STREAM [end] TEXT",
	"h3":      "begins the control stream of HTTP/3: SETTINGS as ID=VALUE …",
	"uni":     "begins another stream of QUIC in one direction, with bytes: HEX",
	"raw":     "sends bytes on a stream of QUIC: STREAM HEX",
	"stop":    "ends a stream of QUIC: STREAM, or STREAM CODE to reset it",
	"frame":   "sends a frame: TYPE FLAGS STREAM HEX, each of the first three in decimal",
}

// Expanded returns the steps with what their braces and escapes stand for. It is for those
// who do them by themselves: [Run] knows nothing of QUIC.
func (p Probe) Expanded(vars map[string]string) ([]Step, error) {
	var all []Step
	for _, s := range p.Steps {
		rest, err := expand(s.Rest, p.vars, vars)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", s.Line, err)
		}
		all = append(all, Step{s.Verb, rest, s.Line})
	}
	return all, nil
}

type item struct{ key, text string }

// Parse reads a table.
func Parse(text string) ([]Probe, error) {
	var (
		all   []Probe
		lists = make(map[string][]item)
		list  string   // that the lines belong to
		open  []*Probe // that the lines belong to
		errs  []error
	)
	names := make(map[string]bool)
	for i, line := range strings.Split(text, "\n") {
		fail := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("line %d: %s", i+1, fmt.Sprintf(format, args...)))
		}
		trimmed := strings.TrimSpace(line)
		if trimmed == "" || trimmed[0] == '#' {
			continue
		}
		word, rest, _ := strings.Cut(trimmed, " ")
		rest = strings.TrimLeft(rest, " ")
		switch indented := line[0] == ' '; {
		case indented && list != "":
			lists[list] = append(lists[list], item{word, rest})
		case indented && open != nil:
			if _, ok := Steps[word]; !ok {
				fail("no step is called %q", word)
			}
			for _, p := range open {
				p.Steps = append(p.Steps, Step{word, rest, i + 1})
			}
		case word == "list" && rest != "":
			all = appendAll(all, open)
			list, open = rest, nil
		case word == "probe" && rest != "":
			all = appendAll(all, open)
			list = ""
			var err error
			if open, err = expandProbe(rest, lists); err != nil {
				fail("%v", err)
			}
			for _, p := range open {
				if names[p.Name] {
					fail("there are two probes %s", p.Name)
				}
				names[p.Name] = true
			}
		default:
			fail("neither a list, a probe, nor part of one: %q", trimmed)
		}
	}
	return appendAll(all, open), errors.Join(errs...)
}

func appendAll(all []Probe, open []*Probe) []Probe {
	for _, p := range open {
		all = append(all, *p)
	}
	return all
}

// expandProbe makes the probes of a heading: one, or one for each item of its lists.
func expandProbe(heading string, lists map[string][]item) ([]*Probe, error) {
	words := strings.Fields(heading)
	all := []*Probe{{Name: words[0], vars: map[string]string{}}}
	for words = words[1:]; len(words) > 0; words = words[2:] {
		if len(words) < 2 || words[0] != "each" {
			return nil, fmt.Errorf("a probe's heading is NAME each LIST …, not %q", heading)
		}
		items := lists[words[1]]
		if len(items) == 0 {
			return nil, fmt.Errorf("no list is called %q", words[1])
		}
		var more []*Probe
		for _, p := range all {
			for _, it := range items {
				vars := map[string]string{words[1]: it.text}
				for k, v := range p.vars {
					vars[k] = v
				}
				more = append(more, &Probe{Name: p.Name + "/" + it.key, vars: vars})
			}
		}
		all = more
	}
	return all, nil
}
