package httpproxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/dnsask"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

// oneName is a source of website.example.
type oneName struct{}

func (oneName) Addrs(_ context.Context, name string) ([]netip.Addr, error) {
	if name != "website.example" {
		return nil, &net.DNSError{IsNotFound: true}
	}
	return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil
}

func (oneName) Names(context.Context, netip.Addr) ([]string, error) {
	return []string{"website.example."}, nil
}

func TestResolve(t *testing.T) {
	for _, h1only := range []bool{false, true} {
		exit := chain.DialerFunc(func(_ context.Context, network, addr string) (net.Conn, error) {
			if network != "tcp" || addr != dnsask.Exit {
				t.Errorf("the far end was asked for %s %s", network, addr)
			}
			near, far := testnet.Pipe(0)
			go dnsask.Answer(far, oneName{}, time.Minute)
			return near, nil
		})
		srv := serveTLS(t, testnet.Listen(t), h1only, tunnelled(&relay.Relay{Router: direct(exit)}, ConnectOptions{}))
		d := wrap(t, HopTLS(srv.l.Addr().String(), HopOptions{TLS: trust(testCert())}), &net.Dialer{})
		for host, want := range map[string]string{"website.example": "192.0.2.1", "192.0.2.1": "website.example"} {
			if got, err := chain.Resolve(t.Context(), d, host); got != want || err != nil {
				t.Errorf("h1 %v: %s: %q, %v", h1only, host, got, err)
			}
		}
		if _, err := chain.Resolve(t.Context(), d, "none.example"); chain.Errno(err) != syscall.EHOSTUNREACH {
			t.Errorf("h1 %v: %v", h1only, err)
		}
	}
}

// TestResolveElsewhere: a proxy that is no egress is asked once.
func TestResolveElsewhere(t *testing.T) {
	for name, dial := range map[string]func() (net.Conn, error){
		"refuses": func() (net.Conn, error) { return nil, relay.ErrBlocked },
		"knows no such name": func() (net.Conn, error) {
			return nil, &net.DNSError{Name: dnsask.Exit, IsNotFound: true}
		},
		"leads to a website": func() (net.Conn, error) {
			near, far := testnet.Pipe(0)
			_, _ = far.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			return near, nil
		},
	} {
		var asked atomic.Int32
		far := chain.DialerFunc(func(context.Context, string, string) (net.Conn, error) {
			asked.Add(1)
			return dial()
		})
		srv := serveTLS(t, testnet.Listen(t), false, tunnelled(&relay.Relay{Router: direct(far)}, ConnectOptions{}))
		d := wrap(t, HopTLS(srv.l.Addr().String(), HopOptions{TLS: trust(testCert())}), &net.Dialer{})
		for range 3 {
			if got, err := chain.Resolve(t.Context(), d, "website.example"); !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("%s: %q, %v", name, got, err)
			}
		}
		if asked.Load() != 1 {
			t.Errorf("%s: asked %d times", name, asked.Load())
		}
	}
	if _, err := chain.Resolve(t.Context(), wrap(t, Hop("hop1:80", HopOptions{}), testnet.NoDial(t)), "a.example"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("an http hop: %v", err)
	}
}
