package configs

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Pin is the SHA-256 of a certificate's SubjectPublicKeyInfo (RFC 7469 §2.4).
type Pin [sha256.Size]byte

// String returns the pin as it is written in the file: "sha256/" and base64.
func (p Pin) String() string { return pinPrefix + base64.StdEncoding.EncodeToString(p[:]) }

const pinPrefix = "sha256/"

// A Pipeline says whether a SOCKS5 handshake goes out in one flight, without
// waiting for the hop's answers in between.
type Pipeline string

// The values of Pipeline.
const (
	PipelineAuto Pipeline = "auto" // the hop decides
	PipelineOn   Pipeline = "on"
	PipelineOff  Pipeline = "off"
)

// A Part of a tunnel's identity: tunnels that differ in it share nothing.
type Part string

// The values of Part.
const (
	PartListener Part = "listener"
	PartUser     Part = "user"
	PartClient   Part = "client"
	PartTarget   Part = "target"
)

// A Size is a number of bytes.
type Size int64

// Units of a Size.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
)

// A HostKeyPin is the fingerprint of an SSH host key as "ssh-keygen -l" shows it:
// "SHA256:" and base64.
type HostKeyPin string

const hostKeyPrefix = "SHA256:"

// An ECHConfigList is the list of keys by which a server lets its name be hidden
// from those on the way (RFC 9849 §4).
type ECHConfigList []byte

// A parser makes a value of one type from a string.
type parser struct {
	want, advice string // for values that are no strings
	parse        func(string) (any, error)
}

// parsers holds the types that are strings in the file.
var parsers = map[reflect.Type]parser{
	reflect.TypeFor[time.Duration](): {"a duration", `write it with its unit, such as "10s"`, parseDuration},
	reflect.TypeFor[time.Time]():     {"a string", `write it in "quotes", such as "2027-01-31"`, parseTime},
	reflect.TypeFor[*url.URL]():      {"a URL", `write it in "quotes"`, parseURL},
	reflect.TypeFor[netip.Prefix]():  {"a range of addresses", `write it in "quotes", such as "10.1.0.0/16"`, parsePrefix},
	reflect.TypeFor[Pin]():           {"a pin", `write "sha256/..."`, parsePin},
	reflect.TypeFor[HostKeyPin]():    {"a fingerprint", `write "SHA256:..."`, parseHostKeyPin},
	reflect.TypeFor[ECHConfigList](): {"a list of ECH keys", `write its base64 in "quotes"`, parseECH},
	reflect.TypeFor[netip.Addr]():    {"an address", `write it in "quotes", such as "192.0.2.7"`, parseAddr},
	reflect.TypeFor[Size]():          {"a size", `write it with its unit, such as "16MiB"`, parseSize},
	reflect.TypeFor[Pipeline]():      oneOf(PipelineAuto, PipelineOn, PipelineOff),
	reflect.TypeFor[PortRange]():     {"a port", `write a number, or a range such as "6000-6010"`, parsePorts},
	reflect.TypeFor[DaySpan]():       {"a time of the day", `write it like "09:00-17:00"`, parseSpan},
	reflect.TypeFor[Days]():          {"a day", `write it like "mon" or "mon-fri"`, parseDays},
	reflect.TypeFor[Country]():       {"a country", `write its code of two letters, such as "DE"`, parseCountry},
	reflect.TypeFor[Share]():         {"a share", `write it like "50%"`, parseShare},
	reflect.TypeFor[WebURL]():        {"a URL", `write it in "quotes"`, parseWebURL},
	reflect.TypeFor[SHA256]():        {"a SHA-256", `write its 64 hexadecimal digits in "quotes"`, parseSHA256},
	reflect.TypeFor[Answer]():        oneOf(AnswerRefuse, AnswerDrop, AnswerPage),
	reflect.TypeFor[Part]():          oneOf(PartListener, PartUser, PartClient, PartTarget),
	reflect.TypeFor[*PasswordHash](): {"a hash", `write the line of "byway passwd" in "quotes"`, parsePasswordHash},
	reflect.TypeFor[Network]():       oneOf(TCP, UDP),
	reflect.TypeFor[fs.FileMode]():   {"a string", `write it in "quotes", such as "0660"`, parseMode},
	reflect.TypeFor[NameServer]():    {"a URL", `write it in "quotes"`, parseNameServer},
	reflect.TypeFor[BlockedName]():   oneOf(BlockedMissing, BlockedZero),
	reflect.TypeFor[DirectServer]():  {"a URL", `write it in "quotes"`, parseDirectServer},
	reflect.TypeFor[Addresses]():     oneOf(AddressesReal, AddressesStandIn),
	reflect.TypeFor[HeaderEdit]():    {"an edit of a header", `write "Name: value", "+Name: value" or "-Name"`, parseHeaderEdit},
	reflect.TypeFor[*Place]():        {"a place", `write a country's code, or degrees such as "52.5,13.4"`, parsePlace},
	reflect.TypeFor[HashKey]():       {"a string", `write "client", "uri", "header:Name" or "cookie:name"`, parseHashKey},
	reflect.TypeFor[SitePick]():      oneOf(SitePickTwoChoices, SitePickRoundRobin, SitePickRandom, SitePickLeast, SitePickHash, SitePickNearest),
	reflect.TypeFor[Coding]():        oneOf(CodingZstd, CodingBrotli, CodingGzip),
	reflect.TypeFor[Mode]():          oneOf(ModeStrict, ModeDynamic, ModeRandom),
	reflect.TypeFor[Per]():           oneOf(PerTunnel, PerIdentity),
	reflect.TypeFor[By]():            oneOf(ByTarget, ByClient, ByUser, ByIdentity),
	reflect.TypeFor[Strategy](): oneOf(StrategyFirst, StrategyRoundRobin, StrategyRandom, StrategyFastest, StrategyLeastUsed,
		StrategySticky, StrategyRace),
}

// numbers are those of them that an integer may stand for.
var numbers = map[reflect.Type]bool{reflect.TypeFor[PortRange](): true}

func parseDuration(s string) (any, error) {
	d, err := time.ParseDuration(s)
	switch {
	case err != nil:
		return nil, fmt.Errorf(`%q is not a duration; write a number with its unit, such as "10s", "1m30s" or "2h"`, s)
	case d <= 0:
		return nil, fmt.Errorf("%q is not more than zero; leave the key out for the default", s)
	}
	return d, nil
}

func parseSize(s string) (any, error) {
	for unit, of := range map[string]Size{"KiB": KiB, "MiB": MiB, "GiB": GiB} {
		if number, ok := strings.CutSuffix(s, unit); ok {
			n, err := strconv.ParseUint(number, 10, 32)
			if err == nil && strconv.FormatUint(n, 10) == number && n <= 1<<20 {
				return Size(n) * of, nil
			}
		}
	}
	return nil, fmt.Errorf(`%q is not a size; write a whole number with its unit, such as "256KiB", "16MiB" or "1GiB"`, s)
}

// parseURL never shows the text in an error, as it may hold a password, and
// so hides the errors of url.Parse, which do.
func parseURL(s string) (any, error) {
	u, err := url.Parse(s)
	if err == nil && u.Opaque == "" && strings.HasSuffix(u.Scheme, unixSuffix) {
		return parseUnixURL(u, s)
	}
	switch {
	case err != nil || u.Opaque != "" || u.Scheme == "" || u.Host == "" && u.User == nil && u.Path == "":
		return nil, errors.New("is not a valid URL; write scheme://host:port")
	case u.Hostname() == "":
		return nil, errors.New("has no host; write scheme://host:port")
	case strings.HasSuffix(u.Host, ":"):
		return nil, errors.New("has an empty port; give a number after the colon or leave the colon out")
	case u.Port() != "" && !isPort(u.Port()):
		return nil, fmt.Errorf("port %s is out of range; give one from 1 to 65535", u.Port())
	case u.RawQuery != "" || u.ForceQuery:
		return nil, errors.New(`has a query; leave out the "?" and what follows`)
	case strings.Contains(s, "#"):
		return nil, errors.New(`has a fragment; leave out the "#" and what follows`)
	}
	return u, nil
}

// parseUnixURL checks the URL of a hop at a socket of this machine.
func parseUnixURL(u *url.URL, s string) (any, error) {
	switch {
	case u.Host != "":
		return nil, fmt.Errorf("has a host; write %s:///path, with three slashes", u.Scheme)
	case u.RawQuery != "" || u.ForceQuery:
		return nil, errors.New(`has a query; leave out the "?" and what follows`)
	case strings.Contains(s, "#"):
		return nil, errors.New(`has a fragment; leave out the "#" and what follows`)
	case !strings.HasPrefix(u.Path, "/") || strings.HasSuffix(u.Path, "/") || strings.Contains(u.Path, "\x00"):
		return nil, fmt.Errorf("has no path of a socket; write %s:///path", u.Scheme)
	}
	return u, nil
}

func parsePrefix(s string) (any, error) {
	p, err := netip.ParsePrefix(s)
	if addr, addrErr := netip.ParseAddr(s); addrErr == nil && addr.Zone() == "" {
		p, err = addr.Prefix(addr.BitLen())
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf(`%q is not an address or a range of them; write it like "10.1.0.0/16" or "fd00::1"`, s)
	case p.Addr().Is4In6():
		return nil, fmt.Errorf("%q is IPv4 inside IPv6; write it as IPv4", s)
	case p != p.Masked():
		return nil, fmt.Errorf("%q has bits set beyond its length; write %q or a single address", s, p.Masked())
	}
	return p, nil
}

func parsePin(s string) (any, error) {
	text, ok := strings.CutPrefix(s, pinPrefix)
	if !ok {
		return nil, errors.New(`does not start with "sha256/"; write "sha256/" and the base64 of the key's SHA-256`)
	}
	sum, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, errors.New(`is not standard base64 after "sha256/"; copy it again, with the "=" at its end`)
	}
	if len(sum) != sha256.Size {
		return nil, fmt.Errorf("has %d bytes, not %d; copy the whole pin", len(sum), sha256.Size)
	}
	return Pin(sum), nil
}

func parseHostKeyPin(s string) (any, error) {
	text, ok := strings.CutPrefix(s, hostKeyPrefix)
	if !ok {
		return nil, errors.New(`does not start with "SHA256:"; write the fingerprint that "ssh-keygen -l" shows`)
	}
	sum, err := base64.RawStdEncoding.Strict().DecodeString(text)
	if err != nil || len(sum) != sha256.Size || strings.ContainsAny(text, "\r\n") {
		return nil, errors.New(`is not "SHA256:" and 43 characters of base64; copy the whole fingerprint`)
	}
	return HostKeyPin(s), nil
}

// parseECH checks no more than that the list is whole: its entries may be of
// versions to come.
func parseECH(s string) (any, error) {
	list, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, errors.New(`is not standard base64; copy it again, with the "=" at its end`)
	}
	if len(list) < 6 || int(binary.BigEndian.Uint16(list)) != len(list)-2 {
		return nil, errors.New("is not a whole ECHConfigList; copy what the server's operator or its DNS record (ech=) gives")
	}
	return ECHConfigList(list), nil
}

func parseAddr(s string) (any, error) {
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		return nil, fmt.Errorf(`%q is not an address; write it like "192.0.2.7" or "fd00::7"`, s)
	case a.Is4In6():
		return nil, fmt.Errorf("%q is IPv4 inside IPv6; write it as IPv4", s)
	case a.IsUnspecified() || a.IsMulticast():
		return nil, fmt.Errorf("%q is no address of one machine; give another", s)
	}
	return a, nil
}

// oneOf is the parser of a type with few values.
func oneOf[T ~string](values ...T) parser {
	known := elements(values, func(v T) string { return string(v) })
	quoted := elements(known, strconv.Quote)
	last := len(quoted) - 1
	advice := "write " + strings.Join(quoted[:last], ", ") + " or " + quoted[last]
	return parser{"a string", advice, func(s string) (any, error) {
		if i := slices.Index(known, s); i >= 0 {
			return values[i], nil
		}
		return nil, fmt.Errorf("%q is not known; %s", s, orElse(s, known, advice))
	}}
}
