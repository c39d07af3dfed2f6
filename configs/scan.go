package configs

import (
	"strconv"
	"strings"
)

// A scanner finds the places of all keys and values of a TOML text. It trusts
// that the text has been checked: of anything else it makes what it can, and
// it always ends.
type scanner struct {
	s    string
	i    int
	root *node
}

// scan returns the places in text, which must be free of a byte order mark.
func scan(text string) *node {
	sc := &scanner{s: text, root: &node{}}
	table := sc.root
	for {
		sc.blank(true)
		switch sc.peek() {
		case 0:
			return sc.root
		case '[':
			table = sc.header()
		default:
			sc.pair(table)
		}
	}
}

// peek returns the next byte, or 0 at the end; TOML has no zero bytes.
func (sc *scanner) peek() byte {
	if sc.i < len(sc.s) {
		return sc.s[sc.i]
	}
	return 0
}

func (sc *scanner) accept(token string) bool {
	if strings.HasPrefix(sc.s[sc.i:], token) {
		sc.i += len(token)
		return true
	}
	return false
}

// stop gives up on the rest of the text.
func (sc *scanner) stop() { sc.i = len(sc.s) }

// blank skips white space and, if lines is set, newlines and comments too.
func (sc *scanner) blank(lines bool) {
	for {
		switch c := sc.peek(); {
		case c == ' ' || c == '\t':
			sc.i++
		case lines && (c == '\r' || c == '\n'):
			sc.i++
		case lines && c == '#':
			sc.until("\n")
		default:
			return
		}
	}
}

// until moves to the first of the given bytes, or to the end.
func (sc *scanner) until(bytes string) {
	if n := strings.IndexAny(sc.s[sc.i:], bytes); n >= 0 {
		sc.i += n
	} else {
		sc.stop()
	}
}

// header reads [a.b] or [[a.b]] and returns the table that it opens.
func (sc *scanner) header() *node {
	start, n, closing := sc.i, sc.root, "]"
	if sc.accept("[[") {
		closing = "]]"
	} else {
		sc.accept("[")
	}
	parts := sc.dotted()
	if len(parts) == 0 || !sc.accept(closing) {
		sc.stop()
		return n
	}
	last := parts[len(parts)-1]
	for _, p := range parts[:len(parts)-1] {
		n = n.below(p.name, p.offset, start).inside()
	}
	n = n.below(last.name, last.offset, start)
	if closing == "]" {
		n.key, n.value = last.offset, start // it may have been implied before
		return n
	}
	n.list = append(n.list, &node{key: last.offset, value: start})
	return n.inside()
}

// pair reads key = value into table.
func (sc *scanner) pair(table *node) {
	parts := sc.dotted()
	if len(parts) == 0 || !sc.accept("=") {
		sc.stop()
		return
	}
	sc.blank(false)
	for i, p := range parts {
		table = table.inside()
		if i == len(parts)-1 {
			table = table.below(p.name, p.offset, sc.i)
		} else {
			table = table.below(p.name, p.offset, p.offset)
		}
	}
	sc.value(table)
}

// value reads one value, whose place is n, and what is inside it.
func (sc *scanner) value(n *node) {
	start := sc.i
	switch sc.peek() {
	case '"', '\'':
		sc.text()
	case '[':
		sc.i++
		for sc.more(']') {
			e := &node{key: sc.i, value: sc.i}
			n.list = append(n.list, e)
			sc.value(e)
		}
	case '{':
		sc.i++
		for sc.more('}') {
			sc.pair(n)
		}
	default:
		sc.until(",]}#\r\n")
		if sc.i == start {
			sc.stop()
		}
	}
}

// more moves to the next member of a list or inline table, and reports false
// when it has passed the closing bracket.
func (sc *scanner) more(closing byte) bool {
	for {
		sc.blank(true)
		switch sc.peek() {
		case 0:
			return false
		case closing:
			sc.i++
			return false
		case ',':
			sc.i++
		default:
			return true
		}
	}
}

// A part is one name of a dotted key.
type part struct {
	name   string
	offset int
}

// dotted reads a key and the white space after it; none means that there is no
// valid key.
func (sc *scanner) dotted() []part {
	var parts []part
	for {
		sc.blank(false)
		start := sc.i
		switch c := sc.peek(); {
		case c == '"' || c == '\'':
			name := sc.quoted(c)
			parts = append(parts, part{name, start})
		default:
			for isBareByte(sc.peek()) {
				sc.i++
			}
			if sc.i == start {
				return nil
			}
			parts = append(parts, part{sc.s[start:sc.i], start})
		}
		sc.blank(false)
		if !sc.accept(".") {
			return parts
		}
	}
}

func isBareByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

// quoted reads a string on one line and returns what it means.
func (sc *scanner) quoted(quote byte) string {
	sc.i++
	start := sc.i
	for sc.i < len(sc.s) && sc.s[sc.i] != quote && sc.s[sc.i] != '\n' {
		if sc.s[sc.i] == '\\' && quote == '"' {
			sc.i++
		}
		sc.i++
	}
	sc.i = min(sc.i, len(sc.s))
	raw := sc.s[start:sc.i]
	sc.i = min(sc.i+1, len(sc.s))
	if quote == '"' {
		return unescape(raw)
	}
	return raw
}

// text reads a string of any of the four kinds.
func (sc *scanner) text() {
	quote := sc.peek()
	triple := strings.Repeat(string(quote), 3)
	if !sc.accept(triple) {
		sc.quoted(quote)
		return
	}
	for sc.i < len(sc.s) {
		switch {
		case sc.s[sc.i] == '\\' && quote == '"':
			sc.i = min(sc.i+2, len(sc.s))
		case sc.accept(triple):
			// Up to two quotes may stand right before the closing ones.
			for sc.peek() == quote {
				sc.i++
			}
			return
		default:
			sc.i++
		}
	}
}

// unescape resolves the escapes of a basic string.
func unescape(s string) string {
	plain := map[byte]byte{'b': '\b', 't': '\t', 'n': '\n', 'f': '\f', 'r': '\r', 'e': 0x1b, '"': '"', '\\': '\\'}
	digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, `\`)
		b.WriteString(before)
		if !found || after == "" {
			return b.String()
		}
		kind, rest := after[0], after[1:]
		if c, ok := plain[kind]; ok {
			b.WriteByte(c)
		} else if n := min(digits[kind], len(rest)); n > 0 {
			if r, err := strconv.ParseUint(rest[:n], 16, 32); err == nil {
				b.WriteRune(rune(r))
			}
			rest = rest[n:]
		}
		s = rest
	}
}
