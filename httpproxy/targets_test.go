package httpproxy

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/byway-proxy/byway/relay"
)

// TestPools counts target conns: one is shared by one identity and one route only,
// and a rule that blocks holds for a pooled conn as well.
func TestPools(t *testing.T) {
	var mu sync.Mutex
	via := "a"
	p := newProxied(t, &Server{Users: users{"u": "p", "v": "p"}, Relay: &relay.Relay{}})
	other := p.dialer(nil)
	p.s.Relay.Router = relay.RouterFunc(func(context.Context, relay.Request) relay.Decision {
		mu.Lock()
		defer mu.Unlock()
		if via == "block" {
			return relay.Decision{Via: via}
		}
		return relay.Decision{Dialer: other, Via: via}
	})
	var conns sync.Map
	p.onTarget(t, func(_ http.ResponseWriter, r *http.Request) { conns.Store(r.RemoteAddr, true) })
	ask := func(user, url, how string, status int) {
		t.Helper()
		mu.Lock()
		via = how
		mu.Unlock()
		got, err := p.exchangeRaw(t, "GET "+url+" HTTP/1.1\r\nHost: a\r\n"+basic(user, "p")+"\r\n")
		if err != nil || !strings.HasPrefix(got, fmt.Sprintf("HTTP/1.1 %d ", status)) {
			t.Errorf("got %q, %v", got, err)
		}
	}
	for i, step := range []struct {
		user, url, via string
		status, dials  int
	}{
		{"u", "http://a.example/", "a", 200, 1},
		{"u", "http://a.example/x", "a", 200, 1}, // the same conn
		{"v", "http://a.example/", "a", 200, 2},  // another user
		{"u", "http://b.example/", "a", 200, 3},  // another host
		{"u", "http://a.example/", "b", 200, 4},  // another route
		{"u", "http://a.example/", "a", 200, 4},
		{"u", "http://a.example/", "block", 403, 4},
		{"v", "http://a.example/", "a", 200, 4},
	} {
		ask(step.user, step.url, step.via, step.status)
		if n := len(p.dialled()); n != step.dials {
			t.Errorf("step %d: %d dials, want %d", i, n, step.dials)
		}
	}
	n := 0
	conns.Range(func(any, any) bool { n++; return true })
	if n != 4 {
		t.Errorf("the target saw %d conns, want 4", n)
	}
}

// TestPoolsAreEachIdentitys: a conn to a target is not for those who call themselves
// otherwise, nor for who has a new identity.
func TestPoolsAreEachIdentitys(t *testing.T) {
	p := newProxied(t, &Server{})
	p.onTarget(t, func(http.ResponseWriter, *http.Request) {})
	for i, step := range []struct {
		auth  string
		fresh bool
		dials int
	}{
		{"", false, 1},
		{"", false, 1},
		{basic("one", "x"), false, 2},
		{basic("two", "x"), false, 3},
		{basic("two", "y"), false, 4},
		{basic("one", "x"), false, 4},
		{"", true, 5},
		{basic("one", "x"), false, 6},
		{"", false, 6},
	} {
		if step.fresh {
			p.s.Relay.NewIdentity()
		}
		got, err := p.exchangeRaw(t, "GET http://a.example/ HTTP/1.1\r\nHost: a\r\n"+step.auth+"\r\n")
		if err != nil || !strings.HasPrefix(got, "HTTP/1.1 200 ") {
			t.Errorf("got %q, %v", got, err)
		}
		if n := len(p.dialled()); n != step.dials {
			t.Errorf("step %d: %d dials, want %d", i, n, step.dials)
		}
	}
}

func TestPoolsAreBounded(t *testing.T) {
	var s Server
	s.Relay = &relay.Relay{}
	for i := range 3 * maxIdentities {
		s.targets.of(s.Relay, relay.Request{User: fmt.Sprint(i)}, relay.Decision{Dialer: &net.Dialer{}})
	}
	if n := len(s.targets.pool); n > maxIdentities {
		t.Errorf("%d identities are kept", n)
	}
}
