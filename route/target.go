package route

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// A Target is the target of a request in the one form that rules compare: however
// it was written, it has one Target.
type Target struct {
	Name string     // ASCII, lower case, without a trailing dot; "" for an address
	Addr netip.Addr // IPv4 for IPv4 in IPv6, without a zone; the zero Addr for a name
	Port uint16

	// Dial is host:port to dial where what the client wrote could be read otherwise
	// by another machine, and "" where that is as good: an address in a notation
	// of inet_aton's, IPv4 in IPv6, a name with letters beyond ASCII.
	Dial string
}

// A TargetError is about a target that has no canonical form: to guess what
// others may take it for would be to let it slip past a rule.
type TargetError struct{ why string }

// Error tells why, without the target.
func (e *TargetError) Error() string { return "target refused: " + e.why }

func unfit(why string) error { return &TargetError{why} }

// ParseTarget returns the canonical form of host:port. Its error is a [*TargetError].
func ParseTarget(addr string) (Target, error) {
	host, portText, err := net.SplitHostPort(addr)
	if err != nil {
		return Target{}, unfit("not host:port")
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return Target{}, unfit("its port is not a number")
	}
	t, err := ParseHost(host)
	t.Port = uint16(port)
	if t.Dial != "" {
		t.Dial = net.JoinHostPort(t.Dial, portText)
	}
	return t, err
}

// ParseHost is [ParseTarget] for a host alone; Dial is then one, too.
//
// A host whose last label is a number is an IPv4 address or nothing (the URL
// Standard §3.5), as no name ends so.
func ParseHost(host string) (Target, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		t := Target{Addr: a.Unmap().WithZone("")}
		if a.Is4In6() {
			t.Dial = t.Addr.String()
		}
		return t, nil
	}
	if strings.ContainsAny(host, ":%") {
		return Target{}, unfit("neither a name nor an address")
	}
	name, err := ParseName(host)
	if err != nil {
		return Target{}, err
	}
	if endsInNumber(name) {
		a, ok := parseIPv4(name)
		if !ok {
			return Target{}, unfit("ends in a number and is no IPv4 address")
		}
		return Target{Addr: a, Dial: a.String()}, nil
	}
	t := Target{Name: name}
	if !isASCII(host) {
		t.Dial = name
	}
	return t, nil
}

// ParseName returns the one form of a DNS name: A-labels (RFC 5891), lower case,
// no trailing dot. Underscores and hyphens anywhere are in use, and pass.
func ParseName(s string) (string, error) {
	name := s
	if !isASCII(s) || hasALabel(s) {
		var err error
		// Lookup's mapping is what browsers do: width, case, ignored characters. Bytes that
		// are no text it takes for U+FFFD, which comes back as no valid name.
		if name, err = profile.ToASCII(s); err == nil {
			var again string
			if again, err = profile.ToASCII(name); again != name {
				err = errIDNA
			}
		}
		if err != nil {
			return "", errIDNA
		}
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if len(name) == 0 || len(name) > 253 {
		return "", unfit("a name has 1 to 253 bytes")
	}
	from := 0
	for i := 0; i <= len(name); i++ {
		if i == len(name) || name[i] == '.' {
			if i == from || i-from > 63 {
				return "", unfit("a label of a name has 1 to 63 bytes")
			}
			from = i + 1
			continue
		}
		if c := name[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return "", unfit("a name has letters, digits, hyphens, underscores and dots")
		}
	}
	return name, nil
}

var errIDNA = unfit("its name is not valid (IDNA)")

// profile leaves hyphens and underscores to ParseName: "a--b" and "_dmarc" are in use.
var profile = idna.New(
	idna.MapForLookup(), idna.Transitional(false), idna.BidiRule(),
	idna.StrictDomainName(false), idna.CheckHyphens(false), idna.CheckJoiners(true),
)

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// hasALabel reports whether a label of s begins with "xn--".
func hasALabel(s string) bool {
	for i := 0; i+4 <= len(s); i++ {
		if s[i+2] == '-' && s[i+3] == '-' && s[i]|0x20 == 'x' && s[i+1]|0x20 == 'n' && (i == 0 || s[i-1] == '.') {
			return true
		}
	}
	return false
}

// endsInNumber is the "ends in a number checker" of the URL Standard §3.5; name
// has no trailing dot.
func endsInNumber(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	if digits := strings.Trim(last, "0123456789"); digits == "" {
		return true
	}
	_, ok := parseNumber(last)
	return ok
}

// parseIPv4 reads what inet_aton does: one to four numbers, decimal, octal with 0
// or hexadecimal with 0x before, the last of which fills the bytes that are left.
func parseIPv4(s string) (netip.Addr, bool) {
	var value uint64
	parts := strings.Split(s, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	for i, part := range parts {
		n, ok := parseNumber(part)
		limit := uint64(1) << 8
		if i == len(parts)-1 {
			limit <<= 8 * (4 - len(parts))
		}
		if !ok || n >= limit {
			return netip.Addr{}, false
		}
		if i == len(parts)-1 {
			value = value<<(8*(5-len(parts))) | n
		} else {
			value = value<<8 | n
		}
	}
	return netip.AddrFrom4([4]byte{byte(value >> 24), byte(value >> 16), byte(value >> 8), byte(value)}), true
}

// parseNumber reads one number of [parseIPv4]. "0x" is 0, as the URL Standard has it.
func parseNumber(s string) (uint64, bool) {
	base := 10
	switch {
	case len(s) >= 2 && s[0] == '0' && s[1]|0x20 == 'x':
		base, s = 16, s[2:]
	case len(s) >= 2 && s[0] == '0':
		base, s = 8, s[1:]
	case s == "":
		return 0, false
	}
	if s == "" {
		return 0, true
	}
	if strings.Trim(s, "0123456789abcdefABCDEF") != "" { // ParseUint takes signs and underscores
		return 0, false
	}
	n, err := strconv.ParseUint(s, base, 64)
	if err != nil && base == 16 && errors.Is(err, strconv.ErrRange) {
		return 1 << 63, true // a number nonetheless
	}
	return n, err == nil
}
