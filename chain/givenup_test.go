package chain_test

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
)

// pooled makes of a hop one whose dials wait for a session that is made apart from them.
func pooled(h chain.Hop, deaf bool) chain.Hop {
	wrap := h.Wrap
	h.Wrap = func(next chain.Dialer) (chain.Dialer, error) {
		d, err := wrap(next)
		return chain.DialerFunc(func(ctx context.Context, network, addr string) (net.Conn, error) {
			apart, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
			defer cancel(nil)
			done := make(chan struct{})
			var conn net.Conn
			var err error
			go func() {
				defer close(done)
				if deaf {
					time.Sleep(time.Minute)
				}
				conn, err = d.DialContext(apart, network, addr)
			}()
			select {
			case <-done:
				return conn, err
			case <-ctx.Done():
				cancel(context.Cause(ctx))
				return nil, chain.GivenUp(ctx, done, func() error { return err })
			}
		}), err
	}
	return h
}

// TestGivenUp: a dial whose time ends while it waits for a session tells at which hop
// that was stuck, and that time was over.
func TestGivenUp(t *testing.T) {
	for name, test := range map[string]struct {
		set  map[string]fake
		deaf bool
		want string
	}{
		"on from the hop":   {map[string]fake{"b": {silent: true}}, false, "hop 3/3 c: dial: timed out"},
		"on the way to it":  {map[string]fake{"a": {silent: true}}, false, "hop 2/3 b: dial: timed out"},
		"with a deaf maker": {nil, true, "hop 2/3 b: dial: timed out"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				for hop, f := range test.set {
					w.set(hop, f)
				}
				c := w.chain(w.hop("a"), pooled(w.hop("b"), test.deaf), w.hop("c"))
				by, took := w.took(c, time.Second)
				expect(t, "error", by, test.want)
				if most := time.Second + 100*time.Millisecond; took > most {
					t.Errorf("took %v", took)
				}
				time.Sleep(2 * time.Hour)
			})
		})
	}
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	done := make(chan struct{})
	close(done)
	failed := chain.Fail(chain.PhaseAuth, syscall.EACCES)
	stuck := chain.Fail(chain.PhaseTLS, context.Canceled)
	for _, test := range []struct{ err, want error }{{nil, cause}, {errors.New("x"), cause}, {failed, failed}, {stuck, cause}} {
		err := chain.GivenUp(ctx, done, func() error { return test.err })
		if !errors.Is(err, test.want) {
			t.Errorf("%v: %v", test.err, err)
		}
		var e *chain.Error
		if tls := test.err == stuck; !errors.As(err, &e) || (e.Phase == chain.PhaseTLS) != tls {
			t.Errorf("%v: %v", test.err, err)
		}
	}
}
