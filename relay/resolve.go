package relay

import (
	"context"

	"github.com/byway-proxy/byway/chain"
)

// Resolve has a name resolved, or the name of an address told, where tunnels for q
// would come out: never here, unless q is routed to the system's own dialer. q's Addr
// is host:port, as for a tunnel, by which it is routed. It takes no longer than
// opening one may, and is told to the Trace if it fails.
func (r *Relay) Resolve(ctx context.Context, q Request, host string) (string, error) {
	d, err := r.Route(ctx, q)
	if err != nil {
		return "", err
	}
	t, err := r.begin(q, d)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(chain.WithIdentity(ctx, r.Identity(&q)), r.dialLimit())
	defer cancel()
	t.cancel.Store(&cancel)
	got, err := chain.Resolve(ctx, d.Dialer, host)
	if err != nil {
		t.fail(err)
		return "", err
	}
	r.live.remove(t)
	return got, nil
}
