package relay_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

func blocks(how relay.Block) relay.Router {
	return relay.RouterFunc(func(context.Context, relay.Request) relay.Decision {
		return relay.Decision{Rule: "byway.toml:7", Block: how}
	})
}

func TestRefuseAndPageAreAtOnce(t *testing.T) {
	for _, how := range []relay.Block{relay.Refuse, relay.Page} {
		r := &relay.Relay{Router: blocks(how)}
		_, err := r.Route(t.Context(), relay.Request{Network: "tcp"})
		var blocked *relay.BlockedError
		if !errors.As(err, &blocked) || blocked.Rule != "byway.toml:7" || blocked.Block != how || !errors.Is(err, relay.ErrBlocked) || chain.Errno(err) != syscall.EACCES {
			t.Errorf("%v: %#v", how, err)
		}
	}
}

// TestDrop keeps 256 clients waiting for the dial limit, refuses the next, and lets
// all go when their context ends.
func TestDrop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := make(chan error, 1024)
		r := &relay.Relay{Router: blocks(relay.Drop), DialLimit: 20 * time.Second, Trace: &relay.Trace{
			Failed: func(_ relay.Request, _ relay.Decision, err error) { told <- err },
		}}
		began := time.Now()
		var wg sync.WaitGroup
		ask := func(ctx context.Context, want syscall.Errno, after time.Duration) {
			wg.Go(func() {
				near, far := testnet.Pipe(0)
				p := &pending{conn: near}
				err := r.Serve(ctx, p)
				if !errors.Is(err, relay.ErrBlocked) || chain.Errno(p.refused) != want || time.Since(began) != after {
					t.Errorf("%v, told %v, after %v", err, p.refused, time.Since(began))
				}
				_ = far.Close()
			})
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(3*time.Second, cancel)
		for range 255 {
			ask(t.Context(), syscall.ETIMEDOUT, 20*time.Second)
		}
		ask(ctx, syscall.ETIMEDOUT, 3*time.Second)
		synctest.Wait()
		ask(t.Context(), syscall.EACCES, 0)
		synctest.Wait()
		if len(told) != 257 {
			t.Errorf("the trace was told %d times", len(told))
		}
		if _, err := r.Route(t.Context(), relay.Request{Network: "udp"}); chain.Errno(err) != syscall.EACCES || time.Since(began) != 0 {
			t.Errorf("a datagram: %v after %v", err, time.Since(began))
		}
		time.Sleep(4 * time.Second)
		wg.Go(func() { // the place of the one that left is free
			if _, err := r.Route(t.Context(), relay.Request{Network: "tcp"}); chain.Errno(err) != syscall.ETIMEDOUT || time.Since(began) != 24*time.Second {
				t.Errorf("%v after %v", err, time.Since(began))
			}
		})
		wg.Wait()
	})
}

func TestDecisionsAddrIsDialled(t *testing.T) {
	var dialled []string
	d := chain.DialerFunc(func(_ context.Context, _, addr string) (net.Conn, error) {
		dialled = append(dialled, addr)
		return nil, errors.New("no")
	})
	r := &relay.Relay{}
	for _, addr := range []string{"", "127.0.0.1:80"} {
		_, _ = r.Dial(t.Context(), relay.Request{Network: "tcp", Addr: "0x7f.1:80"}, relay.Decision{Dialer: d, Addr: addr})
	}
	if len(dialled) != 2 || dialled[0] != "0x7f.1:80" || dialled[1] != "127.0.0.1:80" {
		t.Errorf("dialled %q", dialled)
	}
}

// TestAskIsBounded has a look-up that is silent, and one that asks again.
func TestAskIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := func(ctx context.Context) relay.Decision {
			if chain.IdentityOf(ctx).User != "alice" {
				t.Error("the look-up is nobody's")
			}
			<-ctx.Done()
			return relay.Decision{Rule: "failed"}
		}
		again := func(context.Context) relay.Decision { return relay.Decision{Dialer: dialerOf(), Ask: silent} }
		for _, ask := range []func(context.Context) relay.Decision{silent, again} {
			r := &relay.Relay{DialLimit: 7 * time.Second, Router: relay.RouterFunc(func(context.Context, relay.Request) relay.Decision {
				return relay.Decision{Ask: ask}
			})}
			began := time.Now()
			d, err := r.Route(t.Context(), relay.Request{Network: "tcp", Addr: "a:1", User: "alice"})
			if !errors.Is(err, relay.ErrBlocked) || d.Dialer != nil || time.Since(began) > 7*time.Second {
				t.Errorf("%+v, %v after %v", d, err, time.Since(began))
			}
		}
	})
}
