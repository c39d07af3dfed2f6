package upstream_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/egress/front/upstream"
)

// names is a Resolver of a table that changes.
type names struct {
	mu    sync.Mutex
	addrs map[string][]string
	srv   map[string][]*net.SRV
	asked int
	took  time.Duration
}

func (n *names) set(host string, addrs ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.addrs == nil {
		n.addrs = make(map[string][]string)
	}
	n.addrs[host] = addrs
}

func (n *names) LookupNetIP(_ context.Context, _, host string) (all []netip.Addr, err error) {
	time.Sleep(n.took)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	for _, a := range n.addrs[host] {
		all = append(all, netip.MustParseAddr(a))
	}
	if all == nil {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return all, nil
}

func (n *names) LookupSRV(_ context.Context, _, _, name string) (string, []*net.SRV, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.srv[name] == nil {
		return "", nil, errors.New("no such service")
	}
	return name, slices.Clone(n.srv[name]), nil
}

// originOf returns an origin at u, whose clients remember their address.
func originOf(t *testing.T, u string, follow bool) upstream.Origin {
	parsed, err := url.Parse(u)
	if err != nil {
		t.Fatal(err)
	}
	return upstream.Origin{
		Server: upstream.Server{Name: parsed.Host, URL: parsed}, Follow: follow,
		Client: func(string) (upstream.Client, error) { return &fake{}, nil },
	}
}

func namesOf(p *upstream.Pool) string {
	var all []string
	for _, s := range p.Servers() {
		all = append(all, s.Server.Name)
	}
	return strings.Join(all, " ")
}

func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &names{took: time.Second}
		n.set("api.example", "10.0.0.2", "10.0.0.1", "::ffff:10.0.0.1", "fd00::1")
		var unresolved []string
		p := pool(t, nil, upstream.Settings{Trace: &upstream.Trace{Unresolved: func(name string, err error) {
			unresolved = append(unresolved, name)
		}}})
		err := p.Follow([]upstream.Origin{originOf(t, "http://192.0.2.1:80", false), originOf(t, "http://api.example:8080", true)}, n, 30*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		l := pick(t, p, wish("")) // waits for the first look-up
		l.Release()
		if time.Since(start) != time.Second {
			t.Errorf("waited for %v", time.Since(start))
		}
		const all = "192.0.2.1:80 10.0.0.1:8080 10.0.0.2:8080 [fd00::1]:8080"
		if got := namesOf(p); got != all {
			t.Errorf("servers %s", got)
		}
		first := p.Servers()[2].Server
		n.set("api.example", "10.0.0.2", "10.0.0.3")
		time.Sleep(32 * time.Second)
		if got := namesOf(p); got != "192.0.2.1:80 10.0.0.2:8080 10.0.0.3:8080" || p.Servers()[1].Server != first {
			t.Errorf("servers %s; the one that stays is the same: %v", got, p.Servers()[1].Server == first)
		}
		n.set("api.example")
		time.Sleep(5 * time.Minute)
		if got := namesOf(p); got != "192.0.2.1:80 10.0.0.2:8080 10.0.0.3:8080" || len(unresolved) < 10 {
			t.Errorf("the name is gone, the servers are %s; told %d times", got, len(unresolved))
		}
		n.set("api.example", "10.0.0.4")
		time.Sleep(35 * time.Second)
		if got := namesOf(p); got != "192.0.2.1:80 10.0.0.4:8080" {
			t.Errorf("servers %s", got)
		}
	})
}

// TestFollowFromNothing has requests fail while a name has never been found, and go on soon after it is.
func TestFollowFromNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &names{}
		p := pool(t, nil, upstream.Settings{})
		if err := p.Follow([]upstream.Origin{originOf(t, "http://api.example", true)}, n, time.Minute); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Pick(wish("")); !errors.Is(err, upstream.ErrNone) {
			t.Errorf("got %v", err)
		}
		n.set("api.example", "10.0.0.1")
		time.Sleep(1100 * time.Millisecond)
		if got := namesOf(p); got != "10.0.0.1:80" {
			t.Errorf("servers %s", got)
		}
	})
}

func TestFollowServices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &names{srv: map[string][]*net.SRV{"_http._tcp.example": {
			{Target: "spare.example.", Port: 8080, Priority: 20, Weight: 1},
			{Target: "a.example.", Port: 8080, Priority: 10, Weight: 3},
			{Target: "b.example.", Port: 8081, Priority: 10, Weight: 1},
			{Target: ".", Port: 0, Priority: 1},
		}}}
		n.set("a.example", "10.0.0.1")
		n.set("b.example", "10.0.0.2")
		n.set("spare.example", "10.0.0.9")
		p := pool(t, nil, upstream.Settings{Pick: upstream.RoundRobin})
		if err := p.Follow([]upstream.Origin{originOf(t, "http+srv://_http._tcp.example", false)}, n, 30*time.Second); err != nil {
			t.Fatal(err)
		}
		if got := serve(t, p, 40); got["10.0.0.1:8080"] != 30 || got["10.0.0.2:8081"] != 10 {
			t.Errorf("got %v", got)
		}
		n.set("a.example")
		n.set("b.example")
		time.Sleep(31 * time.Second)
		if got := namesOf(p); got != "10.0.0.9:8080" {
			t.Errorf("servers %s", got)
		}
	})
}
