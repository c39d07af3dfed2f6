package chain_test

import (
	"context"
	"fmt"
	"net"
	"testing"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
)

// BenchmarkGroup dials through hops that cost nothing: what is left is the choice
// and the account of it.
func BenchmarkGroup(b *testing.B) {
	near, _ := testnet.Pipe(0)
	base := chain.DialerFunc(func(context.Context, string, string) (net.Conn, error) { return near, nil })
	hops := make([]chain.Hop, 8)
	members := make([]chain.Member, 8)
	for i := range hops {
		hops[i] = relayHop(fmt.Sprint("hop", i), "h:1", yes)
		members[i] = chain.Member{Hop: hops[i], Weight: i + 1}
	}
	group := func(s chain.Strategy) chain.Hop { return chain.Group("g", chain.GroupOptions{Strategy: s}, members...) }
	for _, bench := range []struct {
		name string
		hop  chain.Hop
	}{
		{"none", hops[0]},
		{"Sequence2", chain.Sequence("s", hops[:2]...)},
		{"Single", chain.Group("g", chain.GroupOptions{}, members[0])},
		{"First", group(chain.First)},
		{"RoundRobin", group(chain.RoundRobin)},
		{"Weighted", group(chain.Weighted)},
		{"Fastest", group(chain.Fastest)},
		{"LeastUsed", group(chain.LeastUsed)},
		{"Sticky", group(chain.Sticky)},
		{"Race", group(chain.Race)},
		{"Dynamic8", chain.Dynamic("d", chain.DynamicOptions{}, hops...)},
		{"Random3of8", chain.Random("r", chain.RandomOptions{Hops: 3, PerIdentity: true}, hops...)},
	} {
		c, err := chain.New(base, bench.hop)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.DialContext(b.Context(), "tcp", "t:1"); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(bench.name+"/parallel", func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					_, _ = c.DialContext(b.Context(), "tcp", "t:1")
				}
			})
		})
	}
}
