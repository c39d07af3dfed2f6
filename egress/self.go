package egress

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/byway-proxy/byway/internal/dnsask"
)

// Self tells those who hold a credential, and ask for it, what this egress is: for
// "byway doctor". It is of [dnsask.Source].
func (s source) Self() []string {
	return dnsask.Self{Addrs: outward(), Clock: time.Now()}.Strings()
}

// outward returns the public addresses of this machine. Where a NAT is before it,
// it has none.
func outward() (all []netip.Addr) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, n := range list {
		p, err := netip.ParsePrefix(n.String())
		if err != nil {
			continue
		}
		if a := p.Addr().Unmap().WithZone(""); a.IsGlobalUnicast() && !contains(special, a) && !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	return all
}
