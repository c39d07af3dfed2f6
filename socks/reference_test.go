package socks

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"

	"github.com/byway-proxy/byway/relay"
)

// A verdict is what a reference parser makes of a client's bytes.
type verdict struct {
	ok          bool
	user, label string
	addr        string
	said        string // before the reply to a good request
	rest        string
}

// A cursor takes bytes off; short is set when there are too few.
type cursor struct {
	data  []byte
	short bool
}

func (c *cursor) take(n int) []byte {
	if len(c.data) < n {
		c.short, c.data = true, nil
		return make([]byte, n)
	}
	b := c.data[:n]
	c.data = c.data[n:]
	return b
}

func (c *cursor) count() []byte { return c.take(int(c.take(1)[0])) }

// read5Strictly is RFC 1928 and 1929 by the letter, over all the bytes at once.
func read5Strictly(data []byte, secured bool) (v verdict) {
	c := &cursor{data: data}
	c.take(1)
	methods := c.count()
	if c.short {
		return v
	}
	asks := bytes.IndexByte(methods, 2) >= 0
	if !asks && (secured || bytes.IndexByte(methods, 0) < 0) {
		v.said = "\x05\xff"
		return v
	}
	v.said = "\x05\x00"
	if asks {
		v.said = "\x05\x02"
		version := c.take(1)[0]
		length := c.take(1)[0]
		if c.short {
			return v
		}
		if version != 1 {
			v.said += "\x01\x01"
			return v
		}
		user := string(c.take(int(length)))
		password := string(c.count())
		if c.short {
			return v
		}
		switch {
		case !secured:
			v.label = relay.Label(user, password)
		case user == "" || password == "" || user != "ann" || password != "secret":
			v.said += "\x01\x01"
			return v
		default:
			v.user = user
		}
		v.said += "\x01\x00"
	}
	head := c.take(4)
	var ip netip.Addr
	var name string
	if c.short {
		return v
	}
	switch head[3] {
	case 1:
		ip = netip.AddrFrom4([4]byte(c.take(4)))
	case 4:
		ip = netip.AddrFrom16([16]byte(c.take(16))).Unmap()
	case 3:
		if head[0] == 5 {
			name = string(c.count())
		}
	default:
		v.said += no(8)
		return v
	}
	port := binary.BigEndian.Uint16(c.take(2))
	switch {
	case head[0] != 5:
		v.said += no(1)
		return v
	case c.short:
		return v
	case head[1] != 1:
		v.said += no(7)
		return v
	case port == 0 || !ip.IsValid() && !plausible(name):
		v.said += no(1)
		return v
	}
	if ip.IsValid() {
		v.addr = netip.AddrPortFrom(ip, port).String()
	} else {
		v.addr = joined(name, port)
	}
	v.ok, v.rest = true, string(c.data)
	return v
}

func joined(name string, port uint16) string {
	if ip, err := netip.ParseAddr(name); err == nil && ip.Is6() {
		name = "[" + name + "]"
	}
	return name + ":" + string(itoa(port))
}

func itoa(n uint16) []byte {
	if n < 10 {
		return []byte{byte('0' + n)}
	}
	return append(itoa(n/10), byte('0'+n%10))
}

// plausible is checkName in other words.
func plausible(name string) bool {
	if ip, err := netip.ParseAddr(name); err == nil {
		return ip.Zone() == ""
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		if label == "" || strings.Trim(label, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
			return false
		}
		for _, r := range label {
			if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", r) {
				return false
			}
		}
	}
	return true
}

// read4Strictly is SOCKS4 and 4a.
func read4Strictly(data []byte, secured bool) (v verdict) {
	if secured {
		v.said = no4
		return v
	}
	c := &cursor{data: data}
	head := c.take(8)
	if c.short {
		return v
	}
	text := func() (string, bool) { // up to NUL, 255 bytes at most
		before, after, found := bytes.Cut(c.data, []byte{0})
		c.short = !found
		if len(before) > 255 {
			v.said = no4
			return "", false
		}
		c.data = after
		return string(before), found
	}
	userid, ok := text()
	if !ok {
		return v
	}
	label := ""
	if userid != "" {
		label = relay.Label(userid)
	}
	host := netip.AddrFrom4([4]byte(head[4:])).String()
	if bytes.Equal(head[4:7], []byte{0, 0, 0}) && head[7] != 0 {
		name, ok := text()
		if !ok {
			return v
		}
		host = name
	}
	port := binary.BigEndian.Uint16(head[2:4])
	if head[1] != 1 || port == 0 || !plausible(host) {
		v.said = no4
		return v
	}
	return verdict{ok: true, label: label, addr: joined(host, port), rest: string(c.data)}
}
