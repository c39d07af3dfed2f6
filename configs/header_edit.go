package configs

import (
	"errors"
	"fmt"
	"strings"
)

// A HeaderEdit changes one field of a header. In the file it is "Name: value" to
// set, "+Name: value" to add, "-Name" to remove.
type HeaderEdit struct {
	Do          HeaderDo
	Name, Value string
}

// A HeaderDo is what a [HeaderEdit] does.
type HeaderDo byte

// The values of HeaderDo.
const (
	HeaderSet    HeaderDo = ':'
	HeaderAdd    HeaderDo = '+'
	HeaderRemove HeaderDo = '-'
)

func parseHeaderEdit(s string) (any, error) {
	do := HeaderSet
	rest := s
	if s != "" && (s[0] == '+' || s[0] == '-') {
		do, rest = HeaderDo(s[0]), s[1:]
	}
	name, value, hasValue := strings.Cut(rest, ":")
	value = strings.Trim(value, " \t")
	odd := func(r rune) bool { return r != '\t' && (r < ' ' || r == 0x7f) }
	switch {
	case !isToken(name):
		return nil, fmt.Errorf(`%q does not begin with a field's name; write "Name: value", "+Name: value" or "-Name"`, s)
	case do == HeaderRemove && hasValue:
		return nil, fmt.Errorf(`%q gives a value to what is removed; write "-%s"`, s, name)
	case do != HeaderRemove && !hasValue:
		return nil, fmt.Errorf(`%q has no value; write "%[2]s: value", or "-%[2]s" to remove it`, s, name)
	case strings.ContainsFunc(value, odd):
		return nil, errors.New("has a control character in its value; leave it out")
	}
	for _, framing := range []string{"Connection", "Content-Length", "Transfer-Encoding", "Upgrade", "TE", "Trailer"} {
		if strings.EqualFold(name, framing) {
			return nil, fmt.Errorf("%q is about how messages are framed, which is not edited; leave it out", name)
		}
	}
	return HeaderEdit{do, name, value}, nil
}

// isToken reports whether s is a token of HTTP (RFC 9110 §5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		alnum := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !alnum && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}
