package upstream_test

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/egress/front/upstream"
)

func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		servers := serversOf("a", "b")
		a := servers[0].Client.(*fake)
		a.set(dead)
		var mu sync.Mutex
		var changes []bool
		p := pool(t, servers, upstream.Settings{
			Health: upstream.Health{URL: &url.URL{Path: "/up"}, Interval: 10 * time.Second, Timeout: time.Second, Rise: 2, Fall: 3, Body: "fine"},
			Trace: &upstream.Trace{Health: func(s *upstream.Server, up bool, err error) {
				mu.Lock()
				defer mu.Unlock()
				if s != servers[0] || up != (err == nil) {
					t.Errorf("told of %s: %v, %v", s.Name, up, err)
				}
				changes = append(changes, up)
			}},
		})
		only := func(when, want string) {
			t.Helper()
			if got := serve(t, p, 50); want != "both" && (got[want] != 50) || want == "both" && len(got) != 2 {
				t.Errorf("%s: %v, want %s", when, got, want)
			}
		}
		// checked waits for the end of so many more checks of a, which come after 9 to 11 s each.
		checked := func(n int) {
			for asked, _ := a.counts(); ; time.Sleep(100 * time.Millisecond) {
				if now, _ := a.counts(); now >= asked+n {
					time.Sleep(2 * time.Second) // for one that is silent
					return
				}
			}
		}
		synctest.Wait()
		only("the first check failed", "b")
		a.set(nil)
		checked(1)
		only("one check went well", "b")
		checked(1)
		only("two went well", "both")
		for _, bad := range []func(*http.Request) (*http.Response, error){
			answer(500, "fine"), answer(200, "broken"), func(r *http.Request) (*http.Response, error) {
				<-r.Context().Done() // silent
				return nil, r.Context().Err()
			},
		} {
			only("before it fails", "both")
			a.set(bad)
			checked(2)
			only("two checks failed", "both")
			checked(1)
			only("three failed", "b")
			a.set(nil)
			checked(2)
		}
		// With nobody left, those that are down are tried.
		a.set(dead)
		servers[1].Client.(*fake).set(dead)
		mu.Lock()
		if len(changes) != 8 {
			t.Errorf("changes: %v", changes)
		}
		mu.Unlock()
	})
}

func TestAllDownAreTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		servers := serversOf("a", "b")
		for _, s := range servers {
			s.Client.(*fake).set(dead)
		}
		p := pool(t, servers, upstream.Settings{Health: upstream.Health{URL: &url.URL{Path: "/"}, Interval: time.Second}})
		synctest.Wait()
		if got := serve(t, p, 100); got["a"] == 0 || got["b"] == 0 {
			t.Errorf("got %v", got)
		}
		for _, s := range p.Servers() {
			if s.Up {
				t.Errorf("%s is up", s.Server.Name)
			}
		}
	})
}

// TestJitter does not let checks fall into step.
func TestJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		servers := serversOf("a")
		var at []time.Time
		servers[0].Client.(*fake).set(func(r *http.Request) (*http.Response, error) {
			at = append(at, time.Now())
			return answer(204, "")(r)
		})
		p := upstream.NewPool(servers, upstream.Settings{Health: upstream.Health{URL: &url.URL{Path: "/"}, Interval: 10 * time.Second}})
		time.Sleep(20 * time.Minute)
		p.Close()
		different := make(map[time.Duration]bool)
		for i := 1; i < len(at); i++ {
			gap := at[i].Sub(at[i-1])
			different[gap] = true
			if gap < 9*time.Second || gap > 11*time.Second {
				t.Errorf("a check %v after the last", gap)
			}
		}
		if len(different) < 50 {
			t.Errorf("%d checks with %d intervals", len(at), len(different))
		}
	})
}

func TestHealthByConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		servers := serversOf("a", "b")
		var mu sync.Mutex
		var asked []string
		pool := pool(t, servers, upstream.Settings{Health: upstream.Health{
			Interval: time.Second, Timeout: 100 * time.Millisecond,
			Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
				mu.Lock()
				asked = append(asked, network+" "+addr)
				mu.Unlock()
				if addr == "a:80" {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				c, other := net.Pipe()
				_ = other.Close()
				return c, nil
			},
		}})
		time.Sleep(500 * time.Millisecond)
		if got := serve(t, pool, 20); got["b"] != 20 {
			t.Errorf("got %v, asked %v", got, asked)
		}
	})
}

// TestServersComeAndGo keeps what is known of those that stay.
func TestServersComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		servers := serversOf("a", "b", "c")
		p := pool(t, servers[:2], upstream.Settings{
			Eject:  upstream.Eject{Failures: 1, Time: time.Hour, Share: 0.5},
			Health: upstream.Health{URL: &url.URL{Path: "/"}, Interval: time.Second},
		})
		var l *upstream.Lease
		for l = pick(t, p, wish("")); l.Server != servers[0]; l = pick(t, p, wish("")) {
			l.Release()
		}
		l.Failed(errDead)
		l.Release()
		held := pick(t, p, wish(""))
		p.SetServers([]*upstream.Server{servers[0], servers[2]})
		if got := serve(t, p, 50); got["c"] != 50 {
			t.Errorf("a is ejected still, and b has gone: %v", got)
		}
		held.Answered(200)
		held.Release()
		b := servers[1].Client.(*fake)
		synctest.Wait()
		checks, closed := b.counts()
		if closed == 0 {
			t.Error("the connections of b are kept")
		}
		time.Sleep(10 * time.Second)
		if now, _ := b.counts(); now != checks {
			t.Error("b is checked still")
		}
	})
}
