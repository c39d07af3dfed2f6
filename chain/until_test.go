package chain_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"

	"github.com/byway-proxy/byway/chain"
)

// TestUntilEndsDialers: the dialer of an identity that is over is closed at once, or with
// the last dial that goes by it; those of others stay.
func TestUntilEndsDialers(t *testing.T) {
	for name, dialling := range map[string]bool{"idle": false, "amid a dial": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				closed, made := 0, 0
				hold := make(chan struct{})
				d := chain.PerIdentity(8, func() (chain.Dialer, error) {
					made++
					return closer{chain.DialerFunc(func(ctx context.Context, _, addr string) (net.Conn, error) {
						if addr == "slow:1" {
							<-hold
						}
						return nil, errors.New("no")
					}), func() { closed++ }}, nil
				})
				until, end := context.WithCancel(t.Context())
				defer end()
				old := chain.WithIdentity(t.Context(), chain.Identity{Key: "old", Until: until})
				other := chain.WithIdentity(t.Context(), chain.Identity{Key: "new"})
				dial := func(ctx context.Context, addr string) { _, _ = d.DialContext(ctx, "tcp", addr) }
				dial(old, "t:1")
				dial(other, "t:1")
				if dialling {
					go dial(old, "slow:1")
				}
				synctest.Wait()
				end()
				synctest.Wait()
				if (closed == 0) != dialling {
					t.Errorf("%d closed", closed)
				}
				close(hold)
				synctest.Wait()
				dial(other, "t:1")
				if closed != 1 || made != 2 {
					t.Errorf("%d closed, %d made", closed, made)
				}
				dial(old, "t:1") // one that was routed before
				synctest.Wait()
				if closed != 2 || made != 3 {
					t.Errorf("after a late dial: %d closed, %d made", closed, made)
				}
				_ = d.(interface{ Close() error }).Close()
			})
		})
	}
}

// TestUntilEndsSpares: those of an identity that is over are closed at once, and none is made.
func TestUntilEndsSpares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		h := w.hop("last")
		wrap := h.Wrap
		h.Wrap = func(next chain.Dialer) (chain.Dialer, error) {
			d, err := wrap(next)
			return preparing{d, next, "last:1"}, err
		}
		c := w.chain(chain.Spare(h, chain.SpareOptions{Max: 2}))
		open := func(want int, when string) {
			t.Helper()
			synctest.Wait()
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.open != want {
				t.Errorf("%s: %d open, want %d", when, w.open, want)
			}
		}
		until, end := context.WithCancel(t.Context())
		dial := func(id chain.Identity) {
			t.Helper()
			conn, err := c.DialContext(chain.WithIdentity(t.Context(), id), "tcp", "target:443")
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.Close()
		}
		dial(chain.Identity{Key: "old", Until: until})
		dial(chain.Identity{Key: "new"})
		open(2, "a spare for each")
		end()
		open(1, "one identity is over")
		dial(chain.Identity{Key: "old", Until: until})
		open(1, "after a late dial")
	})
}
