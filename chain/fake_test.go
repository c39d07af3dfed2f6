package chain_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
)

// A world is a base dialer that may be asked for first hops alone, hops by name,
// and what they were asked for.
type world struct {
	t     *testing.T
	mu    sync.Mutex
	hops  map[string]*fake
	first map[string]bool // what base may be asked for; nil is anything that is a hop
	asked []string        // hops, as their handshakes began
	conns map[net.Conn]string
	open  int // conns not closed
}

// A fake is a hop: it takes its time, then fails or not.
type fake struct {
	takes   time.Duration
	silent  bool // until it is given up
	refuses bool // to be dialled
	phase   chain.Phase
	err     error
}

func newWorld(t *testing.T) *world {
	return &world{t: t, hops: make(map[string]*fake), conns: make(map[net.Conn]string)}
}

func (w *world) set(name string, f fake) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hops[name] = &f
}

func (w *world) is(name string) fake {
	w.mu.Lock()
	defer w.mu.Unlock()
	if f := w.hops[name]; f != nil {
		return *f
	}
	return fake{}
}

// base dials hops, and fails the test for all else.
func (w *world) base() chain.Dialer {
	return chain.DialerFunc(func(ctx context.Context, _, addr string) (net.Conn, error) {
		name, port, _ := strings.Cut(addr, ":")
		w.mu.Lock()
		ok := port == "1" && (w.first == nil || w.first[name])
		w.mu.Unlock()
		if !ok {
			w.t.Errorf("the base was asked for %s", addr)
		}
		if w.is(name).refuses {
			return nil, syscall.ECONNREFUSED
		}
		near, far := testnet.Pipe(0)
		_ = far.Close()
		w.mu.Lock()
		defer w.mu.Unlock()
		w.open++
		return &counted{Conn: near, w: w}, nil
	})
}

type counted struct {
	net.Conn
	w    *world
	via  []string
	once sync.Once
}

func (c *counted) Close() error {
	c.once.Do(func() {
		c.w.mu.Lock()
		c.w.open--
		c.w.mu.Unlock()
	})
	return c.Conn.Close()
}

// hop returns the hop of that name, which is at name:1.
func (w *world) hop(name string) chain.Hop {
	return chain.Hop{Name: name, Wrap: func(next chain.Dialer) (chain.Dialer, error) {
		return chain.DialerFunc(func(ctx context.Context, network, target string) (net.Conn, error) {
			c, err := next.DialContext(ctx, network, name+":1")
			if err != nil {
				return nil, err
			}
			f := w.is(name)
			w.mu.Lock()
			w.asked = append(w.asked, name)
			w.mu.Unlock()
			if f.silent {
				f.takes = time.Hour
			}
			if f.takes > 0 {
				timer := time.NewTimer(f.takes)
				defer timer.Stop()
				select {
				case <-timer.C:
				case <-ctx.Done():
					f.phase, f.err = chain.PhaseConnect, context.Cause(ctx)
				}
			}
			if to, ok := strings.CutSuffix(target, ":1"); ok && f.err == nil && w.is(to).refuses {
				f.phase, f.err = chain.PhaseConnect, syscall.ECONNREFUSED
			}
			if f.err != nil {
				_ = c.Close()
				return nil, chain.Fail(f.phase, f.err)
			}
			c.(*counted).via = append(c.(*counted).via, name)
			return c, nil
		}), nil
	}}
}

func (w *world) members(names ...string) []chain.Member {
	var all []chain.Member
	for _, n := range names {
		all = append(all, chain.Member{Hop: w.hop(n)})
	}
	return all
}

func (w *world) chain(hops ...chain.Hop) *chain.Chain {
	w.t.Helper()
	c, err := chain.New(w.base(), hops...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	return c
}

// group returns a chain that is a group of fakes.
func (w *world) group(o chain.GroupOptions, names ...string) *chain.Chain {
	w.t.Helper()
	return w.chain(chain.Group("g", o, w.members(names...)...))
}

// via dials and returns the hops that the conn came through, a-b-c, or the error.
func (w *world) via(ctx context.Context, c chain.Dialer) string {
	conn, err := c.DialContext(ctx, "tcp", "target:443")
	if err != nil {
		if conn != nil {
			w.t.Error("both a conn and an error")
		}
		var e *chain.Error
		if !errors.As(err, &e) {
			w.t.Errorf("%v is no *chain.Error", err)
		}
		return err.Error()
	}
	defer conn.Close()
	return strings.Join(conn.(*counted).via, "-")
}

// took is via with the time that it took.
func (w *world) took(c chain.Dialer, limit time.Duration) (string, time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	began := time.Now()
	by := w.via(ctx, c)
	return by, time.Since(began)
}

// askedSince returns the handshakes since the last call.
func (w *world) askedSince() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := strings.Join(w.asked, " ")
	w.asked = nil
	return s
}

func (w *world) nothingOpen() {
	w.t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open != 0 {
		w.t.Errorf("%d conns were left open", w.open)
	}
}

func half() float64 { return 0.5 } // no jitter

func member(c *chain.Chain, name string) chain.MemberStatus {
	for _, g := range c.Groups() {
		if i := slices.IndexFunc(g.Members, func(m chain.MemberStatus) bool { return m.Name == name }); i >= 0 {
			return g.Members[i]
		}
	}
	return chain.MemberStatus{}
}

func expect(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}
