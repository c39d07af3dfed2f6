//go:build interop

package interop

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"
)

// passes is what a peer alone makes of the two half-closes, and whether it takes a
// target by name.
type passes struct{ client, target, names bool }

// halves reports whether both half-closes come through.
func (p passes) halves() bool { return p.client && p.target }

// Names of exchanges whose outcome the peer decides.
const (
	clientEnds = "client ends first"
	targetEnds = "target ends first"
	bothEnd    = "both at once"
)

// of reports whether all of the exchange e comes through.
func (p passes) of(e exchange) bool {
	switch e.name {
	case clientEnds:
		return p.client
	case targetEnds:
		return p.target
	}
	return true
}

var controls sync.Map // the name of a peer: func() (passes, error)

// control measures what p does without byway, once a run.
func (p peer) control(ctx context.Context) (passes, error) {
	f, _ := controls.LoadOrStore(p.name, sync.OnceValues(func() (passes, error) {
		var got passes
		for _, e := range exchanges {
			if e.name == bothEnd {
				continue // a peer that ends both directions is in a race there
			}
			o, err := e.run(ctx, p.direct(), "127.0.0.1")
			if err != nil {
				return got, err
			}
			whole := o.up == nil && o.down == nil
			switch e.name {
			case clientEnds:
				got.client = whole
				err = o.up // what was sent before the end must have come
			case targetEnds:
				got.target = whole
				err = o.down
			default:
				err = errors.Join(o.up, o.down)
			}
			if err != nil {
				return got, err
			}
		}
		_, err := exchanges[0].run(ctx, p.direct(), "localhost")
		got.names = err == nil
		if errors.As(err, new(replyError)) {
			err = nil
		}
		return got, err
	}))
	return f.(func() (passes, error))()
}

// through returns what a chain of the peers must pass on: what all those do to
// whom a half-close travels as one of TCP. An https hop takes a tunnel as a stream
// of an HTTP/2 session, so the hops before it never see the tunnel's ends.
func through(t *testing.T, peers []peer) passes {
	t.Helper()
	want := passes{client: true, target: true}
	for _, p := range peers {
		if p.scheme == "https" {
			want = passes{client: true, target: true}
		}
		got, err := p.control(t.Context())
		if err != nil {
			t.Fatalf("%s, without byway: %v", p.name, err)
		}
		want.client, want.target = want.client && got.client, want.target && got.target
		want.names = got.names // the last hop alone sees the target
	}
	return want
}

// TestControl measures the peers without byway: the table in the package's
// documentation. What is not a peer's fault in the other tests is told by it.
func TestControl(t *testing.T) {
	for _, get := range peers {
		p, err := get()
		if errors.As(err, new(missing)) && os.Getenv("CI") == "" {
			t.Log(err)
			continue
		}
		p = need(t, p, err)
		got, err := p.control(t.Context())
		if err != nil {
			t.Errorf("%s: %v", p.name, err)
		}
		t.Logf("%-12s passes the client's end on: %-5v  the target's: %-5v  takes names: %v", p.name, got.client, got.target, got.names)
		if p.name == "egress" && got != (passes{true, true, true}) {
			t.Error("over HTTP/1.1, byway's egress is no better than those that lose a direction or a name")
		}
	}
}
