package chain_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
)

// TestNestedPlaces: the number is that of the whole chain, the name tells the rest.
func TestNestedPlaces(t *testing.T) {
	build := func(w *world) []*chain.Chain {
		inner := chain.Sequence("s", w.hop("a"), w.hop("b"))
		return []*chain.Chain{
			w.chain(w.hop("x"), inner, w.hop("z")),
			w.chain(inner),
			w.chain(w.hop("x"), chain.Group("g", chain.GroupOptions{}, chain.Member{Hop: inner}), w.hop("z")),
		}
	}
	auth := fake{phase: chain.PhaseAuth, err: errors.New("rejected")}
	refuses := fake{refuses: true}
	for _, test := range []struct {
		broken string
		is     fake
		want   [3]string
	}{
		{"a", auth, [3]string{"hop 2/3 s/a: auth: rejected", "hop 1/2 s/a: auth: rejected", "hop 2/3 g/s/a: auth: rejected"}},
		{"b", auth, [3]string{"hop 2/3 s/b: auth: rejected", "hop 2/2 s/b: auth: rejected", "hop 2/3 g/s/b: auth: rejected"}},
		{"a", refuses, [3]string{"hop 2/3 s/a: dial: connection refused", "hop 1/2 s/a: dial: connection refused", "hop 2/3 g/s/a: dial: connection refused"}},
		{"b", refuses, [3]string{"hop 2/3 s/b: dial: connection refused", "hop 2/2 s/b: dial: connection refused", "hop 2/3 g/s/b: dial: connection refused"}},
		{"z", refuses, [3]string{"hop 3/3 z: dial: connection refused", "a-b", "hop 3/3 z: dial: connection refused"}},
		{"x", auth, [3]string{"hop 1/3 x: auth: rejected", "a-b", "hop 1/3 x: auth: rejected"}},
	} {
		w := newWorld(t)
		w.set(test.broken, test.is)
		for i, c := range build(w) {
			expect(t, fmt.Sprintf("%s broken, chain %d", test.broken, i), w.via(t.Context(), c), test.want[i])
		}
	}
}

// TestGroupsOfChains: a member that is a chain fails over as a whole.
func TestGroupsOfChains(t *testing.T) {
	w := newWorld(t)
	pool := chain.Group("pool", chain.GroupOptions{}, w.members("b", "c")...)
	c := w.chain(chain.Group("g", chain.GroupOptions{},
		chain.Member{Hop: chain.Sequence("one", w.hop("a"), pool)},
		chain.Member{Hop: chain.Sequence("two", w.hop("d"), w.hop("e"))}), w.hop("z"))
	expect(t, "well", w.via(t.Context(), c), "a-b-z")
	w.set("b", fake{refuses: true})
	expect(t, "the inner group fails over", w.via(t.Context(), c), "a-c-z")
	w.set("c", fake{phase: chain.PhaseTLS, err: errOdd})
	expect(t, "the outer group fails over", w.via(t.Context(), c), "d-e-z")
	if m := member(c, "one"); m.Alive {
		t.Errorf("%+v", m)
	}
	if all := c.Groups(); len(all) != 2 || all[0].Name != "g" || all[1].Name != "g/one/pool" {
		t.Errorf("groups %+v", all)
	}
}

// TestForbiddenWithin: only of the exit is a rule's no the answer to the request.
func TestForbiddenWithin(t *testing.T) {
	w := newWorld(t)
	c := w.chain(chain.Group("g", chain.GroupOptions{},
		chain.Member{Hop: chain.Sequence("one", w.hop("a"), w.hop("b"))},
		chain.Member{Hop: chain.Sequence("two", w.hop("c"), w.hop("d"))}))
	forbids := fake{phase: chain.PhaseConnect, err: syscall.EACCES}
	w.set("a", forbids)
	expect(t, "a forbids b", w.via(t.Context(), c), "c-d")
	w.set("d", forbids)
	expect(t, "d forbids the target", w.via(t.Context(), c), "hop 2/2 g/two/d: connect: permission denied")
}

// TestRawConnsStayRaw, so that they can be spliced.
func TestRawConnsStayRaw(t *testing.T) {
	l := testnet.Listen(t)
	go testnet.Echo(l)
	hop := func(name string) chain.Hop { return relayHop(name, l.Addr().String(), yes) }
	members := []chain.Member{{Hop: hop("a")}, {Hop: hop("b")}}
	for _, h := range []chain.Hop{
		chain.Group("g", chain.GroupOptions{}, members...),
		chain.Group("g", chain.GroupOptions{Strategy: chain.Race}, members...),
		chain.Dynamic("d", chain.DynamicOptions{}, hop("a"), hop("b")),
		chain.Random("r", chain.RandomOptions{Hops: 1}, hop("a"), hop("b")),
		chain.Sequence("s", hop("a"), hop("b")),
	} {
		c, err := chain.New(&net.Dialer{}, h)
		if err != nil {
			t.Fatal(err)
		}
		var lease chain.Lease
		ctx, cancel := context.WithCancel(chain.WithLease(t.Context(), &lease))
		conn, err := c.DialContext(ctx, "tcp", "t:1")
		cancel() // the conn does not die with it
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := conn.(*net.TCPConn); !ok {
			t.Errorf("%s: a %T", h.Name, conn)
		}
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Error(err)
		}
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			t.Error(err)
		}
		_ = conn.Close()
		lease.Release()
		_ = c.Close()
	}
}

// TestTargetErrno: what the last hop says of its target is told, and what befell the way
// there is not mistaken for it.
func TestTargetErrno(t *testing.T) {
	const refused, reset = syscall.ECONNREFUSED, syscall.ECONNRESET
	for name, test := range map[string]struct {
		hop  string
		fake fake
		want syscall.Errno
	}{
		"the target refuses":         {"b", fake{phase: chain.PhaseConnect, err: refused}, refused},
		"a rule of the exit":         {"b", fake{phase: chain.PhaseConnect, err: syscall.EACCES}, syscall.EACCES},
		"the exit hangs up":          {"b", fake{phase: chain.PhaseConnect, err: reset}, reset},
		"the exit can't be reached":  {"b", fake{refuses: true}, 0},
		"the exit has another rule":  {"b", fake{phase: chain.PhaseAuth, err: syscall.EACCES}, 0},
		"hop 1 can't be reached":     {"a", fake{refuses: true}, 0},
		"hop 1 forbids the exit":     {"a", fake{phase: chain.PhaseConnect, err: syscall.EACCES}, 0},
		"hop 1 hangs up":             {"a", fake{phase: chain.PhaseAuth, err: reset}, 0},
		"hop 1 is silent":            {"a", fake{phase: chain.PhaseTLS, err: context.DeadlineExceeded}, syscall.ETIMEDOUT},
		"hop 1 can't carry the exit": {"a", fake{phase: chain.PhaseConnect, err: syscall.EAFNOSUPPORT}, syscall.EAFNOSUPPORT},
	} {
		w := newWorld(t)
		w.set(test.hop, test.fake)
		alone := w.chain(w.hop("a"), w.hop("b"))
		grouped := w.chain(w.hop("a"), chain.Group("g", chain.GroupOptions{}, w.members("b")...))
		for _, c := range []*chain.Chain{alone, grouped} {
			_, err := c.DialContext(t.Context(), "tcp", "target:443")
			if got := chain.TargetErrno(err); got != test.want {
				t.Errorf("%s: %v, want %v of %v", name, got, test.want, err)
			}
		}
	}
	for err, want := range map[error]syscall.Errno{nil: 0, refused: refused, errors.New("x"): 0} {
		if got := chain.TargetErrno(err); got != want {
			t.Errorf("%v, of no chain: %v", err, got)
		}
	}
}
