package local

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/hop"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/route"
	"github.com/byway-proxy/byway/socks"
)

// hosts are SOCKS servers in memory, called after where they are, and a target that
// each reaches; they know by which of them a tunnel went.
type hosts struct {
	t    *testing.T
	n    *testnet.Network
	base chain.Dialer

	mu   sync.Mutex
	went []string
	ends map[string]func() // kill a host
}

func newHosts(t *testing.T, names ...string) *hosts {
	l := &hosts{t: t, n: testnet.New(), ends: make(map[string]func())}
	l.base = l.n.Host("client")
	for _, name := range names {
		h := l.n.Host(name)
		ln, err := h.Listen(":1080")
		if err != nil {
			t.Fatal(err)
		}
		noted := chain.DialerFunc(func(ctx context.Context, network, addr string) (net.Conn, error) {
			l.mu.Lock()
			l.went = append(l.went, name)
			l.mu.Unlock()
			return h.DialContext(ctx, network, addr)
		})
		s := &socks.Server{Relay: &relay.Relay{Router: route.Table{{To: noted, Via: "direct"}}}}
		l.ends[name] = func() {
			_ = ln.Close()
			_ = s.Relay.Close()
		}
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				go func() { _ = s.ServeConn(context.Background(), c) }()
			}
		}()
		t.Cleanup(l.ends[name])
	}
	target, err := l.n.Host("target").Listen(":7")
	if err != nil {
		t.Fatal(err)
	}
	go testnet.Echo(target)
	t.Cleanup(func() { _ = target.Close() })
	return l
}

// kill ends a host and its conns. Dials to it are refused, or told nothing.
func (l *hosts) kill(name string, silently bool) {
	l.ends[name]()
	if silently {
		l.n.BlackHole(name + ":1080")
	}
}

// build makes the plan of hops of these names, with more of a file.
func (l *hosts) build(hops []string, more string) *plan {
	l.t.Helper()
	p, err := build(parse(l.t, labConfig(hops, more)), l.base, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { p.close(nil) })
	return p
}

func labConfig(hops []string, more string) string {
	var b strings.Builder
	b.WriteString("[[listen]]\naddress = \"127.0.0.1:0\"\n")
	for _, h := range hops {
		fmt.Fprintf(&b, "[[hop]]\nname = %q\nurl = \"socks5://%s:1080\"\n", h, h)
	}
	return b.String() + more
}

// way opens a tunnel by a chain or group, and returns the hosts that it went by: each
// asked the next.
func (l *hosts) way(p *plan, name string, id chain.Identity) string {
	l.t.Helper()
	l.mu.Lock()
	l.went = nil
	l.mu.Unlock()
	c, err := p.chains[name].DialContext(chain.WithIdentity(l.t.Context(), id), "tcp", "target:7")
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.went, " > ")
}

func expect(t *testing.T, what, got string, want ...string) {
	t.Helper()
	if !slices.Contains(want, got) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// TestGroupsOfAFile leads tunnels by groups and modes as a file says, with hops that are
// dead among them.
func TestGroupsOfAFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newHosts(t, "a", "b", "c")
		p := l.build([]string{"a", "b", "c", "dead"}, `
[[group]]
name = "first"
members = ["dead", "b", "a"]
[[group]]
name = "turns"
members = ["a", "b"]
strategy = "round-robin"
[[group]]
name = "sticky"
members = ["a", "b", "c"]
strategy = "sticky"
by = "user"
[[group]]
name = "mostly"
members = ["a", "b"]
strategy = "random"
weights = [1, 65535]
[[group]]
name = "nested"
members = ["all dead", "long"]
[[group]]
name = "all dead"
members = ["dead"]
[[chain]]
name = "long"
hops = ["a", "first", "c"]
spares = 0
[[chain]]
name = "sturdy"
hops = ["a", "dead", "c"]
mode = "dynamic"
least = 2
spares = 0
[[chain]]
name = "frail"
hops = ["a", "dead", "c"]
mode = "dynamic"
least = 3
spares = 0
[[chain]]
name = "drawn"
hops = ["a", "b", "c"]
mode = "random"
draw = 3
per = "identity"
`)
		none := chain.Identity{}
		expect(t, "first", l.way(p, "first", none), "b")
		expect(t, "turns", l.way(p, "turns", none), "a")
		expect(t, "turns", l.way(p, "turns", none), "b")
		expect(t, "long", l.way(p, "long", none), "a > b > c", "a > a > b > c") // with a try of the dead one
		expect(t, "long", l.way(p, "long", none), "a > b > c")
		expect(t, "nested", l.way(p, "nested", none), "a > a > b > c")
		expect(t, "sturdy", l.way(p, "sturdy", none), "a > a > c")
		expect(t, "sturdy", l.way(p, "sturdy", none), "a > c")
		expect(t, "frail", l.way(p, "frail", none), "hop 2/3 frail/dead: dial: connection refused")
		expect(t, "all dead", l.way(p, "all dead", none), "hop 1/1 all dead/dead: dial: connection refused")
		for i := range 20 {
			expect(t, "mostly", l.way(p, "mostly", none), "b")
			id := chain.Identity{Key: fmt.Sprint(i), User: "u"}
			expect(t, "sticky", l.way(p, "sticky", id), l.way(p, "sticky", id))
			expect(t, "drawn", l.way(p, "drawn", id), l.way(p, "drawn", id))
		}
		for _, d := range l.n.Dials() {
			if d.From == "client" && !strings.HasSuffix(d.To, ":1080") {
				t.Errorf("the base was asked for %s", d.To)
			}
		}
	})
}

// TestSparesInGroups: the member that took a tunnel has the next one ready, where the group
// is the end of a chain, and a chain in a group as it says itself.
func TestSparesInGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newHosts(t, "a", "b")
		p := l.build([]string{"a", "b"}, `
[[group]]
name = "end"
members = ["b", "bare"]
[[chain]]
name = "bare"
hops = ["a", "b"]
spares = 0
[[chain]]
name = "c"
hops = ["a", "end"]
spares = 1
[[group]]
name = "alone"
members = ["bare"]
`)
		const leg = 10 * time.Millisecond
		for _, link := range [][2]string{{"client", "a"}, {"a", "b"}, {"b", "target"}} {
			l.n.SetDelay(link[0], link[1], leg)
		}
		const warm = 2*2*leg + 2*leg // to b, which dials the target
		for name, spare := range map[string]bool{"c": true, "alone": false} {
			for range 2 { // the first time is for what is learnt
				_ = l.way(p, name, chain.Identity{})
				time.Sleep(time.Second)
			}
			began := time.Now()
			_ = l.way(p, name, chain.Identity{})
			if took := time.Since(began); (took == warm) != spare || took < warm {
				t.Errorf("%s took %v; with a spare it is %v", name, took, warm)
			}
		}
		time.Sleep(2 * time.Minute) // the spares expire
	})
}

// TestBoundHeads: each member of a group that stands first is reached by its own base.
func TestBoundHeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newHosts(t, "a", "b")
		var asked sync.Map
		through := func(name string, only string) chain.Dialer {
			return chain.DialerFunc(func(ctx context.Context, network, addr string) (net.Conn, error) {
				if asked.Store(name, addr); addr != only {
					t.Errorf("%s was asked for %s", name, addr)
				}
				return l.n.Host("client").DialContext(ctx, network, addr)
			})
		}
		b := &binder{Dialer: through("base", "a:1080"), bound: through("eth1", "b:1080")}
		l.base = b
		hops := labConfig([]string{"a", "b"}, "interface = \"eth1\"\n")
		c := parse(t, hops+`
[[group]]
name = "g"
members = ["b", "inner"]
strategy = "round-robin"
[[chain]]
name = "inner"
hops = ["a"]
mode = "dynamic"
[[chain]]
name = "c"
hops = ["g", "a"]
spares = 0
[[route]]
to = "c"
`)
		p, err := build(c, l.base, nil, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer p.close(nil)
		expect(t, "by b", l.way(p, "c", chain.Identity{}), "b > a")
		expect(t, "by a", l.way(p, "c", chain.Identity{}), "a > a")
		want := []Head{{"b", "b:1080, by interface eth1, its name resolved by this system"}, {"a", "a:1080, directly, its name resolved by this system"}}
		if diff := cmp.Diff(want, p.paths[0].Heads); diff != "" {
			t.Error(diff)
		}
		if want := []string{"g (round-robin of b | inner (1 or more of a))", "a"}; !slices.Equal(p.paths[0].Hops, want) {
			t.Errorf("described as %q", p.paths[0].Hops)
		}
		for _, base := range []string{"base", "eth1"} {
			if _, ok := asked.Load(base); !ok {
				t.Errorf("%s was not asked", base)
			}
		}
		if !slices.Contains(b.asked, hop.Base{Interface: "eth1"}) {
			t.Errorf("bound %v", b.asked)
		}
	})
}

// TestBuildRefusesGroups has what package configs would not have let through.
func TestBuildRefusesGroups(t *testing.T) {
	good := labConfig([]string{"a", "b"}, `
[[group]]
name = "g"
members = ["a", "c"]
[[chain]]
name = "c"
hops = ["a", "b"]
mode = "random"
draw = 1
[[route]]
to = "g"
`)
	for name, spoil := range map[string]func(c *configs.Client){
		"misspelt member":    func(c *configs.Client) { c.Groups[0].Members[0] = "aa" },
		"empty group":        func(c *configs.Client) { c.Groups[0].Members = nil },
		"circle":             func(c *configs.Client) { c.Chains[0].Hops[1] = "g" },
		"group in itself":    func(c *configs.Client) { c.Groups[0].Members[1] = "g" },
		"twice":              func(c *configs.Client) { c.Groups[0].Members[1] = "a" },
		"too few hops":       func(c *configs.Client) { c.Chains[0].Draw = 3 },
		"none drawn":         func(c *configs.Client) { c.Chains[0].Draw = 0 },
		"least of too few":   func(c *configs.Client) { c.Chains[0].Mode, c.Chains[0].Least = configs.ModeDynamic, 3 },
		"bad probe":          func(c *configs.Client) { c.Groups[0].Probe.Target = "x" },
		"misspelt target":    func(c *configs.Client) { c.Routes[0].To = "gg" },
		"bound behind other": func(c *configs.Client) { c.Hops[1].Mark = 1; c.Chains[0].Draw = 2 },
		"bound behind":       func(c *configs.Client) { c.Hops[1].Mark = 1; c.Chains[0].Mode = configs.ModeDynamic },
		"bound and unbindable": func(c *configs.Client) {
			c.Hops[0].Mark = 1
			c.Chains[0].Mode = configs.ModeDynamic
		},
	} {
		c := parse(t, good)
		spoil(c)
		s, err := New(c, testnet.NoDial(t), slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), "byway.toml:") {
			t.Errorf("%s: error %v", name, err)
		}
		if s != nil {
			t.Errorf("%s: a server", name)
		}
	}
}
