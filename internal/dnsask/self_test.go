package dnsask

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// known tells of itself.
type known struct{ self Self }

func (known) Addrs(context.Context, string) ([]netip.Addr, error) { return nil, errNotFound() }
func (known) Names(context.Context, netip.Addr) ([]string, error) { return nil, errNotFound() }
func (k known) Self() []string                                    { return k.self.Strings() }

// quiet does not.
type quiet struct{}

func (quiet) Addrs(context.Context, string) ([]netip.Addr, error) { return nil, errNotFound() }
func (quiet) Names(context.Context, netip.Addr) ([]string, error) { return nil, errNotFound() }

func TestSelf(t *testing.T) {
	ask := func(s Source) (Self, error) {
		near, far := net.Pipe()
		defer near.Close()
		go Answer(far, s, time.Minute)
		return AskSelf(t.Context(), near)
	}
	for _, want := range []Self{
		{Clock: time.UnixMilli(1_700_000_000_123)},
		{Clock: time.UnixMilli(1), Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}},
	} {
		got, err := ask(known{want})
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
	if got, err := ask(quiet{}); err == nil {
		t.Errorf("one that tells nothing told %+v", got)
	}
	for _, bad := range [][]string{nil, {"address=192.0.2.1"}, {"clock=noon"}, {"clock=1", "address=here"}, {"clock"}} {
		if got, err := parseSelf(bad); err == nil {
			t.Errorf("%q: %+v", bad, got)
		}
	}
}
