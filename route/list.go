package route

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
)

// A List is a list of names and addresses that rules refer to. Its contents may be
// replaced while it is in use. Until it has any, every request that depends on it
// is blocked.
type List struct {
	name     string
	contents atomic.Pointer[Contents]
}

// NewList returns a list that has no contents yet.
func NewList(name string) *List { return &List{name: name} }

// Name returns the list's name.
func (l *List) Name() string { return l.name }

// Set replaces the contents, for requests to come.
func (l *List) Set(c *Contents) { l.contents.Store(c) }

// Contents returns what the list has, or nil.
func (l *List) Contents() *Contents { return l.contents.Load() }

// Contents is what a list file says. It does not change.
type Contents struct {
	names names
	addrs *prefixes

	// Names and Addresses count the entries: patterns of names, and single
	// addresses or ranges as they stand in the file.
	Names, Addresses int

	// Skipped counts lines that are about parts of websites, not about hosts.
	Skipped int

	// Bad counts the lines that no format explains, and FirstBad is the number of the
	// first, from 1.
	Bad, FirstBad int
}

// Len returns the number of entries.
func (c *Contents) Len() int { return c.Names + c.Addresses }

// Size returns the bytes of memory that c takes, to within a few.
func (c *Contents) Size() int { return c.names.set.size() + c.addrs.size() }

func (c *Contents) has(t *Target) bool {
	if t.Name != "" {
		return c.names.has(t.Name)
	}
	return c.addrs.has(t.Addr)
}

// ListOptions say how a list is read.
type ListOptions struct {
	// Subdomains has a plain name, and one in a hosts file, stand for all names below
	// it, too.
	Subdomains bool
}

// A ListError is about a text that is no list.
type ListError struct {
	Line int // from 1; 0 for the whole
	Why  string
}

func (e *ListError) Error() string {
	if e.Line == 0 {
		return e.Why
	}
	return fmt.Sprintf("line %d: %s", e.Line, e.Why)
}

// ParseList reads a list, whose lines may be of any of these formats:
//
//	example.org  .example.org  *.example.org  keyword:ads  regexp:^ads?[0-9]
//	domain:example.org  full:www.example.org      as .example.org and www.example.org
//	0.0.0.0 ads.example track.example             hosts file
//	||ads.example^  @@||fine.ads.example^         AdGuard, EasyList: it and all below it
//	192.0.2.7  192.0.2.0/24  2001:db8::/32  192.0.2.1-192.0.2.9
//
// Comments begin with #, ;, ! or //. In lists that say or show that they are for
// browsers, all else is skipped: rules for parts of pages, or for some requests to a host
// only. In others it is bad, and more than one bad line in twenty is an error: a
// [*ListError].
//
// An exception (@@) holds against all entries of its list. It is not about addresses.
func ParseList(data []byte, o ListOptions) (*Contents, error) {
	if i := bytes.IndexByte(data, 0); i >= 0 {
		return nil, &ListError{1 + bytes.Count(data[:i], []byte("\n")), "has a zero byte, as no text has"}
	}
	p := &listParser{plain: exactly, rest: data, browser: forBrowsers(data)}
	if o.Subdomains {
		p.plain |= below
	}
	for len(p.rest) > 0 {
		line := p.rest
		if i := bytes.IndexByte(p.rest, '\n'); i >= 0 {
			line, p.rest = p.rest[:i], p.rest[i+1:]
		} else {
			p.rest = nil
		}
		p.number++
		if err := p.line(bytes.TrimSpace(line)); err != nil {
			if errors.Is(err, errFull) {
				return nil, &ListError{p.number, err.Error()}
			}
			if p.c.Bad++; p.c.Bad == 1 {
				p.c.FirstBad, p.first = p.number, err
			}
		}
	}
	c := &p.c
	if n := &c.names; n.set != nil {
		n.set.trim()
		c.Names += n.set.count
	}
	c.Names += len(c.names.globs) + len(c.names.keywords) + len(c.names.regexps)
	c.Addresses = p.spans.len()
	if c.Addresses > 0 {
		c.addrs = newPrefixes(&p.spans)
	}
	if 20*c.Bad > c.Len()+c.Bad {
		return nil, &ListError{c.FirstBad, p.first.Error()}
	}
	return c, nil
}

// forBrowsers reports whether a list is of the kind for browsers.
func forBrowsers(data []byte) bool {
	data = bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")))
	return bytes.HasPrefix(data, []byte("[Ad")) || bytes.HasPrefix(data, []byte("!")) ||
		bytes.HasPrefix(data, []byte("||")) || bytes.Contains(data, []byte("\n||"))
}

type listParser struct {
	c       Contents
	spans   spans
	plain   byte // what a plain name is about
	browser bool
	rest    []byte
	number  int // of the line
	first   error
	buf     [256]byte
}

var errLine = errors.New("is of no format that is known here")

func (p *listParser) line(s []byte) error {
	if p.number == 1 {
		s = bytes.TrimPrefix(s, []byte("\xef\xbb\xbf"))
	}
	if len(s) == 0 || s[0] == '#' || s[0] == ';' || s[0] == '!' || s[0] == '[' || bytes.HasPrefix(s, []byte("//")) {
		return nil
	}
	if s[0] == '|' || s[0] == '@' {
		return p.browserLine(s)
	}
	for i := 1; i < len(s); i++ {
		if (s[i] == '#' || s[i] == ';') && (s[i-1] == ' ' || s[i-1] == '\t') {
			s = bytes.TrimSpace(s[:i])
			break
		}
	}
	if i := bytes.IndexAny(s, " \t"); i >= 0 {
		return p.hosts(s[:i], s[i:])
	}
	if p.browser {
		// Plain words are parts of URLs there, save for addresses.
		if !p.address(s) {
			p.c.Skipped++
		}
		return nil
	}
	return p.entry(s)
}

// entry takes the one word of a line.
func (p *listParser) entry(s []byte) error {
	if name, ok := p.fastName(s); ok {
		return p.name(name, p.plain)
	}
	if s[0] == '.' {
		if name, ok := p.fastName(s[1:]); ok {
			return p.name(name, exactly|below)
		}
	}
	if p.address(s) {
		return nil
	}
	return p.c.names.add(string(s), p.plain)
}

// hosts takes a line of an address and names.
func (p *listParser) hosts(addr, rest []byte) error {
	if _, err := netip.ParseAddr(string(addr)); err != nil {
		if p.browser {
			p.c.Skipped++
			return nil
		}
		return errLine
	}
	var wrong error
	for len(rest) > 0 {
		rest = bytes.TrimLeft(rest, " \t")
		word := rest
		if i := bytes.IndexAny(rest, " \t"); i >= 0 {
			word, rest = rest[:i], rest[i:]
		} else {
			rest = nil
		}
		if ofThisMachine(string(word)) {
			continue
		}
		var err error
		if name, ok := p.fastName(word); ok {
			err = p.name(name, p.plain)
		} else if _, isAddr := netip.ParseAddr(string(word)); isAddr != nil {
			err = p.c.names.addName(string(word), p.plain)
		}
		if err != nil {
			wrong = err
		}
	}
	return wrong
}

// ofThisMachine reports whether a hosts file's name is one of those that every
// hosts file has.
func ofThisMachine(name string) bool {
	switch name {
	case "localhost", "localhost.localdomain", "local", "broadcasthost", "ip6-localhost", "ip6-loopback",
		"ip6-localnet", "ip6-mcastprefix", "ip6-allnodes", "ip6-allrouters", "ip6-allhosts":
		return true
	}
	return false
}

func (p *listParser) name(name []byte, flags byte) error {
	if p.c.names.set == nil {
		p.c.names.set = newDomains(bytes.Count(p.rest, []byte("\n")) + 1)
	}
	return p.c.names.addCanonical(name, flags)
}
