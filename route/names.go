package route

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// names is a set of names by their patterns.
type names struct {
	set      *domains
	globs    []string // with * for any run of characters
	keywords []string
	regexps  []*regexp.Regexp
}

// The forms of a pattern, for messages.
const forms = `write "example.org", ".example.org" (it and all below it), "*.example.org", "keyword:ads" or "regexp:^ads?[0-9]"`

// add adds a pattern. plain says what a name without any sign is about.
func (n *names) add(s string, plain byte) error {
	kind, rest, ok := strings.Cut(s, ":")
	switch {
	case ok && kind == "regexp":
		re, err := regexp.Compile("(?i)" + rest)
		if err != nil {
			return fmt.Errorf("%q is not a regular expression (RE2): %w; correct it", rest, err)
		}
		n.regexps = append(n.regexps, re)
		return nil
	case ok && kind == "keyword":
		if rest == "" || !isASCII(rest) {
			return fmt.Errorf("keyword %q is empty or has letters beyond ASCII, which names in their one form have not; write another", rest)
		}
		n.keywords = append(n.keywords, strings.ToLower(rest))
		return nil
	case ok && kind == "full":
		return n.addName(rest, exactly)
	case ok && kind == "domain":
		return n.addName(rest, exactly|below)
	case strings.HasPrefix(s, "."):
		return n.addName(s[1:], exactly|below)
	case strings.HasPrefix(s, "*.") && !strings.Contains(s[1:], "*"):
		return n.addName(s[2:], below)
	case strings.Contains(s, "*"):
		if name, err := ParseName(strings.ReplaceAll(s, "*", "a")); err != nil || len(name) != len(s) || !isASCII(s) {
			return fmt.Errorf("%q is not a name with wildcards in ASCII; %s", s, forms)
		}
		n.globs = append(n.globs, strings.ToLower(s))
		return nil
	}
	return n.addName(s, plain)
}

func (n *names) addName(s string, flags byte) error {
	t, err := ParseHost(s)
	switch {
	case err != nil:
		return fmt.Errorf("%q is not a name: %s; %s", s, strings.TrimPrefix(err.Error(), "target refused: "), forms)
	case t.Name == "":
		return fmt.Errorf("%q is an address; write it as a cidr", s)
	}
	return n.addCanonical([]byte(t.Name), flags)
}

var errFull = errors.New("too many names: 4 GB of them is the most")

func (n *names) addCanonical(name []byte, flags byte) error {
	if n.set == nil {
		n.set = newDomains(0)
	}
	if !n.set.add(name, flags) {
		return errFull
	}
	return nil
}

// has reports whether a canonical name fits a pattern, and no exemption stands
// against it.
func (n *names) has(name string) bool {
	found, exempt := n.set.ask(name)
	if found || exempt {
		return !exempt
	}
	for _, k := range n.keywords {
		if strings.Contains(name, k) {
			return true
		}
	}
	for _, g := range n.globs {
		if glob(g, name) {
			return true
		}
	}
	for _, re := range n.regexps {
		if re.MatchString(name) {
			return true
		}
	}
	return false
}

// glob reports whether s fits pattern, in which * stands for any run of characters.
func glob(pattern, s string) bool {
	first, rest, ok := strings.Cut(pattern, "*")
	if !ok {
		return s == pattern
	}
	if !strings.HasPrefix(s, first) {
		return false
	}
	s = s[len(first):]
	for {
		var part string
		part, rest, ok = strings.Cut(rest, "*")
		if !ok {
			return strings.HasSuffix(s, part)
		}
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s = s[i+len(part):]
	}
}
