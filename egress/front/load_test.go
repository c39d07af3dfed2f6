package front_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/egress/front"
	"github.com/byway-proxy/byway/egress/front/upstream"
	"github.com/byway-proxy/byway/internal/testnet"
)

// An origin is a server on a test network that can be killed, and takes its time.
type origin struct {
	host string
	net  *testnet.Network
	http *http.Server

	mu    sync.Mutex
	took  time.Duration
	count int
}

func newOrigin(t *testing.T, n *testnet.Network, host string) *origin {
	o := &origin{host: host, net: n, took: 50 * time.Millisecond}
	o.start(t)
	t.Cleanup(o.kill)
	return o
}

func (o *origin) start(t *testing.T) {
	l, err := o.net.Host(o.host).Listen(":80")
	if err != nil {
		t.Fatal(err)
	}
	o.http = &http.Server{Handler: o}
	go func() { _ = o.http.Serve(l) }()
}

// kill ends it and cuts its connections, with whatever is under way.
func (o *origin) kill() { _ = o.http.Close() }

func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	o.count++
	took := o.took
	o.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	time.Sleep(took)
	_, _ = fmt.Fprintf(w, "%s %s", o.host, body)
}

func (o *origin) slow(took time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.took = took
}

// served returns how many requests there were since it was asked last.
func (o *origin) served() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := o.count
	o.count = 0
	return n
}

func poolOn(t *testing.T, n *testnet.Network, set upstream.Settings, hosts ...string) *front.Proxy {
	var servers []*upstream.Server
	for _, host := range hosts {
		u := &url.URL{Scheme: "http", Host: host + ":80"}
		c, err := upstream.NewClient(u, "", upstream.Options{Dial: n.Host("front").DialContext, DialLimit: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		servers = append(servers, &upstream.Server{Name: u.Host, URL: u, Client: c})
	}
	p := &front.Proxy{Pool: upstream.NewPool(servers, set)}
	t.Cleanup(p.Close)
	return p
}

// load has clients ask for p, one after the other each, until stop, and returns how many requests there
// were and what went wrong.
func load(t *testing.T, p http.Handler, clients int, stop <-chan struct{}) func() (n int, wrong []string) {
	var mu sync.Mutex
	var run sync.WaitGroup
	n, wrong := 0, []string(nil)
	for i := range clients {
		run.Go(func() {
			for round := 0; ; round++ {
				select {
				case <-stop:
					return
				default:
				}
				method, body := "GET", ""
				if round%3 == i%3 {
					method, body = "PUT", "some body"
				}
				r := httptest.NewRequest(method, "/", strings.NewReader(body)).WithContext(context.WithoutCancel(t.Context()))
				if body == "" {
					r.Body, r.ContentLength = http.NoBody, 0
				}
				w := httptest.NewRecorder()
				p.ServeHTTP(w, r)
				mu.Lock()
				n++
				if w.Code != 200 || !strings.HasSuffix(w.Body.String(), " "+body) {
					wrong = append(wrong, fmt.Sprint(w.Code, " ", w.Body))
				}
				mu.Unlock()
			}
		})
	}
	return func() (int, []string) {
		run.Wait()
		mu.Lock()
		defer mu.Unlock()
		return n, wrong
	}
}

// TestKilledUnderLoad kills one of three servers while 24 clients are at them, and brings it back.
func TestKilledUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New()
		a, b, c := newOrigin(t, n, "a"), newOrigin(t, n, "b"), newOrigin(t, n, "c")
		for _, host := range []string{"a", "b", "c"} {
			n.SetDelay("front", host, time.Millisecond)
		}
		p := poolOn(t, n, upstream.Settings{
			Budget: 0.2, SlowStart: 5 * time.Second, Eject: upstream.Eject{Failures: 5, Time: 2 * time.Second, Share: 0.5},
		}, "a", "b", "c")
		stop := make(chan struct{})
		end := load(t, p, 24, stop)
		time.Sleep(2 * time.Second)
		a.kill()
		time.Sleep(200 * time.Millisecond)
		a.served()
		time.Sleep(5 * time.Second)
		if got := a.served(); got != 0 {
			t.Errorf("the dead served %d", got)
		}
		a.start(t)
		time.Sleep(12 * time.Second)
		for _, o := range []*origin{a, b, c} {
			o.served()
		}
		time.Sleep(2 * time.Second)
		all := []int{a.served(), b.served(), c.served()}
		close(stop)
		requests, wrong := end()
		if len(wrong) > 0 || requests < 5000 {
			t.Errorf("%d of %d requests went wrong: %.200q", len(wrong), requests, wrong)
		}
		if all[0] < all[1]/2 {
			t.Errorf("it is back, and gets too little: %v", all)
		}
	})
}

// TestSlowUnderLoad makes one of three servers forty times slower: it gets less, nothing fails, and it
// gets its share again when it is well.
func TestSlowUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New()
		a, b, c := newOrigin(t, n, "a"), newOrigin(t, n, "b"), newOrigin(t, n, "c")
		p := poolOn(t, n, upstream.Settings{Budget: 0.2}, "a", "b", "c")
		stop := make(chan struct{})
		end := load(t, p, 12, stop)
		time.Sleep(time.Second)
		before := a.served() + b.served() + c.served()
		a.slow(2 * time.Second)
		time.Sleep(time.Second)
		a.served()
		b.served()
		c.served()
		time.Sleep(5 * time.Second)
		slow, rest := a.served(), b.served()+c.served()
		a.slow(50 * time.Millisecond)
		time.Sleep(20 * time.Second)
		a.served()
		b.served()
		time.Sleep(2 * time.Second)
		if well, other := a.served(), b.served(); well < other/2 {
			t.Errorf("it is well again, and gets %d beside %d", well, other)
		}
		close(stop)
		if _, wrong := end(); len(wrong) > 0 {
			t.Errorf("went wrong: %.200q", wrong)
		}
		if slow > rest/20 || rest < 5*before/2 {
			t.Errorf("the slow one got %d, the others %d in 5 s; %d before in 1 s", slow, rest, before)
		}
	})
}

// TestResponseLimit makes a 504 of a server that is silent, and of one that can't be reached in time.
func TestResponseLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New()
		a := newOrigin(t, n, "a")
		a.slow(time.Minute)
		n.BlackHole("hole:80")
		for host, want := range map[string]time.Duration{"a": 10 * time.Second, "hole": 3 * time.Second} {
			u := &url.URL{Scheme: "http", Host: host + ":80"}
			c, err := upstream.NewClient(u, "", upstream.Options{Dial: n.Host("front").DialContext, DialLimit: 3 * time.Second, ResponseLimit: 10 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			p := &front.Proxy{Pool: upstream.NewPool([]*upstream.Server{{Name: host, URL: u, Client: c}}, upstream.Settings{})}
			start := time.Now()
			r := httptest.NewRequest("GET", "/", nil).WithContext(context.WithoutCancel(t.Context()))
			if code, _, _ := get(t, p, r); code != 504 || time.Since(start) != want {
				t.Errorf("%s: %d after %v, want 504 after %v", host, code, time.Since(start), want)
			}
			p.Close()
		}
		a.kill()
		time.Sleep(time.Minute)
	})
}
