package ssh

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
)

// TestConnectionIsCounted: a group before the server counts the connection as long as
// it is open, and not the tunnel for which it was opened.
func TestConnectionIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New()
		l, err := n.Host("server").Listen("server:22")
		if err != nil {
			t.Fatal(err)
		}
		s := serve(t, l, echo(t))
		h, err := Hop(s.addr, s.options())
		if err != nil {
			t.Fatal(err)
		}
		way := chain.Hop{Name: "a", Wrap: func(next chain.Dialer) (chain.Dialer, error) { return next, nil }}
		group := chain.Group("g", chain.GroupOptions{Strategy: chain.LeastUsed}, chain.Member{Hop: way})
		c, err := chain.New(n.Host("client"), group, h)
		if err != nil {
			t.Fatal(err)
		}
		live := func(when string, want int) {
			t.Helper()
			time.Sleep(time.Second)
			if got := c.Groups()[0].Members[0].Live; got != want {
				t.Errorf("%s: %d live, want %d", when, got, want)
			}
		}
		var leases [2]chain.Lease
		for i := range leases {
			conn, err := c.DialContext(chain.WithLease(t.Context(), &leases[i]), "tcp", "target.example:80")
			if err != nil {
				t.Fatal(err)
			}
			ping(t, conn)
			defer conn.Close()
			live("with tunnels", 1)
			leases[i].Release()
			live("whose tunnels are over", 1)
			_ = conn.Close()
		}
		_ = c.Close()
		live("at the end", 0)
	})
}
