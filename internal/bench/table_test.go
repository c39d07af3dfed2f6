package bench

import (
	"math"
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	tab := &Table{Title: "Work", Columns: []Column{{"tunnels/s", false}, {"cpu µs", true}, {"KiB", true}}}
	tab.Row("direct", Reference)
	tab.Row("byway", Ours)
	tab.Row("slow", Peer)
	tab.Row("quick", Peer)
	for i, v := range []float64{1000, 3000, 2000} {
		tab.Put("direct", "tunnels/s", 9*v)
		tab.Put("byway", "tunnels/s", v)
		tab.Put("slow", "tunnels/s", v/4)
		tab.Put("quick", "tunnels/s", v/2)
		tab.Put("byway", "cpu µs", float64(100+i))
		tab.Put("slow", "cpu µs", 51)
	}
	tab.Put("quick", "cpu µs", 202)
	tab.Note("%d tunnels failed", 7)
	tab.Note("%d tunnels failed", 7)
	want := `### Work

| | tunnels/s (more) | cpu µs (less) | KiB (less) |
|---|---|---|---|
| direct | 18,000 (9,000–27,000) | – | – |
| byway | 2,000 (1,000–3,000) | 101 (100–102) | – |
| slow | 500 (250–750) | 51.0 (51.0–51.0) | – |
| quick | 1,000 (500–1,500) | 202 | – |
| **byway : best peer** | 2.00 (quick) | 1.98 (slow) | – |

7 tunnels failed
`
	if got := tab.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestRatio has a machine slow down amid a run: rounds are compared, not the run.
func TestRatio(t *testing.T) {
	if got := ratio([]float64{10, 1, 100}, []float64{5, 0.5, 50}); got != 2 {
		t.Errorf("%v", got)
	}
	if got := ratio([]float64{10}, []float64{4, 5, 6}); got != 2 {
		t.Errorf("one round against three: %v", got)
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		of   []float64
		want float64
	}{{[]float64{3}, 3}, {[]float64{9, 1}, 5}, {[]float64{9, 1, 2}, 2}} {
		if got := median(c.of); got != c.want {
			t.Errorf("of %v: %v", c.of, got)
		}
	}
	if got := median(nil); !math.IsNaN(got) {
		t.Errorf("of none: %v", got)
	}
}

func TestNumber(t *testing.T) {
	var got []string
	for _, v := range []float64{0, 0.123, 1.2345, 12.345, 123.45, 999.4, 999.6, 1234, 12345, 123456} {
		got = append(got, number(v))
	}
	if s := strings.Join(got, " "); s != "0.00 0.12 1.23 12.3 123 999 1,000 1,230 12,300 123,000" {
		t.Error(s)
	}
}
