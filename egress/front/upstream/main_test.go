package upstream_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/byway-proxy/byway/egress/front/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// a fake is a Client that does what a func says.
type fake struct {
	mu     sync.Mutex
	do     func(r *http.Request) (*http.Response, error)
	asked  int
	closed int
}

var errDead = errors.New("dead")

func (f *fake) Do(r *http.Request, _ func(int, http.Header)) (*http.Response, error) {
	f.mu.Lock()
	do := f.do
	f.asked++
	f.mu.Unlock()
	if do == nil {
		return answer(200, "fine")(r)
	}
	return do(r)
}

func (f *fake) set(do func(r *http.Request) (*http.Response, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.do = do
}

// counts returns how often it was asked and closed.
func (f *fake) counts() (asked, closed int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked, f.closed
}

func (f *fake) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed++
}

func dead(*http.Request) (*http.Response, error) { return nil, errDead }

func answer(status int, body string) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		w.WriteHeader(status)
		_, _ = w.WriteString(body)
		return w.Result(), nil
	}
}

// serversOf returns servers with the given names, of "name=weight".
func serversOf(names ...string) []*upstream.Server {
	var all []*upstream.Server
	for _, n := range names {
		name, weight, _ := strings.Cut(n, "=")
		s := &upstream.Server{Name: name, URL: &url.URL{Scheme: "http", Host: name}, Client: &fake{}}
		for range weight {
			s.Weight++ // one for each digit will do
		}
		all = append(all, s)
	}
	return all
}

func pool(t testing.TB, servers []*upstream.Server, set upstream.Settings) *upstream.Pool {
	t.Helper()
	p := upstream.NewPool(servers, set)
	t.Cleanup(p.Close)
	return p
}

func wish(client string, cookies ...string) upstream.Wish {
	r := httptest.NewRequest("GET", "/", nil)
	for _, c := range cookies {
		r.Header.Add("Cookie", c)
	}
	w := upstream.Wish{Request: r}
	if client != "" {
		w.Client = netip.MustParseAddr(client)
	}
	return w
}

func pick(t testing.TB, p *upstream.Pool, w upstream.Wish) *upstream.Lease {
	t.Helper()
	l, err := p.Pick(w)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// serve has n requests answered at once and counts who took them.
func serve(t testing.TB, p *upstream.Pool, n int) map[string]int {
	t.Helper()
	got := make(map[string]int)
	for range n {
		l := pick(t, p, wish(""))
		got[l.Server.Name]++
		l.Answered(200)
		l.Release()
	}
	return got
}
