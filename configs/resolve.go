package configs

import (
	"net/netip"
	"net/url"
)

// Resolve says by whom names are resolved on this machine's behalf.
type Resolve struct {
	// Direct is asked for the names of what is reached from here, through no hop; "" leaves
	// them to the system's resolver. Hop 1's name is always left to that.
	Direct DirectServer `toml:"direct"`

	// Address is where Direct is, if its URL gives a name; the zero Addr otherwise.
	Address netip.Addr `toml:"address"`
}

// A DirectServer is a [NameServer], or udp://host for plain DNS.
type DirectServer string

func parseDirectServer(s string) (any, error) {
	return DirectServer(s), checkNameServer(s, "https", "tls", "tcp", "udp")
}

func (r *Resolve) check(d *decoder) {
	const direct, address = "resolve.direct", "resolve.address"
	if d.failed[direct] || d.failed[address] {
		return
	}
	if r.Direct == "" {
		if d.has(address) {
			d.fail(address, `stands without direct; add direct = "...", or remove it`)
		}
		return
	}
	u, err := url.Parse(string(r.Direct))
	if err != nil {
		return // it was told
	}
	switch _, err := netip.ParseAddr(u.Hostname()); {
	case err != nil && !r.Address.IsValid():
		d.fail(direct, `%q is a name, which there is nobody to resolve; say where it is: address = "..."`, u.Hostname())
	case err == nil && r.Address.IsValid():
		d.fail(address, "stands beside an address in direct; remove one of the two")
	}
}
