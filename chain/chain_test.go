package chain_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/net/proxy"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
)

var (
	_ proxy.Dialer        = (*chain.Chain)(nil)
	_ proxy.ContextDialer = (*chain.Chain)(nil)
	_ chain.Dialer        = (*net.Dialer)(nil)
	_ chain.Dialer        = proxy.ContextDialer(nil)
)

// relayHop is a hop that dials its own address, then acts on what it is asked for.
func relayHop(name, addr string, onward func(addr string) error) chain.Hop {
	return chain.Hop{Name: name, Wrap: func(next chain.Dialer) (chain.Dialer, error) {
		return chain.DialerFunc(func(ctx context.Context, network, target string) (net.Conn, error) {
			c, err := next.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			if err := onward(target); err != nil {
				_ = c.Close()
				return nil, err
			}
			return c, nil
		}), nil
	}}
}

func yes(string) error { return nil }

func no(phase chain.Phase, err error) func(string) error {
	return func(string) error { return chain.Fail(phase, err) }
}

func TestNewRefuses(t *testing.T) {
	d := testnet.NoDial(t)
	good := relayHop("a", "a:1", yes)
	for name, f := range map[string]func() (*chain.Chain, error){
		"no base":      func() (*chain.Chain, error) { return chain.New(nil, good) },
		"no hops":      func() (*chain.Chain, error) { return chain.New(d) },
		"zero hop":     func() (*chain.Chain, error) { return chain.New(d, good, chain.Hop{}) },
		"nil dialer":   func() (*chain.Chain, error) { return chain.New(d, chain.Hop{Wrap: nilDialer}) },
		"Wrap's error": func() (*chain.Chain, error) { return chain.New(d, chain.Hop{Wrap: failing}) },
	} {
		if c, err := f(); err == nil || c != nil {
			t.Errorf("%s: got %v, %v; want an error", name, c, err)
		}
	}
	if _, err := new(chain.Chain).Dial("tcp", "target:1"); err == nil {
		t.Error("a zero Chain dialled")
	}
	c, err := chain.New(d, good)
	if err != nil {
		t.Fatal(err)
	}
	for _, network := range []string{"", "unix", "ip", "tcp4", "tcp6"} {
		if _, err := c.Dial(network, "target:1"); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("network %q: error %v", network, err)
		}
	}
}

func nilDialer(chain.Dialer) (chain.Dialer, error) { return nil, nil }
func failing(chain.Dialer) (chain.Dialer, error)   { return nil, errors.New("out of order") }

// TestBaseIsForHopOneAlone breaks a chain in each place, and looks at what the base was asked for.
func TestBaseIsForHopOneAlone(t *testing.T) {
	for _, broken := range []string{"none", "a", "b", "c"} {
		var asked []string
		base := chain.DialerFunc(func(_ context.Context, network, addr string) (net.Conn, error) {
			asked = append(asked, network+" "+addr)
			if broken == "a" {
				return nil, syscall.ECONNREFUSED
			}
			near, far := testnet.Pipe(0)
			_ = far.Close()
			return near, nil
		})
		onward := func(name string) func(string) error {
			if name == broken {
				return no(chain.PhaseConnect, syscall.ECONNREFUSED)
			}
			return yes
		}
		c, err := chain.New(base, relayHop("a", "a:1", yes),
			relayHop("b", "b:2", onward("b")), relayHop("c", "c:3", onward("c")))
		if err != nil {
			t.Fatal(err)
		}
		conn, err := c.Dial("tcp", "secret.example:443")
		if (err == nil) != (broken == "none") {
			t.Errorf("broken %s: error %v", broken, err)
		}
		if conn != nil {
			_ = conn.Close()
		}
		if got := strings.Join(asked, ","); got != "tcp a:1" {
			t.Errorf("broken %s: the base was asked for %q", broken, got)
		}
	}
}

func TestErrorNamesHopAndPhase(t *testing.T) {
	refused := syscall.ECONNREFUSED
	base := func(err error) chain.Dialer {
		return chain.DialerFunc(func(context.Context, string, string) (net.Conn, error) {
			if err != nil {
				return nil, err
			}
			near, far := testnet.Pipe(0)
			_ = far.Close()
			return near, nil
		})
	}
	netErr := &net.OpError{Op: "dial", Net: "tcp", Addr: testnet.Addr("10.1.2.3:4"), Err: refused}
	for _, test := range []struct {
		name string
		base error
		a, b func(string) error
		want string
	}{
		{"hop 1 refused", netErr, yes, yes, "hop 1/2 a: dial: connection refused"},
		{"hop 1 not found", &net.DNSError{Name: "secret.example", IsNotFound: true}, yes, yes, "hop 1/2 a: dial: its name does not resolve"},
		{"hop 1 timeout", context.DeadlineExceeded, yes, yes, "hop 1/2 a: dial: timed out"},
		{"hop 1 auth", nil, no(chain.PhaseAuth, errors.New("rejected")), yes, "hop 1/2 a: auth: rejected"},
		{"hop 2 refused, as hop 1 says", nil, no(chain.PhaseConnect, refused), yes, "hop 2/2 b: dial: connection refused"},
		{"hop 1 forbids hop 2", nil, no(chain.PhaseConnect, syscall.EACCES), yes, "hop 1/2 a: connect: permission denied"},
		{"hop 2 auth", nil, yes, no(chain.PhaseAuth, errors.New("rejected")), "hop 2/2 b: auth: rejected"},
		{"target refused", nil, yes, no(chain.PhaseConnect, refused), "hop 2/2 b: connect: connection refused"},
		{"no phase told", nil, yes, func(string) error { return refused }, "hop 2/2 b: connect: connection refused"},
	} {
		c, err := chain.New(base(test.base), relayHop("a", "a:1", test.a), relayHop("b", "b:2", test.b))
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Dial("tcp", "secret.example:443")
		var e *chain.Error
		if !errors.As(err, &e) || err.Error() != test.want {
			t.Errorf("%s: error %q, want %q", test.name, err, test.want)
		}
		if strings.HasSuffix(test.want, "refused") && !errors.Is(err, refused) {
			t.Errorf("%s: the error is not ECONNREFUSED", test.name)
		}
	}
}

// TestChainOfChains uses a chain as the base of another: the innermost stamp wins.
func TestChainOfChains(t *testing.T) {
	base := chain.DialerFunc(func(context.Context, string, string) (net.Conn, error) {
		return nil, syscall.ECONNREFUSED
	})
	inner, err := chain.New(base, relayHop("a", "a:1", yes))
	if err != nil {
		t.Fatal(err)
	}
	outer, err := chain.New(inner, relayHop("x", "x:1", yes), relayHop("y", "y:1", yes))
	if err != nil {
		t.Fatal(err)
	}
	_, err = outer.Dial("tcp", "t:1")
	if want := "hop 1/1 a: dial: connection refused"; err == nil || err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
}

func TestCloseReachesHops(t *testing.T) {
	var closed []string
	hop := func(name string) chain.Hop {
		return chain.Hop{Name: name, Wrap: func(next chain.Dialer) (chain.Dialer, error) {
			return closer{next, func() { closed = append(closed, name) }}, nil
		}}
	}
	c, err := chain.New(testnet.NoDial(t), hop("a"), hop("b"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil || strings.Join(closed, "") != "ba" {
		t.Errorf("closed %v, error %v", closed, err)
	}
}

type closer struct {
	chain.Dialer
	f func()
}

func (c closer) Close() error { c.f(); return nil }
