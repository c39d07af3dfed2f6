package configs

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// orElse returns `did you mean "x"?` for the x of known that is likely meant by
// got, and otherwise the advice in other.
func orElse(got string, known []string, other string) string {
	if best := nearest(got, known); best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return other
}

// nearest returns the entry of known that got may be a misspelling of, or "".
func nearest(got string, known []string) string {
	const longest = 64 // no key or name is so long by mistake
	best, least := "", 2+len(got)/4
	if len(got) > longest {
		return ""
	}
	for _, k := range known {
		if k == "" || k == got || len(k) > longest {
			continue
		}
		d := distance(strings.ToLower(got), strings.ToLower(k))
		unfinished := d == least && strings.HasPrefix(k, got) && !strings.HasPrefix(best, got)
		if d < len(k) && (d < least || unfinished && best != "") {
			best, least = k, d
		}
	}
	return best
}

// distance counts the characters to insert, drop, change or swap with their
// neighbour to get from a to b (optimal string alignment).
func distance(a, b string) int {
	s, t := []rune(a), []rune(b)
	var before, prev []int
	row := make([]int, len(t)+1)
	for j := range row {
		row[j] = j
	}
	for i := range s {
		before, prev, row = prev, row, make([]int, len(t)+1)
		row[0] = i + 1
		for j := range t {
			change := 1
			if s[i] == t[j] {
				change = 0
			}
			row[j+1] = min(prev[j+1]+1, row[j]+1, prev[j]+change)
			if i > 0 && j > 0 && s[i] == t[j-1] && s[i-1] == t[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(t)]
}

// listed returns the sorted words as `a, b and c`.
func listed(words []string) string {
	w := slices.Sorted(slices.Values(words))
	if len(w) < 2 {
		return strings.Join(w, "")
	}
	return strings.Join(w[:len(w)-1], ", ") + " and " + w[len(w)-1]
}

var indices = regexp.MustCompile(`\[\d+\]`)

// header returns the header of the table at path, such as [[listen.user]].
func header(path string) string {
	name := indices.ReplaceAllString(path, "")
	if strings.HasSuffix(path, "]") {
		return "[[" + name + "]]"
	}
	return "[" + name + "]"
}

// example tells how to write a required key of type t.
func example(t reflect.Type, path string) string {
	key := path[strings.LastIndexByte(path, '.')+1:]
	switch {
	case t == reflect.TypeFor[Secret]():
		return "add " + key + " = " + secretForms
	case t.Kind() == reflect.Slice && isTable(t.Elem()):
		return "add a " + header(at(path, 0)) + " table"
	case t.Kind() == reflect.Slice:
		return "write " + key + ` = ["..."]`
	default:
		return "add " + key + ` = "..."`
	}
}

// kind returns what TOML calls a value.
func kind(in any) string {
	switch in.(type) {
	case string:
		return "a string"
	case int64:
		return "an integer"
	case float64:
		return "a float"
	case bool:
		return "a boolean"
	case []any:
		return "a list"
	case []map[string]any:
		return "a list of tables"
	case map[string]any:
		return "a table"
	default:
		return "a date or time"
	}
}
