package configs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// An Error is one thing wrong with a configuration file.
type Error struct {
	File string // as given to Load or Parse

	// Line and Col count from 1; Col counts characters, not bytes. Both are 0
	// when the error has no place in the text, as with a file that is missing.
	Line, Col int

	// Key is what the error is about, in the words of the file, such as
	// `hop "paris": url`. It is empty where Err itself says it.
	Key string

	Err error // what is wrong; what to do
}

// Error returns "file:line:column: key: what is wrong; what to do".
func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File + ":")
	}
	if e.Line > 0 {
		fmt.Fprintf(&b, "%d:%d:", e.Line, e.Col)
	}
	if b.Len() > 0 {
		b.WriteByte(' ')
	}
	if e.Key != "" {
		b.WriteString(e.Key + ": ")
	}
	b.WriteString(e.Err.Error())
	return b.String()
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Errors is all that is wrong with one file, in the order of the text. Every
// error from Load and Parse is of this type, and never empty.
type Errors []*Error

// Error returns one error per line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the single errors.
func (e Errors) Unwrap() []error {
	all := make([]error, len(e))
	for i, one := range e {
		all[i] = one
	}
	return all
}

// sort puts e in the order of the text; errors at one place keep theirs.
func (e Errors) sort() {
	slices.SortStableFunc(e, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
	})
}
