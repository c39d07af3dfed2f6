package chain

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
)

func TestSet(t *testing.T) {
	var s set
	for _, i := range []int{0, 63, 64, 200, 65535} {
		if s.has(i) {
			t.Errorf("%d is in", i)
		}
		if s.add(i); !s.has(i) || s.has(i+1) {
			t.Errorf("%d is not in, or the next is", i)
		}
	}
}

// BenchmarkPick is the choice alone.
func BenchmarkPick(b *testing.B) {
	nowhere := DialerFunc(func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("nowhere") })
	for _, n := range []int{3, 100} {
		var members []Member
		for i := range n {
			wrap := func(next Dialer) (Dialer, error) { return next, nil }
			members = append(members, Member{Hop: Hop{Name: fmt.Sprint(i), Wrap: wrap}, Weight: i + 1})
		}
		for s, name := range []string{"First", "RoundRobin", "Weighted", "Fastest", "LeastUsed", "Sticky", "Race"} {
			g, err := newGroup(place{}, nowhere, GroupOptions{Strategy: Strategy(s)}, members)
			if err != nil {
				b.Fatal(err)
			}
			b.Run(fmt.Sprint(name, "/", n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					c := choice{addr: "target:443", last: -1, now: 1}
					g.pick(&c)
				}
			})
		}
	}
}
