package chain_test

import (
	"context"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
)

// preparing makes of a fake hop one that can be spared.
type preparing struct {
	chain.Dialer
	next chain.Dialer
	at   string
}

func (p preparing) Prepare(ctx context.Context) (net.Conn, error) {
	return p.next.DialContext(ctx, "tcp", p.at)
}

func (p preparing) DialOver(_ context.Context, conn net.Conn, _, _ string) (net.Conn, error) {
	return conn, nil
}

// TestSparesAreCounted: a spare through a group is counted as one tunnel, first by
// itself and then by the tunnel that takes it.
func TestSparesAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		h := w.hop("last")
		wrap := h.Wrap
		h.Wrap = func(next chain.Dialer) (chain.Dialer, error) {
			d, err := wrap(next)
			return preparing{d, next, "last:1"}, err
		}
		group := chain.Group("g", chain.GroupOptions{Strategy: chain.LeastUsed, Rand: half}, w.members("a")...)
		c := w.chain(group, chain.Spare(h, chain.SpareOptions{Max: 1, Linger: time.Second}))
		live := func(want int, when string) {
			t.Helper()
			synctest.Wait()
			if got := member(c, "a").Live; got != want {
				t.Errorf("%s: %d live, want %d", when, got, want)
			}
		}
		leases := make([]chain.Lease, 3)
		for i := range leases {
			conn, err := c.DialContext(chain.WithLease(t.Context(), &leases[i]), "tcp", "target:443")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			live(i+1+1, fmt.Sprintf("tunnel %d and a spare", i))
		}
		for i := range leases {
			leases[i].Release()
			live(len(leases)-i, "the others and a spare")
		}
		time.Sleep(time.Minute)
		live(0, "the spare has expired")
	})
}

// TestStickyIsPerIdentity: what one identity got does not tell what another gets.
func TestStickyIsPerIdentity(t *testing.T) {
	w := newWorld(t)
	names := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	for _, by := range []chain.By{chain.ByTarget, chain.ByClient, chain.ByUser} {
		c := w.group(chain.GroupOptions{Strategy: chain.Sticky, By: by}, names...)
		seen := make(map[string]bool)
		for i := range 100 {
			id := chain.Identity{Key: fmt.Sprint(i), Target: "t:1", Client: "192.0.2.1", User: "alice"}
			ctx := chain.WithIdentity(t.Context(), id)
			first := w.via(ctx, c)
			seen[first] = true
			expect(t, "again", w.via(ctx, c), first)
		}
		if len(seen) != len(names) {
			t.Errorf("By %d: a hundred identities have %d members", by, len(seen))
		}
	}
}
