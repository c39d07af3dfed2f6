package configs

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

func parsePorts(s string) (any, error) {
	from, to, ranged := strings.Cut(s, "-")
	if !ranged {
		to = from
	}
	from, to = strings.TrimSpace(from), strings.TrimSpace(to)
	if !isPort(from) || !isPort(to) {
		return nil, fmt.Errorf(`%q is not a port or a range of them; write a number from 1 to 65535, or two like "6000-6010"`, s)
	}
	a, _ := strconv.ParseUint(from, 10, 16)
	b, _ := strconv.ParseUint(to, 10, 16)
	if a > b {
		return nil, fmt.Errorf("%q ends before it begins; swap the two", s)
	}
	return PortRange{uint16(a), uint16(b)}, nil
}

func parseSpan(s string) (any, error) {
	from, to, ok := strings.Cut(s, "-")
	a, aok := minutes(strings.TrimSpace(from))
	b, bok := minutes(strings.TrimSpace(to))
	switch {
	case !ok || !aok || !bok:
		return nil, fmt.Errorf(`%q is not a time of the day; write it like "09:00-17:00"`, s)
	case a == 24*60:
		return nil, fmt.Errorf("%q begins at the day's end; begin at 00:00", s)
	}
	return DaySpan{a, b}, nil
}

// minutes reads hh:mm up to 24:00.
func minutes(s string) (int, bool) {
	if len(s) != 5 || s[2] != ':' {
		return 0, false
	}
	h, herr := strconv.ParseUint(s[:2], 10, 8)
	m, merr := strconv.ParseUint(s[3:], 10, 8)
	total := int(60*h + m)
	return total, herr == nil && merr == nil && m < 60 && total <= 24*60
}

// weekdays in the order of time.Weekday.
var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

func parseDays(s string) (any, error) {
	from, to, ranged := strings.Cut(strings.ToLower(s), "-")
	if !ranged {
		to = from
	}
	a, b := slices.Index(weekdays, strings.TrimSpace(from)), slices.Index(weekdays, strings.TrimSpace(to))
	if a < 0 || b < 0 {
		return nil, fmt.Errorf(`%q is not a day of the week; write sun, mon, tue, wed, thu, fri or sat, or two of them like "mon-fri"`, s)
	}
	var days Days
	for i := a; ; i = (i + 1) % 7 {
		days[i] = true
		if i == b {
			return days, nil
		}
	}
}

func parseCountry(s string) (any, error) {
	code := strings.ToUpper(s)
	if len(code) != 2 || strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return nil, fmt.Errorf(`%q is not a country's code; write two letters, such as "DE"`, s)
	}
	return Country(code), nil
}

func parseShare(s string) (any, error) {
	n, ok := strings.CutSuffix(s, "%")
	v, err := strconv.ParseUint(strings.TrimSpace(n), 10, 8)
	if !ok || err != nil || v > 100 {
		return nil, fmt.Errorf(`%q is not a share; write a number from 0 to 100 with "%%" behind it`, s)
	}
	return Share(float64(v) / 100), nil
}

// A SHA256 is the hash of a file.
type SHA256 []byte

func parseSHA256(s string) (any, error) {
	sum, err := hex.DecodeString(s)
	if err != nil || len(sum) != 32 {
		return nil, errors.New(`is not a SHA-256; write the 64 hexadecimal digits that "sha256sum" shows`)
	}
	return SHA256(sum), nil
}

func parseWebURL(s string) (any, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Hostname() == "" || u.Opaque != "":
		return nil, errors.New("is not a valid URL; write https://host/path")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("scheme %q is not known; write http or https", u.Scheme)
	case u.User != nil:
		return nil, errors.New("has credentials, which are not sent; leave them out")
	case u.Port() != "" && !isPort(u.Port()):
		return nil, fmt.Errorf("port %s is out of range; give one from 1 to 65535", u.Port())
	}
	return WebURL(s), nil
}
