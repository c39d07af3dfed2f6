package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
)

// A counting hop resolves all names to one address, unless it is to fail.
type counting struct {
	n    atomic.Int32
	fail atomic.Pointer[error]
}

func (c *counting) DialContext(context.Context, string, string) (net.Conn, error) {
	return nil, syscall.EACCES
}

func (c *counting) Resolve(_ context.Context, host string) (string, error) {
	c.n.Add(1)
	if err := c.fail.Load(); err != nil {
		return "", *err
	}
	if strings.HasPrefix(host, "no.") {
		return "", &net.DNSError{IsNotFound: true}
	}
	return "192.0.2.7", nil
}

func newLookups(t *testing.T) (*lookups, *counting, *strings.Builder) {
	t.Helper()
	hop, log := new(counting), new(strings.Builder)
	c, err := chain.New(hop, chain.Hop{Name: "hop", Wrap: func(chain.Dialer) (chain.Dialer, error) { return hop, nil }})
	if err != nil {
		t.Fatal(err)
	}
	return &lookups{Chain: c, via: "c", log: slog.New(slog.NewTextHandler(log, nil))}, hop, log
}

// TestLookupsAreKept for a minute, for the identity that asked, and so many of them.
func TestLookupsAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, hop, _ := newLookups(t)
		ask := func(key, host string, want int32) {
			t.Helper()
			before := hop.n.Load()
			got, err := chain.Resolve(chain.WithIdentity(t.Context(), chain.Identity{Key: key}), l, host)
			if got != "192.0.2.7" || err != nil || hop.n.Load()-before != want {
				t.Errorf("%s for %s: %q, %v; asked %d times, want %d", host, key, got, err, hop.n.Load()-before, want)
			}
		}
		ask("alice", "a.example", 1)
		ask("alice", "a.example", 0)
		ask("bob", "a.example", 1)
		time.Sleep(lookupFor - time.Second)
		ask("alice", "a.example", 0)
		ask("alice", "b.example", 1)
		time.Sleep(time.Second)
		ask("alice", "a.example", 1)
		ask("alice", "b.example", 0)
		for i := range mostLookups - 1 {
			ask("alice", fmt.Sprint(i), 1)
		}
		ask("alice", "0", 0)
		ask("alice", "b.example", 0)
		ask("alice", "a.example", 1)
		if l.used.Len() != mostLookups || len(l.by) != mostLookups {
			t.Errorf("%d and %d are kept", l.used.Len(), len(l.by))
		}
		for range 2 {
			if got, err := l.Resolve(t.Context(), "no.example"); err == nil {
				t.Errorf("no.example is %s", got)
			}
		}
	})
}

// TestLookupsTell of failures once, and of the end of them. Names are not told.
func TestLookupsTell(t *testing.T) {
	l, hop, log := newLookups(t)
	given, cancel := context.WithCancel(t.Context())
	cancel()
	for i, step := range []struct {
		ctx  context.Context
		err  error
		host string
		want string
	}{
		{t.Context(), nil, "a", ""},
		{t.Context(), nil, "no.example", ""},
		{given, context.Canceled, "secret", ""},
		{t.Context(), syscall.EOPNOTSUPP, "secret", "level=WARN msg=\"look-ups for rules fail"},
		{t.Context(), syscall.ECONNREFUSED, "secret", ""},
		{given, context.Canceled, "secret", ""},
		{t.Context(), nil, "no.example", "level=INFO msg=\"look-ups for rules work again\" via=c"},
		{t.Context(), errors.New("x"), "secret", "level=WARN"},
		{t.Context(), nil, "b", "level=INFO"},
	} {
		hop.fail.Store(nil)
		if step.err != nil {
			hop.fail.Store(&step.err)
		}
		log.Reset()
		_, _ = l.Resolve(step.ctx, step.host)
		if got := log.String(); (step.want == "") != (got == "") || !strings.Contains(got, step.want) || strings.Contains(got, "secret") {
			t.Errorf("step %d: told %q, want %q", i, got, step.want)
		}
	}
}
