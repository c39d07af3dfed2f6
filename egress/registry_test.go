package egress

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/byway-proxy/byway/internal/testnet"
)

// registry is the whole of the IANA special-purpose address registries for IPv4 and IPv6, and multicast,
// written down apart from what the policy has. Those that lead to what the internet at large
// can reach (AS112's servers and AMT relays) are reachable. IPv4-mapped addresses are missing from it, as
// each is what its IPv4 address is.
var registry = []struct {
	prefix    string
	reachable bool
}{
	{"0.0.0.0/8", false},
	{"0.0.0.0/32", false},
	{"10.0.0.0/8", false},
	{"100.64.0.0/10", false},
	{"127.0.0.0/8", false},
	{"169.254.0.0/16", false},
	{"169.254.169.254/32", false}, // where clouds tell their secrets
	{"172.16.0.0/12", false},
	{"192.0.0.0/24", false},
	{"192.0.0.0/29", false},
	{"192.0.0.8/32", false},
	{"192.0.0.9/32", false},
	{"192.0.0.10/32", false},
	{"192.0.0.170/32", false},
	{"192.0.0.171/32", false},
	{"192.0.2.0/24", false},
	{"192.31.196.0/24", true},
	{"192.52.193.0/24", true},
	{"192.88.99.0/24", false},
	{"192.168.0.0/16", false},
	{"192.175.48.0/24", true},
	{"198.18.0.0/15", false},
	{"198.51.100.0/24", false},
	{"203.0.113.0/24", false},
	{"224.0.0.0/4", false},
	{"240.0.0.0/4", false},
	{"255.255.255.255/32", false},

	{"::1/128", false},
	{"::/128", false},
	{"64:ff9b::/96", false},
	{"64:ff9b:1::/48", false},
	{"100::/64", false},
	{"100:0:0:1::/64", false},
	{"2001::/23", false},
	{"2001::/32", false},
	{"2001:1::1/128", false},
	{"2001:1::2/128", false},
	{"2001:1::3/128", false},
	{"2001:2::/48", false},
	{"2001:3::/32", false},
	{"2001:4:112::/48", false},
	{"2001:10::/28", false},
	{"2001:20::/28", false},
	{"2001:30::/28", false},
	{"2001:db8::/32", false},
	{"2002::/16", false},
	{"2620:4f:8000::/48", true},
	{"3fff::/20", false},
	{"5f00::/16", false},
	{"fc00::/7", false},
	{"fd00:ec2::254/128", false}, // a cloud's secrets, too
	{"fe80::/10", false},
	{"fec0::/10", false},
	{"ff00::/8", false},
}

// TestRegistry asks for the ends and the inside of every range in every notation, and as what a name
// resolves to. Nothing may be dialled.
func TestRegistry(t *testing.T) {
	asked := 0
	for _, r := range registry {
		for _, a := range samples(netip.MustParsePrefix(r.prefix)) {
			for host, to := range notations(a) {
				asked++
				resolver := names{}
				if _, err := netip.ParseAddr(host); err != nil {
					resolver[host] = []netip.Addr{to} // as a system's resolver reads it
				}
				if r.reachable {
					base := &recorder{}
					c, err := (&Policy{Base: base, Resolver: resolver}).DialContext(t.Context(), "tcp", net.JoinHostPort(host, "443"))
					if err == nil {
						_ = c.Close()
					}
					if host == a.String() && err != nil {
						t.Errorf("%s of %s: %v", host, r.prefix, err)
					}
					continue
				}
				policy := &Policy{Base: testnet.NoDial(t), Resolver: resolver}
				if _, err := policy.DialContext(t.Context(), "tcp", net.JoinHostPort(host, "443")); !errors.Is(err, ErrNotAllowed) {
					t.Errorf("%s, which is %s of %s: %v", host, to, r.prefix, err)
				}
			}
		}
	}
	if asked < 1000 {
		t.Errorf("only %d were asked for", asked)
	}
}

// samples are the first, second, middle and last address of p.
func samples(p netip.Prefix) []netip.Addr {
	first := p.Masked().Addr()
	last, middle := first.AsSlice(), first.AsSlice()
	for i := p.Bits(); i < len(last)*8; i++ {
		last[i/8] |= 0x80 >> (i % 8)
		if i == p.Bits() {
			middle[i/8] |= 0x80 >> (i % 8)
		}
	}
	all := []netip.Addr{first}
	for _, b := range [][]byte{middle, last} {
		a, _ := netip.AddrFromSlice(b)
		all = append(all, a)
	}
	if next := first.Next(); p.Contains(next) {
		all = append(all, next)
	}
	return all
}

// notations are ways to write a, each with the address that it comes to: a itself, or one of
// IPv6 that stands for it.
func notations(a netip.Addr) map[string]netip.Addr {
	all := map[string]netip.Addr{a.String(): a, a.StringExpanded(): a, "name.example": a}
	if !a.Is4() {
		all[fmt.Sprintf("%s%%eth0", a)] = a
		return all
	}
	b := a.As4()
	n := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	for _, s := range []string{
		fmt.Sprintf("%d", n), fmt.Sprintf("0x%x", n), fmt.Sprintf("0%o", n),
		fmt.Sprintf("%d.%d", b[0], n&0xffffff), fmt.Sprintf("%d.%d.%d", b[0], b[1], n&0xffff),
		fmt.Sprintf("0%o.0%o.0%o.0%o", b[0], b[1], b[2], b[3]), fmt.Sprintf("0x%x.0x%x.0x%x.0x%x", b[0], b[1], b[2], b[3]),
		fmt.Sprintf("%d.%d.%d.%d.", b[0], b[1], b[2], b[3]), fmt.Sprintf("%03d.%03d.%03d.%03d", b[0], b[1], b[2], b[3]),
	} {
		if _, err := netip.ParseAddr(s); err != nil {
			all[s] = a
		}
	}
	for format, flip := range map[string]byte{
		"::ffff:%02x%02x:%02x%02x":                     0,    // mapped, RFC 4291
		"::%02x%02x:%02x%02x":                          0,    // compatible, RFC 4291
		"::ffff:0:%02x%02x:%02x%02x":                   0,    // translated, RFC 2765
		"64:ff9b::%02x%02x:%02x%02x":                   0,    // NAT64, RFC 6052
		"64:ff9b:1::%02x%02x:%02x%02x":                 0,    // RFC 8215
		"2002:%02x%02x:%02x%02x::1":                    0,    // 6to4, RFC 3056
		"2001:0:4136:e378:8000:63bf:%02x%02x:%02x%02x": 0xff, // Teredo, RFC 4380
	} {
		s := fmt.Sprintf(format, b[0]^flip, b[1]^flip, b[2]^flip, b[3]^flip)
		all[s] = netip.MustParseAddr(s)
	}
	return all
}
