package socks

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
)

const (
	version5    = 5 // RFC 1928
	version4    = 4
	authVersion = 1 // RFC 1929 §2

	methodNone     = 0x00 // RFC 1928 §3
	methodPassword = 0x02
	methodRefused  = 0xFF

	commandConnect   = 1
	commandBind      = 2
	commandAssociate = 3

	// Tor's (socks-extensions.txt in its specifications).
	commandResolve    = 0xF0
	commandResolvePTR = 0xF1

	addrIPv4 = 1 // RFC 1928 §5
	addrName = 3
	addrIPv6 = 4

	// maxName is the longest name that fits: SOCKS5 counts it in a byte, and
	// nothing longer is a name of the DNS. SOCKS4's strings are held to it too.
	maxName = 255
)

var (
	errName  = errors.New("not a host name")
	errPort  = errors.New("not a port that can be connected to")
	errShort = errors.New("address cut short")
)

// A family error is about a kind of address that the protocol, or byway, does
// not carry.
type familyError string

func (e familyError) Error() string        { return string(e) }
func (e familyError) Is(target error) bool { return target == syscall.EAFNOSUPPORT }

// A target is the address that a request is for: ip, or name where ip is not valid.
type target struct {
	ip   netip.Addr // never IPv4 in IPv6
	name string
	port uint16
}

// parseTarget takes apart host:port. Its errors do not quote addr.
func parseTarget(addr string) (target, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return target{}, errors.New("not of the form host:port")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return target{}, errPort
	}
	t := target{port: uint16(n)}
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip.Zone() != "" {
			return target{}, familyError("an IPv6 zone means nothing to another host")
		}
		t.ip = ip.Unmap()
		return t, nil
	}
	t.name = host
	return t, checkName(host)
}

// append appends ATYP, address and port (RFC 1928 §5).
func (t target) append(b []byte) []byte {
	switch {
	case t.ip.Is4():
		ip := t.ip.As4()
		b = append(append(b, addrIPv4), ip[:]...)
	case t.ip.IsValid():
		ip := t.ip.As16()
		b = append(append(b, addrIPv6), ip[:]...)
	default:
		b = append(append(b, addrName, byte(len(t.name))), t.name...)
	}
	return append(b, byte(t.port>>8), byte(t.port))
}

// addrLen returns the length of ATYP, address and port of which b is the
// beginning, two bytes at least.
func addrLen(b []byte) (int, error) {
	if len(b) < 2 {
		return 0, errShort
	}
	switch b[0] {
	case addrIPv4:
		return 1 + 4 + 2, nil
	case addrIPv6:
		return 1 + 16 + 2, nil
	case addrName:
		return 1 + 1 + int(b[1]) + 2, nil
	}
	return 0, familyError(fmt.Sprintf("unknown address type 0x%02x", b[0]))
}

// checkName reports whether name could be a host's. It lets through letters,
// digits, hyphens and underscores in labels that are not empty, a final dot, and
// an address in text. What else may stand in a length-counted field (NUL, spaces,
// '/', '@', non-ASCII) names no host, and would be taken for something else by
// the next protocol.
func checkName(name string) error {
	if name == "" || len(name) > maxName {
		return errName
	}
	if strings.IndexByte(name, ':') >= 0 {
		if ip, err := netip.ParseAddr(name); err != nil || ip.Zone() != "" {
			return errName
		}
		return nil
	}
	label := 0
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
			label++
		case c == '.' && label > 0:
			label = 0
		default:
			return errName
		}
	}
	return nil
}
