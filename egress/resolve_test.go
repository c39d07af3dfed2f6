package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/dnsask"
	"github.com/byway-proxy/byway/internal/testnet"
)

// book is names, and the way back.
type book struct{ names }

func (b book) LookupAddr(_ context.Context, addr string) ([]string, error) {
	for name, all := range b.names {
		for _, a := range all {
			if a.String() == addr {
				return []string{name + "."}, nil
			}
		}
	}
	return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
}

// TestResolve asks through a tunnel: what the policy refuses is not told, nor who
// has it.
func TestResolve(t *testing.T) {
	s, addr, token := start(t, &Policy{
		Base: testnet.NoDial(t), Deny: prefixes("203.0.113.0/24"),
		Resolver: book{names{
			"website.example": addrs("8.8.8.8", "2001:4860:4860::8888"), "six.example": addrs("2001:4860:4860::8844"),
			"inside.example": addrs("10.0.0.7"), "half.example": addrs("127.0.0.1", "8.8.4.4"), "denied.example": addrs("203.0.113.7"),
		}},
	})
	c := through(t, s, addr, token)
	for host, want := range map[string]any{
		"website.example": "8.8.8.8", "six.example": "2001:4860:4860::8844", "half.example": "8.8.4.4",
		"8.8.8.8": "website.example", "2001:4860:4860::8844": "six.example",
		"none.example": syscall.EHOSTUNREACH, "9.9.9.9": syscall.EHOSTUNREACH,
		"inside.example": syscall.EACCES, "denied.example": syscall.EACCES, "10.0.0.7": syscall.EACCES, "127.0.0.1": syscall.EACCES,
	} {
		got, err := c.Resolve(t.Context(), host)
		if errno, fails := want.(syscall.Errno); fails && (err == nil || chain.Errno(err) != errno) || !fails && (err != nil || got != want) {
			t.Errorf("%s: %q, %v; want %v", host, got, err, want)
		}
	}
}

// TestResolveIsForFriends: a stranger who knows the address sees the website, and
// nothing is looked up.
func TestResolveIsForFriends(t *testing.T) {
	s, addr, _ := start(t, &Policy{Base: testnet.NoDial(t), Resolver: forbidden{t}})
	c := through(t, s, addr, "wrong")
	if got, err := c.Resolve(t.Context(), "website.example"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("%q, %v", got, err)
	}
	_, atExit := c.Dial("tcp", dnsask.Exit)
	_, elsewhere := c.Dial("tcp", "website.example:443")
	if atExit == nil || elsewhere == nil || atExit.Error() != elsewhere.Error() {
		t.Errorf("a stranger can tell the address from another: %v, %v", atExit, elsewhere)
	}
}

// TestResolverWithoutNames has a Resolver that knows addresses alone.
func TestResolverWithoutNames(t *testing.T) {
	p := &Policy{Base: testnet.NoDial(t), Resolver: names{}}
	if _, err := (source{p}).Names(t.Context(), netip.MustParseAddr("8.8.8.8")); !errors.Is(err, ErrNotAllowed) {
		t.Error(err)
	}
	if _, err := (&Policy{}).DialContext(t.Context(), "tcp", dnsask.Exit); !errors.Is(err, ErrNotAllowed) {
		t.Errorf("the zero policy: %v", err)
	}
	if strings.HasSuffix(dnsask.Exit, ".invalid:53") == false {
		t.Error("the address could be somebody's")
	}
}
