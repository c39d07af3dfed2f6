package route

import (
	"bytes"
	"net/netip"
)

// browserLine takes a rule that begins with || or @@||. Only those about whole
// hosts are taken: ||host^, with no options or ones that don't narrow it.
func (p *listParser) browserLine(s []byte) error {
	flags := exactly | below
	if bytes.HasPrefix(s, []byte("@@")) {
		flags, s = exemptly|exemptAll, s[2:]
	}
	host, ok := bytes.CutPrefix(s, []byte("||"))
	end := bytes.IndexByte(host, '^')
	if !ok || end < 0 || !whole(host[end+1:]) {
		p.c.Skipped++
		return nil
	}
	host = host[:end]
	if name, ok := p.fastName(host); ok {
		return p.name(name, flags)
	}
	t, err := ParseHost(string(host))
	switch {
	case err != nil: // a part of a name, or wildcards
		p.c.Skipped++
	case t.Name != "":
		return p.name([]byte(t.Name), flags)
	case flags&exactly != 0:
		p.spans.add(span{t.Addr, t.Addr})
	default:
		p.c.Skipped++
	}
	return nil
}

// whole reports whether what stands behind the ^ leaves the rule about the host.
func whole(s []byte) bool {
	if len(s) == 0 || len(s) == 1 && s[0] == '|' {
		return true
	}
	if s[0] != '$' {
		return false
	}
	for option := range bytes.SplitSeq(s[1:], []byte(",")) {
		switch string(option) {
		case "important", "all", "document", "doc":
		default:
			return false
		}
	}
	return true
}

// address takes an address, a prefix, or a range with a hyphen.
func (p *listParser) address(s []byte) bool {
	if c := s[0]; (c < '0' || c > '9') && bytes.IndexByte(s, ':') < 0 {
		return false
	}
	if len(s) > 2*len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255")+1 {
		return false
	}
	text := string(s)
	if prefix, err := netip.ParsePrefix(text); err == nil {
		if a := prefix.Addr(); a.Is4In6() {
			if prefix.Bits() < 96 {
				return false
			}
			prefix = netip.PrefixFrom(a.Unmap(), prefix.Bits()-96)
		}
		p.spans.add(spanOf(prefix))
		return true
	}
	from, to, ranged := bytes.Cut(s, []byte("-"))
	a, err := netip.ParseAddr(string(from))
	if err != nil || a.Zone() != "" {
		return false
	}
	b := a
	if ranged {
		if b, err = netip.ParseAddr(string(to)); err != nil || b.Zone() != "" {
			return false
		}
	}
	a, b = a.Unmap(), b.Unmap()
	if a.Is4() != b.Is4() || b.Less(a) {
		return false
	}
	p.spans.add(span{a, b})
	return true
}

// fastName returns the canonical form of a name as nearly all are, which is valid
// until the next call. It knows nothing of IDNA and of numbers.
func (p *listParser) fastName(s []byte) ([]byte, bool) {
	if n := len(s); n > 0 && s[n-1] == '.' {
		s = s[:n-1]
	}
	if len(s) == 0 || len(s) > 253 {
		return nil, false
	}
	from := 0
	for i, c := range s {
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '_':
		case 'A' <= c && c <= 'Z':
			c |= 0x20
		case c == '-':
			if i == from+3 && s[i-1] == '-' && s[i-2]|0x20 == 'n' && s[i-3]|0x20 == 'x' {
				return nil, false
			}
		case c == '.':
			if i == from || i-from > 63 {
				return nil, false
			}
			from = i + 1
		default:
			return nil, false
		}
		p.buf[i] = c
	}
	// The last label decides whether it may be an address.
	if n := len(s); from == n || n-from > 63 || '0' <= s[from] && s[from] <= '9' {
		return nil, false
	}
	return p.buf[:len(s)], true
}
