package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"rsc.io/qr"

	"github.com/byway-proxy/byway/hop"
)

// A link is all that a client needs to use a hop, as one URL:
//
//	https://user:token@host:port?pin=sha256/…&ech=…#name
//
// What programs that know of proxies look at is scheme, credentials, host and port, so it is
// a proxy URL to curl and browsers, too. Pins and ECH are for byway: without a pin
// the certificate has to be one that the system trusts.
type link struct {
	hop  *url.URL // with the credentials, without what is below
	pins []string // like sha256/…
	ech  string   // in base64
	name string   // of the hop, for people
}

// String returns the link itself, token included.
func (l *link) String() string {
	u := *l.hop
	q := url.Values{}
	if len(l.pins) > 0 {
		q["pin"] = l.pins
	}
	if l.ech != "" {
		q.Set("ech", l.ech)
	}
	// Base64 needs no escape in a query (RFC 3986 §3.4).
	u.RawQuery = strings.NewReplacer("%2F", "/", "%3D", "=", "%2B", "+").Replace(q.Encode())
	u.Fragment = l.name
	return u.String()
}

// parseLink takes a link apart. For want of a query, what stands behind # may be
// pin=sha256/… instead of a name. Errors never have the text, as it could hold a token.
func parseLink(raw string) (*link, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return nil, errors.New("not a URL such as socks5://host:port")
	}
	l := &link{hop: u, name: u.Fragment}
	fragment := u.EscapedFragment()
	query, err := url.ParseQuery(strings.ReplaceAll(u.RawQuery, "+", "%2B")) // base64 has a plus, and no spaces
	if err != nil {
		return nil, errors.New("what stands behind ? is not readable; copy the link again")
	}
	if pins, ok := strings.CutPrefix(fragment, "pin="); ok {
		l.name = ""
		query["pin"] = append(query["pin"], strings.Split(pins, "&pin=")...)
	}
	u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment = "", false, "", ""
	if u.Path == "/" {
		u.Path = ""
	}
	if _, err := hop.FromURL(u, hop.Options{}); err != nil {
		return nil, err
	}
	for key, values := range query {
		switch key {
		case "pin":
			l.pins = values
		case "ech":
			l.ech = values[0]
		default:
			return nil, fmt.Errorf("behind ? stands %q, which is not known here; known are pin and ech", key)
		}
	}
	for _, pin := range l.pins {
		text, ok := strings.CutPrefix(pin, "sha256/")
		if raw, err := base64.StdEncoding.DecodeString(text); !ok || err != nil || len(raw) != 32 {
			return nil, errors.New("the pin is not sha256/ and 44 characters of base64")
		}
	}
	if _, err := base64.StdEncoding.Strict().DecodeString(l.ech); err != nil {
		return nil, errors.New("the ech is not base64")
	}
	if (len(l.pins) > 0 || l.ech != "") && !slices.Contains([]string{"https", "h3"}, u.Scheme) {
		return nil, errors.New("pin and ech are for https and h3, which have a certificate")
	}
	return l, nil
}

// hostPort is what stands in a URL for a host and a port, of which https has 443 anyway.
func hostPort(host, port string) string {
	if port != "443" {
		return net.JoinHostPort(host, port)
	}
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

// quiet is the margin around a QR code, in modules.
const quiet = 2

// qrCode draws a QR code of text for a terminal, two modules above each other in a character. What is
// light in it is drawn, as most terminals are dark; cameras read the other way, too.
func qrCode(text string) (string, error) {
	code, err := qr.Encode(text, qr.L)
	if err != nil {
		return "", err
	}
	light := func(x, y int) bool {
		return !code.Black(x-quiet, y-quiet) // what is outside is not black
	}
	var b strings.Builder
	side := code.Size + 2*quiet
	for y := 0; y < side; y += 2 {
		for x := range side {
			switch top, bottom := light(x, y), y+1 < side && light(x, y+1); {
			case top && bottom:
				b.WriteString("█")
			case top:
				b.WriteString("▀")
			case bottom:
				b.WriteString("▄")
			default:
				b.WriteString(" ")
			}
		}
		b.WriteByte('\n')
	}
	return b.String(), nil
}
