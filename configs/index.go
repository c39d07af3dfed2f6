package configs

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A node is the place of one key or one element of a list in the text, with
// the places below it. Offsets are in bytes.
type node struct {
	// key is where the key's name starts; for an element of a list, where the
	// element starts. value is where the value starts; for a table with a
	// header, the header's bracket.
	key, value int

	table map[string]*node // by key, if it is a table
	list  []*node          // if it is a list of values or of tables

	name string // what the table calls itself, by its key "name"
}

// below returns the node of a key in the table n, made with the given offsets
// unless it is there already.
func (n *node) below(name string, key, value int) *node {
	if c, ok := n.table[name]; ok {
		return c
	}
	if n.table == nil {
		n.table = make(map[string]*node)
	}
	c := &node{key: key, value: value}
	n.table[name] = c
	return c
}

// inside returns the table that keys below n go to: of an array of tables, the
// last one.
func (n *node) inside() *node {
	if len(n.list) > 0 {
		return n.list[len(n.list)-1]
	}
	return n
}

// join and at write a path such as hop[1].url, the form in which the package
// and its users name a place in the file. A key that is not bare is quoted.
func join(path, key string) string {
	if !isBare(key) {
		key = strconv.Quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

func at(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

func isBare(key string) bool {
	for i := range len(key) {
		if !isBareByte(key[i]) {
			return false
		}
	}
	return key != ""
}

// A step is one key, or one index in a list, of a path.
type step struct {
	key   string
	index int // -1 for a key
}

// steps takes a path apart; what it cannot read it leaves out.
func steps(path string) []step {
	var all []step
	for path != "" {
		switch {
		case path[0] == '.':
			path = path[1:]
		case path[0] == '[':
			number, rest, _ := strings.Cut(path[1:], "]")
			i, err := strconv.Atoi(number)
			if err != nil || i < 0 {
				return all
			}
			all = append(all, step{index: i})
			path = rest
		case path[0] == '"':
			quoted, err := strconv.QuotedPrefix(path)
			if err != nil {
				return all
			}
			key, _ := strconv.Unquote(quoted)
			all = append(all, step{key: key, index: -1})
			path = path[len(quoted):]
		default:
			end := strings.IndexAny(path, ".[")
			if end < 0 {
				end = len(path)
			}
			all = append(all, step{key: path[:end], index: -1})
			path = path[end:]
		}
	}
	return all
}

func (n *node) step(s step) *node {
	if s.index < 0 {
		return n.table[s.key]
	}
	if s.index < len(n.list) {
		return n.list[s.index]
	}
	if s.index == 0 && n.table != nil {
		return n // a table that stands for a list with one
	}
	return nil
}

// A source is a configuration file's text and the places of its keys.
type source struct {
	file string
	text string // without a byte order mark
	root *node
}

// find returns the node at path. If there is none, it returns the nearest one
// above and false.
func (s *source) find(path string) (*node, bool) {
	n := s.root
	for _, st := range steps(path) {
		c := n.step(st)
		if c == nil {
			return n, false
		}
		n = c
	}
	return n, true
}

func (s *source) has(path string) bool {
	_, ok := s.find(path)
	return ok
}

// lineCol returns the position of a byte offset, brought inside the text and to
// the start of its character.
func (s *source) lineCol(offset int) (line, col int) {
	offset = min(max(offset, 0), len(s.text))
	for offset > 0 && offset < len(s.text) && !utf8.RuneStart(s.text[offset]) {
		offset--
	}
	before := s.text[:offset]
	start := strings.LastIndexByte(before, '\n') + 1
	return 1 + strings.Count(before, "\n"), 1 + utf8.RuneCountInString(before[start:])
}

// line returns the line of the value at path.
func (s *source) line(path string) int {
	n, _ := s.find(path)
	line, _ := s.lineCol(n.value)
	return line
}

// label returns a path in the words of the file: elements that have a name are
// called by it, as in `hop "paris": tls.pin[1]`.
func (s *source) label(path string) string {
	var b strings.Builder
	n, between := s.root, ""
	for _, st := range steps(path) {
		if n != nil {
			n = n.step(st)
		}
		switch {
		case st.index < 0:
			b.WriteString(between + join("", st.key))
			between = "."
		case n != nil && n.name != "":
			fmt.Fprintf(&b, " %q", n.name)
			between = ": "
		default:
			b.WriteString(at("", st.index))
		}
	}
	return b.String()
}

// errorf returns an error in the value at path, or where that would belong.
func (s *source) errorf(path, format string, args ...any) *Error {
	n, _ := s.find(path)
	return s.errorAt(n.value, s.label(path), fmt.Errorf(format, args...))
}

func (s *source) errorAt(offset int, key string, err error) *Error {
	line, col := s.lineCol(offset)
	return &Error{File: s.file, Line: line, Col: col, Key: key, Err: err}
}

// A reporter is a source's errorf. The structs hold it instead of the source, as
// printing them must not show the text, which may have a password in a URL.
type reporter func(path, format string, args ...any) *Error

// errorf of a nil reporter, as in a struct that was not parsed, knows no positions.
func (r reporter) errorf(path, format string, args ...any) *Error {
	if r == nil {
		return &Error{Key: path, Err: fmt.Errorf(format, args...)}
	}
	return r(path, format, args...)
}
