package relay

import (
	"context"
	"net"
	"net/netip"

	"github.com/byway-proxy/byway/chain"
)

// Resolve has a name resolved, or the name of an address told, where tunnels for q
// would come out: never here, unless q is routed to the system's own dialer. q's Addr
// is host:port, as for a tunnel, by which it is routed; what was judged is what is asked
// for, and if that is the address of a name, or the name that an address stands for, it is
// the answer. It takes no longer than opening a tunnel may, and is told to the Trace if it
// fails.
func (r *Relay) Resolve(ctx context.Context, q Request, host string) (string, error) {
	d, err := r.Route(ctx, q)
	if err != nil {
		return "", err
	}
	if name, _, err := net.SplitHostPort(d.Target); err == nil && isAddr(host) {
		return name, nil
	}
	meant := q.Meant(d)
	if judged, _, err := net.SplitHostPort(d.Addr); err == nil {
		if isAddr(judged) && !isAddr(host) {
			return judged, nil
		}
		host = judged
	}
	t, err := r.begin(q, d)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(chain.WithIdentity(ctx, r.Identity(&meant)), r.dialLimit())
	defer cancel()
	t.cancel.Store(&cancel)
	got, err := chain.Resolve(ctx, d.Dialer, host)
	if err != nil {
		t.fail(err)
		return "", err
	}
	t.settleAccount()
	r.live.remove(t)
	return got, nil
}

func isAddr(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}
