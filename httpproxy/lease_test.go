package httpproxy

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
)

// TestSessionIsCounted: a group before the proxy counts a session as long as it is
// open, and not the tunnel for which it was opened; without HTTP/2 that is the same.
func TestSessionIsCounted(t *testing.T) {
	for name, test := range map[string]struct {
		h1    bool
		end   func(net.Conn) error
		after int // when the first of two tunnels has ended
		later int // when the second has, too
	}{
		"HTTP/2":            {false, net.Conn.Close, 1, 1},
		"HTTP/1.1":          {true, net.Conn.Close, 1, 0},
		"HTTP/1.1, aborted": {true, chain.Abort, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, l, r := world(t)
				serveTLS(t, l, test.h1, plainTunnels(r))
				way := chain.Hop{Name: "a", Wrap: func(next chain.Dialer) (chain.Dialer, error) { return next, nil }}
				c, err := chain.New(client,
					chain.Group("g", chain.GroupOptions{Strategy: chain.LeastUsed}, chain.Member{Hop: way}),
					HopTLS("hop1:443", HopOptions{TLS: trust(testCert())}))
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
				var conns [2]net.Conn
				for i := range conns {
					conns[i], err = c.DialContext(chain.WithLease(t.Context(), &leases[i]), "tcp", "target:80")
					if err != nil {
						t.Fatal(err)
					}
				}
				for i, want := range [2]int{test.after, test.later} {
					_ = test.end(conns[i])
					leases[i].Release()
					live("after tunnel", want)
				}
				_ = c.Close()
				live("at the end", 0)
			})
		})
	}
}
