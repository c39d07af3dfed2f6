package upstream_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/byway-proxy/byway/egress/front/upstream"
)

func TestRoundRobin(t *testing.T) {
	p := pool(t, serversOf("a=111", "b=1", "c=1"), upstream.Settings{Pick: upstream.RoundRobin})
	var order strings.Builder
	for range 10 {
		l := pick(t, p, wish(""))
		order.WriteString(l.Server.Name)
		l.Release()
	}
	if got := order.String(); got != "abaca"+"abaca" {
		t.Errorf("turns are %s", got)
	}
}

// near reports whether n is what is expected of a fair draw, within five deviations.
func near(n, of int, share float64) bool {
	mean := share * float64(of)
	return math.Abs(float64(n)-mean) <= 5*math.Sqrt(mean*(1-share))+1
}

func TestRandom(t *testing.T) {
	p := pool(t, serversOf("a=111", "b=1"), upstream.Settings{Pick: upstream.Random})
	if got := serve(t, p, 10000); !near(got["a"], 10000, 0.75) {
		t.Errorf("got %v", got)
	}
}

func TestLeast(t *testing.T) {
	p := pool(t, serversOf("a=11", "b=1"), upstream.Settings{Pick: upstream.Least})
	got := make(map[string]int)
	for range 30 {
		got[pick(t, p, wish("")).Server.Name]++
	}
	if got["a"] != 20 || got["b"] != 10 {
		t.Errorf("30 that stay are at %v", got)
	}
}

// TestSlowGetsLess has requests come at a steady rate to servers of which one is ten times slower.
func TestSlowGetsLess(t *testing.T) {
	for pickBy, most := range map[upstream.Pick]int{upstream.TwoChoices: 120, upstream.Least: 120} {
		synctest.Test(t, func(t *testing.T) {
			p := pool(t, serversOf("a", "b", "slow"), upstream.Settings{Pick: pickBy})
			got := make(map[string]int)
			for range 1000 {
				l := pick(t, p, wish(""))
				got[l.Server.Name]++
				took := 20 * time.Millisecond
				if l.Server.Name == "slow" {
					took = 400 * time.Millisecond
				}
				go func() {
					time.Sleep(took)
					l.Answered(200)
					l.Release()
				}()
				time.Sleep(5 * time.Millisecond)
			}
			time.Sleep(time.Second)
			if got["slow"] > most || got["slow"] == 0 || got["a"] < 250 || got["b"] < 250 {
				t.Errorf("pick %d: got %v", pickBy, got)
			}
		})
	}
}

func TestHash(t *testing.T) {
	names := make([]string, 10)
	for i := range names {
		names[i] = fmt.Sprintf("10.0.0.%d:80=1", i)
	}
	names[9] += "1" // twice as much as the others
	servers := serversOf(names...)
	by := func(w upstream.Wish) string { return w.Client.String() }
	p := pool(t, servers, upstream.Settings{Pick: upstream.Hash, By: by})
	at := func() map[string]string {
		all := make(map[string]string)
		for i := range 5000 {
			client := fmt.Sprintf("192.0.%d.%d", i/250, i%250)
			l := pick(t, p, wish(client))
			all[client] = l.Server.Name
			l.Release()
		}
		return all
	}
	before, count := at(), make(map[string]int)
	for _, s := range before {
		count[s]++
	}
	for s, n := range count {
		share := 1.0 / 11
		if s == servers[9].Name {
			share = 2.0 / 11
		}
		if !near(n, 5000, share) {
			t.Errorf("%s has %d of 5000", s, n)
		}
	}
	if diff := cmp.Diff(before, at()); diff != "" {
		t.Error("the same keys come to other servers")
	}
	gone := servers[3].Name
	p.SetServers(append(append([]*upstream.Server(nil), servers[:3]...), servers[4:]...))
	for client, s := range at() {
		if before[client] != s && before[client] != gone || s == gone {
			t.Errorf("%s moved from %s to %s, as %s left", client, before[client], s, gone)
		}
	}
}

func TestStickyCookie(t *testing.T) {
	servers := serversOf("10.0.0.1:80", "10.0.0.2:80")
	p := pool(t, servers, upstream.Settings{Pick: upstream.RoundRobin, Cookie: "at", CookieKey: []byte("k"), Eject: upstream.Eject{Failures: 1, Time: time.Minute, Share: 0.5}})
	l := pick(t, p, wish(""))
	first, c := l.Server, l.Cookie
	if c == nil || c.Name != "at" || !c.HttpOnly || strings.Contains(c.Value, "10.0") {
		t.Fatalf("cookie %+v", c)
	}
	l.Release()
	for range 5 {
		l := pick(t, p, wish("", "x=y; at="+c.Value))
		if l.Server != first || l.Cookie != nil {
			t.Errorf("back at %s with a cookie of %s, and a new one: %v", l.Server.Name, first.Name, l.Cookie)
		}
		l.Release()
	}
	l = pick(t, p, wish("", "at="+c.Value))
	l.Failed(errDead) // ejects it
	l.Release()
	l = pick(t, p, wish("", "at="+c.Value))
	if l.Server == first || l.Cookie == nil || l.Cookie.Value == c.Value {
		t.Errorf("%s is ejected; got %s, cookie %v", first.Name, l.Server.Name, l.Cookie)
	}
	l.Release()
	other := pool(t, serversOf("10.0.0.1:80"), upstream.Settings{Cookie: "at", CookieKey: []byte("other")})
	if l := pick(t, other, wish("", "at=forged")); l.Cookie == nil || l.Cookie.Value == c.Value {
		t.Errorf("under another key, %v", l.Cookie)
	}
}

func TestSlowStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		servers := serversOf("a", "b")
		p := pool(t, servers[:1], upstream.Settings{Pick: upstream.Random, SlowStart: 10 * time.Second})
		p.SetServers(servers)
		for _, test := range []struct {
			after time.Duration
			share float64
		}{{0, 0.05 / 1.05}, {5 * time.Second, 0.5 / 1.5}, {5 * time.Second, 0.5}} {
			time.Sleep(test.after)
			if got := serve(t, p, 5000); !near(got["b"], 5000, test.share) {
				t.Errorf("after %v more: %v", test.after, got)
			}
		}
	})
}
