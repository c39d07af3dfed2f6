package bench

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Kind is what a row of a table stands for.
type Kind int

// The kinds of rows.
const (
	Peer      Kind = iota // another proxy
	Ours                  // byway
	Reference             // no proxy
)

// Column is one measure.
type Column struct {
	Name string
	Less bool // less is better
}

// A Table collects samples, and shows their medians.
type Table struct {
	Title   string
	Columns []Column
	rows    []*row
	notes   []string
}

type row struct {
	name    string
	kind    Kind
	samples [][]float64 // by column, in the order of the rounds
}

// Row adds a row without samples.
func (t *Table) Row(name string, kind Kind) {
	t.rows = append(t.rows, &row{name, kind, make([][]float64, len(t.Columns))})
}

// Put adds one round's sample to a row and column that exist; else it panics.
func (t *Table) Put(name, column string, v float64) {
	r := t.rows[slices.IndexFunc(t.rows, func(r *row) bool { return r.name == name })]
	c := slices.IndexFunc(t.Columns, func(c Column) bool { return c.Name == column })
	r.samples[c] = append(r.samples[c], v)
}

// Note adds a line below the table, once.
func (t *Table) Note(format string, args ...any) {
	if s := fmt.Sprintf(format, args...); !slices.Contains(t.notes, s) {
		t.notes = append(t.notes, s)
	}
}

// String returns the table as Markdown. Cells are medians, with the least and the most
// in brackets; a dash is what was not measured. Below stand, for each row of ours,
// ratios to the peer with the best median: medians of each round's ratio, as what
// else the machine did in a round met both.
func (t *Table) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "### %s\n\n|", t.Title)
	for _, c := range t.Columns {
		better := "more"
		if c.Less {
			better = "less"
		}
		fmt.Fprintf(&b, " | %s (%s)", c.Name, better)
	}
	fmt.Fprintf(&b, " |\n|%s\n", strings.Repeat("---|", len(t.Columns)+1))
	for _, r := range t.rows {
		fmt.Fprintf(&b, "| %s", r.name)
		for c := range t.Columns {
			fmt.Fprintf(&b, " | %s", cell(r.samples[c]))
		}
		b.WriteString(" |\n")
	}
	for _, r := range t.rows {
		if r.kind == Ours {
			fmt.Fprintf(&b, "| **%s : best peer**", r.name)
			for c := range t.Columns {
				fmt.Fprintf(&b, " | %s", t.ratio(r, c))
			}
			b.WriteString(" |\n")
		}
	}
	for _, n := range t.notes {
		fmt.Fprintf(&b, "\n%s\n", n)
	}
	return b.String()
}

func (t *Table) ratio(r *row, c int) string {
	var best *row
	for _, p := range t.rows {
		if p.kind != Peer || len(p.samples[c]) == 0 {
			continue
		}
		if best == nil || t.Columns[c].Less == (median(p.samples[c]) < median(best.samples[c])) {
			best = p
		}
	}
	if best == nil || len(r.samples[c]) == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f (%s)", ratio(r.samples[c], best.samples[c]), best.name)
}

// ratio returns the median of the ratios round by round, or the ratio of the
// medians where a round lacks one of them.
func ratio(a, b []float64) float64 {
	if len(a) != len(b) {
		return median(a) / median(b)
	}
	each := make([]float64, len(a))
	for i := range a {
		each[i] = a[i] / b[i]
	}
	return median(each)
}

func median(s []float64) float64 {
	if len(s) == 0 {
		return math.NaN()
	}
	s = slices.Sorted(slices.Values(s))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

func cell(s []float64) string {
	switch len(s) {
	case 0:
		return "–"
	case 1:
		return number(s[0])
	}
	return fmt.Sprintf("%s (%s–%s)", number(median(s)), number(slices.Min(s)), number(slices.Max(s)))
}

// number writes three digits that count, and thousands, below a million, with a comma.
func number(v float64) string {
	if v < 999.5 {
		return strconv.FormatFloat(v, 'f', max(0, 2-len(strconv.Itoa(int(math.Abs(v))))+1), 64)
	}
	unit := math.Pow(10, math.Floor(math.Log10(v))-2)
	n := int(math.Round(v/unit) * unit)
	return fmt.Sprintf("%d,%03d", n/1000, n%1000)
}
