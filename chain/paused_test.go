package chain

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
)

// TestPaused: a hop that is paused is not gone through, by whichever way; a group takes another
// member meanwhile.
func TestPaused(t *testing.T) {
	var paused atomic.Bool
	dialled := ""
	mark := func(name string, flag *atomic.Bool) Hop {
		return Hop{Name: name, Paused: flag, Wrap: func(next Dialer) (Dialer, error) {
			return DialerFunc(func(ctx context.Context, network, addr string) (net.Conn, error) {
				dialled += name
				return next.DialContext(ctx, network, addr)
			}), nil
		}}
	}
	// warm needs no hop before it, as one with a session.
	warm := Hop{Name: "w", Wrap: func(Dialer) (Dialer, error) {
		return DialerFunc(func(context.Context, string, string) (net.Conn, error) {
			dialled += "w"
			c, _ := net.Pipe()
			return c, nil
		}), nil
	}}
	base := DialerFunc(func(context.Context, string, string) (net.Conn, error) {
		c, _ := net.Pipe()
		return c, nil
	})
	a, b := mark("a", &paused), mark("b", nil)
	for name, test := range map[string]struct {
		hops         []Hop
		then, paused string // what is dialled
		fails        string
	}{
		"alone":      {[]Hop{a}, "a", "", "hop 1/1 a: dial: paused"},
		"first":      {[]Hop{a, b}, "ba", "", "hop 1/2 a: dial: paused"},
		"behind":     {[]Hop{b, a}, "ab", "", "hop 2/2 a: dial: paused"},
		"warm":       {[]Hop{a, warm}, "w", "", "hop 1/2 a: dial: paused"},
		"in a chain": {[]Hop{Sequence("s", a, b), warm}, "w", "", "hop 1/2 s/a: dial: paused"},
		"in a group": {[]Hop{Group("g", GroupOptions{}, Member{Hop: a}, Member{Hop: b})}, "a", "b", ""},
	} {
		c, err := New(base, test.hops...)
		if err != nil {
			t.Fatal(err)
		}
		dial := func() (string, error) {
			dialled = ""
			conn, err := c.DialContext(t.Context(), "tcp", "t.example:1")
			if err == nil {
				_ = conn.Close()
			}
			return dialled, err
		}
		paused.Store(false)
		if got, err := dial(); got != test.then || err != nil {
			t.Errorf("%s: dialled %q, %v", name, got, err)
		}
		paused.Store(true)
		got, err := dial()
		if got != test.paused || (err == nil) != (test.fails == "") || err != nil && (err.Error() != test.fails || !errors.Is(err, ErrPaused)) {
			t.Errorf("%s, paused: dialled %q, %v", name, got, err)
		}
		_ = c.Close()
	}
}
