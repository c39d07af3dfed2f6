package configs

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// texts are valid TOML in all its forms, and seeds for the fuzz targets.
var texts = []string{
	"",
	"# only a comment",
	"a = 1\nb.c = 2\n\"b\".'d e'.\"f\\tg\\u00e9\\x41\\\"\" = 3\n",
	"[a]\nx = 1\n[a.b.c]\ny = 2\n[a.b]\nz = 3\n[ \"q.r\" . s ]\nt = 4\n",
	"[[a]]\nx = 1\n[[a]]\nx = 2\n[a.b]\ny = 1\n[[a.c]]\nz = 1\n[[a.c]]\nz = 2\n[[a.c.d]]\n[[a]]\n",
	"a = [1, 2.5, -3, 0xff, inf, nan, true, [], [[1], [2, 3]], {}, { b = 1, c.d = [ { e = 1 } ] }]\n",
	"a = [ # one\n  1, # ]\n  \"#\", '}',\n]\nb = { c = '''{''', d = \"\"\"}\"\"\", }\n",
	"a = { # TOML 1.1\n b = 1, # x\n c = [\n ],\n}\n",
	"a = \"\"\"x\n[b]\nc = 1\\\"\"\"\\\"\"\"\"\"\nd = '''\n[[e]]'''''\nf = \"\"\"\"\"\"\ng = ''''''\n",
	"a = \"\"\"\\\\\"\"\"\nb = \"\"\"\\\n   x\"\"\"\nc = ''\nd = \"\"\ne = \"\\\"\"\n",
	"a = 1979-05-27 07:32:00\nb = 1979-05-27T07:32:00Z # x\nc = [07:32, 1979-05-27]\n",
	"\"\" = 1\n'[' = 2\n\"a]b\" = [1]\n1.2 = 3\n-_ = 4\n",
	"\ufeffa = 1\r\n[b]\r\nc = \"\"\"\r\nx\"\"\"\r\nd = 2 # x\r\n",
	"\xff\xfea = 1",
	"a = 1\n\t [b] \n\tc\t=\t2\t\n",
	"é = 1",
	"a.b.c = 1\na.b.d = 2\na.e = {f = 1}\n[g]\nh.i = 1\nh.j = 2\n",
}

// lacking returns the paths of tree's keys and elements that the index lacks,
// or whose places in the text cannot be right.
func lacking(s *source, path string, value any) (bad []string) {
	n, ok := s.find(path)
	if !ok {
		return []string{path + " is not there"}
	}
	if !fits(s.text, n, value) {
		bad = append(bad, path+" has its value elsewhere")
	}
	switch value := value.(type) {
	case map[string]any:
		for key, v := range value {
			below := join(path, key)
			if c, ok := s.find(below); ok && !startsKey(s.text[c.key:], key) {
				bad = append(bad, below+" has its key elsewhere")
			}
			bad = append(bad, lacking(s, below, v)...)
		}
	case []map[string]any:
		for i, v := range value {
			bad = append(bad, lacking(s, at(path, i), v)...)
		}
	case []any:
		for i, v := range value {
			bad = append(bad, lacking(s, at(path, i), v)...)
		}
	}
	return bad
}

func startsKey(text, key string) bool {
	return text != "" && (text[0] == '"' || text[0] == '\'') || isBare(key) && strings.HasPrefix(text, key)
}

// fits reports whether a value of that kind can start at n.value.
func fits(text string, n *node, value any) bool {
	var first string
	switch value.(type) {
	case string:
		first = `"'`
	case bool:
		first = "tf"
	case int64, float64:
		first = "+-0123456789in"
	case []any, []map[string]any:
		first = "["
	default: // a table may start with any key; a date has a digit
		return n.value <= len(text)
	}
	return n.value < len(text) && strings.IndexByte(first, text[n.value]) >= 0
}

// indexed parses data as decode does, without a schema.
func indexed(data string) (*source, map[string]any, *Error) {
	s := &source{file: "x.toml", text: withoutMark(data), root: &node{}}
	tree, err := s.syntax(data)
	if err == nil {
		s.root = scan(s.text)
	}
	return s, tree, err
}

func TestIndexHasEveryKey(t *testing.T) {
	for _, text := range texts {
		s, tree, err := indexed(text)
		if err != nil {
			if text == "é = 1" {
				continue
			}
			t.Errorf("%q: %v", text, err)
			continue
		}
		if bad := lacking(s, "", tree); len(bad) > 0 {
			t.Errorf("%q: %q", text, bad)
		}
	}
}

func TestIndexPositions(t *testing.T) {
	const text = "\ufeff# é\n" +
		"a = { b = [1, 'é', \"\"\"x\n\"\"\", { c = 2 }] }\n" +
		"\t[[ t . u ]]\n" +
		"d.'é'.f = true\n" +
		"[[t.u]]\n" +
		"[t]\n"
	s, _, err := indexed(text)
	if err != nil {
		t.Fatal(err)
	}
	type position struct{ KeyLine, KeyCol, Line, Col int }
	got := make(map[string]position)
	want := map[string]position{
		"a":               {2, 1, 2, 5},
		"a.b":             {2, 7, 2, 11},
		"a.b[0]":          {2, 12, 2, 12},
		"a.b[1]":          {2, 15, 2, 15},
		"a.b[2]":          {2, 20, 2, 20},
		"a.b[3]":          {3, 6, 3, 6},
		"a.b[3].c":        {3, 8, 3, 12},
		"t":               {7, 2, 7, 1}, // implied on line 4, but this is its own header
		"t.u":             {4, 9, 4, 2},
		"t.u[0]":          {4, 9, 4, 2},
		"t.u[0].d":        {5, 1, 5, 1},
		`t.u[0].d."é"`:    {5, 3, 5, 3},
		`t.u[0].d."é".f`:  {5, 7, 5, 11},
		"t.u[1]":          {6, 5, 6, 1},
		"t.u[1].d.absent": {6, 5, 6, 1},
	}
	for path := range want {
		n, _ := s.find(path)
		var p position
		p.KeyLine, p.KeyCol = s.lineCol(n.key)
		p.Line, p.Col = s.lineCol(n.value)
		got[path] = p
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestScanEndsOnAnything(t *testing.T) {
	for _, text := range slices.Concat(texts, []string{
		"[", "[[", "[a", "[[a]", "a", "a =", "a = [", "a = {", "a = [}", "a = {]", "a = {b", "a = {b =", "a = ,",
		"=", ".", "a.", "a..b = 1", `"`, `"\`, `"a`, `a = "\`, `a = """`, `a = """\`, `a = '''x`, "]", "}", "a = [,,", "\x00",
		`"\u" = 1`, `"\u12" = 1`, `"\q" = 1`, "a = 1\n[[a]]\n[a.b]\n",
	}) {
		for i := range len(text) + 1 {
			scan(text[:i])
			scan(text[i:])
		}
	}
}
