package chain_test

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
)

// waits is a dialer at which a connection comes in, or not; it must not be dialled.
type waits struct {
	chain.Dialer
	at          string // announced, if not ""
	err         error
	asked, come *int
}

func (w waits) Await(_ context.Context, _ string, announce func(string) error) (net.Conn, string, error) {
	*w.asked++
	if w.at != "" {
		if err := announce(w.at); err != nil {
			return nil, "", err
		}
	}
	if w.err != nil {
		return nil, "", chain.Fail(chain.PhaseConnect, w.err)
	}
	*w.come++
	near, far := testnet.Pipe(0)
	_ = far.Close()
	return near, "192.0.2.9:20", nil
}

// TestAwait: who has announced a port is the one that is waited for.
func TestAwait(t *testing.T) {
	never := testnet.NoDial(t)
	silent := chain.Hop{Name: "silent", Wrap: func(chain.Dialer) (chain.Dialer, error) { return never, nil }}
	for name, test := range map[string]struct {
		hops  func(first, second chain.Hop) []chain.Hop
		at    string // of the first, which fails then
		errno syscall.Errno
		asked [2]int
	}{
		"a chain's last":      {func(_, b chain.Hop) []chain.Hop { return []chain.Hop{silent, b} }, "", 0, [2]int{0, 1}},
		"not a chain's first": {func(_, b chain.Hop) []chain.Hop { return []chain.Hop{b, silent} }, "", syscall.EOPNOTSUPP, [2]int{0, 0}},
		"spares":              {func(_, b chain.Hop) []chain.Hop { return []chain.Hop{chain.Spare(b, chain.SpareOptions{})} }, "", 0, [2]int{0, 1}},
		"dynamic": {func(_, b chain.Hop) []chain.Hop {
			return []chain.Hop{chain.Dynamic("d", chain.DynamicOptions{}, silent, b)}
		}, "", 0, [2]int{0, 1}},
		"a group":               {group2, "", 0, [2]int{1, 1}},
		"a group that has told": {group2, "192.0.2.7:1", syscall.EHOSTUNREACH, [2]int{1, 0}},
	} {
		var asked [2]int
		var come int
		first := chain.Hop{Name: "first", Wrap: func(chain.Dialer) (chain.Dialer, error) {
			return waits{never, test.at, syscall.EHOSTUNREACH, &asked[0], &come}, nil
		}}
		second := chain.Hop{Name: "second", Wrap: func(chain.Dialer) (chain.Dialer, error) {
			return waits{never, "192.0.2.8:1", nil, &asked[1], &come}, nil
		}}
		c, err := chain.New(never, test.hops(first, second)...)
		if err != nil {
			t.Fatal(err)
		}
		told := 0
		conn, from, err := chain.Await(t.Context(), c, "192.0.2.9:20", func(string) error { told++; return nil })
		if chain.Errno(err) != test.errno || asked != test.asked || told > 1 || (err == nil) != (from == "192.0.2.9:20") {
			t.Errorf("%s: from %q, %v; asked %v, told %d times", name, from, err, asked, told)
		}
		if conn != nil {
			_ = conn.Close()
		}
		_ = c.Close()
	}
	for _, d := range []chain.Dialer{never, &net.Dialer{}, (*chain.Chain)(nil)} {
		if conn, _, err := chain.Await(t.Context(), d, "192.0.2.9:20", nil); err == nil || conn != nil {
			t.Errorf("%T waits", d)
		}
	}
	if _, _, err := chain.Await(t.Context(), &net.Dialer{}, "192.0.2.9:20", nil); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
}

func group2(a, b chain.Hop) []chain.Hop {
	return []chain.Hop{chain.Group("g", chain.GroupOptions{}, chain.Member{Hop: a}, chain.Member{Hop: b})}
}
