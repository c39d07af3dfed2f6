package status

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/relay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixed is a source.
type fixed []ChainState

func (f fixed) Chains() []ChainState { return f }

var oneGroup = fixed{{
	Name: "out", Holdings: chain.Holdings{Spares: 2, Sessions: 1},
	Hops: []HopState{
		{Name: "office", Kind: "socks5"},
		{Name: "exits", Kind: "group", How: "first", Within: []HopState{{Name: "paris", Kind: "https"}, {Name: "rome", Kind: "https", Paused: true}}},
	},
	Groups: []chain.GroupStatus{{Name: "exits", Members: []chain.MemberStatus{
		{Name: "paris", Alive: true, Latency: 25 * time.Millisecond, Live: 3},
		{Name: "rome", Err: errors.New("connection refused"), Retry: time.Unix(1, 0)},
	}}},
}}

// busy is a board on which something has happened.
func busy() *Board {
	b := New(oneGroup, "v1.2.3")
	t := b.Trace()
	q, d := relay.Request{Listener: "127.0.0.1:1080", Addr: "secret.example:443", User: "ann"}, relay.Decision{Via: "out", Rule: "byway.toml:7"}
	for range 3 {
		m := t.Meter(q, d)
		m.Up.Add(10)
		m.Down.Add(1000)
		t.Opened(q, d, 30*time.Millisecond)
	}
	t.Closed(q, d, relay.Stats{})
	t.Failed(q, d, &chain.Error{Hop: 2, Hops: 2, Name: "exits/rome", Phase: chain.PhaseDial, Err: syscall.ECONNREFUSED})
	t.Failed(q, d, relay.ErrLimit)
	t.Failed(q, relay.Decision{Via: "block", Rule: "byway.toml:9"}, relay.ErrBlocked)
	t.BadClient("127.0.0.1:1080", io.EOF)
	b.Reloaded(nil)
	b.Reloaded(errors.New("no"))
	b.Fetched("ads", 12, nil)
	b.Fetched("ads", 0, errors.New("no"))
	return b
}

// metrics returns what Prometheus gets.
func metrics(t *testing.T, b *Board) string {
	t.Helper()
	w := httptest.NewRecorder()
	b.Metrics().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestMetrics(t *testing.T) {
	got := metrics(t, busy())
	for _, want := range []string{
		`byway_tunnels_open{listener="127.0.0.1:1080",via="out"} 2`,
		`byway_tunnels_opened_total{listener="127.0.0.1:1080",via="out"} 3`,
		`byway_tunnels_failed_total{cause="refused",hop="exits/rome",phase="dial",via="out"} 1`,
		`byway_tunnels_failed_total{cause="limit",hop="",phase="",via="out"} 1`,
		`byway_requests_blocked_total{listener="127.0.0.1:1080",rule="byway.toml:9"} 1`,
		`byway_bad_clients_total{listener="127.0.0.1:1080"} 1`,
		`byway_bytes_total{direction="up",listener="127.0.0.1:1080",via="out"} 30`,
		`byway_bytes_total{direction="down",listener="127.0.0.1:1080",via="out"} 3000`,
		`byway_tunnel_open_seconds_bucket{via="out",le="0.05"} 3`,
		`byway_tunnel_open_seconds_bucket{via="out",le="0.025"} 0`,
		`byway_spare_tunnels{chain="out"} 2`,
		`byway_sessions{chain="out"} 1`,
		`byway_member_up{chain="out",group="exits",member="paris"} 1`,
		`byway_member_up{chain="out",group="exits",member="rome"} 0`,
		`byway_member_latency_seconds{chain="out",group="exits",member="paris"} 0.025`,
		`byway_member_tunnels{chain="out",group="exits",member="paris"} 3`,
		`byway_hop_paused{hop="rome"} 1`,
		`byway_hop_paused{hop="office"} 0`,
		`byway_reloads_total{outcome="done"} 1`,
		`byway_reloads_total{outcome="failed"} 1`,
		`byway_list_fetches_total{list="ads",outcome="failed"} 1`,
		`byway_list_entries{list="ads"} 12`,
		`byway_build_info{version="v1.2.3"} 1`,
		"go_goroutines ",
	} {
		if !strings.Contains(got, want+"\n") && !strings.Contains(got, "\n"+want) {
			t.Errorf("no %s", want)
		}
	}
	for _, secret := range []string{"secret.example", "ann"} {
		if strings.Contains(got, secret) {
			t.Errorf("%q is told", secret)
		}
	}
}

// TestDashboard: each metric that the dashboard shows is one that there is, and the other way round.
func TestDashboard(t *testing.T) {
	data, err := os.ReadFile("../../packaging/grafana/byway.json")
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(data) {
		t.Error("not JSON")
	}
	name := regexp.MustCompile(`byway_[a-z_]+`)
	shown := make(map[string]bool)
	for _, m := range name.FindAllString(string(data), -1) {
		shown[strings.TrimSuffix(m, "_bucket")] = true
	}
	told := make(map[string]bool)
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (byway_[a-z_]+)`).FindAllStringSubmatch(metrics(t, busy()), -1) {
		told[m[1]] = true
	}
	if diff := cmp.Diff(told, shown); diff != "" {
		t.Errorf("the dashboard (-told +shown):\n%s", diff)
	}
}

func TestSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := busy()
		if s := b.Snapshot(true); s.History == nil {
			t.Error("a page would find null in place of the history")
		}
		ctx, cancel := context.WithCancel(t.Context())
		go b.Run(ctx)
		time.Sleep(1500 * time.Millisecond)
		b.Trace().Opened(relay.Request{}, relay.Decision{Via: "direct"}, 0)
		time.Sleep(time.Second)
		s := b.Snapshot(true)
		if len(s.History) != 2 || s.History[0].Opened != 3 || s.History[1].Opened != 1 || s.History[0].Down != 3000 || s.History[1].Open != 3 {
			t.Errorf("history %+v", s.History)
		}
		if len(s.Ways) != 2 || s.Ways[0].Name != "out" || s.Ways[1].Name != "direct" || s.Ways[0].Total.Failed != 2 {
			t.Errorf("ways %+v", s.Ways)
		}
		group := s.Ways[0].Hops[1]
		if rome := group.Within[1]; group.Kind != "group" || !rome.Judged || rome.Alive || !rome.Paused || rome.Error != "connection refused" {
			t.Errorf("%+v", group)
		}
		if len(s.Failures) != 2 || s.Failures[1].Hop != "2/2 exits/rome" || s.Failures[1].Text != "connection refused" || s.Failures[0].Text != "too many tunnels at once" {
			t.Errorf("failures %+v", s.Failures)
		}
		time.Sleep(time.Hour)
		if s := b.Snapshot(true); len(s.History) != keep {
			t.Errorf("%d seconds are kept", len(s.History))
		}
		if s := b.Snapshot(false); len(s.History) != 1 {
			t.Errorf("%d seconds are told later", len(s.History))
		}
		for range 500 {
			b.Trace().Failed(relay.Request{}, relay.Decision{Via: "out"}, io.EOF)
		}
		if s := b.Snapshot(false); len(s.Failures) != maxFailures {
			t.Errorf("%d failures", len(s.Failures))
		}
		cancel()
		synctest.Wait()
	})
}

// site is a page with the token "sesame".
func site(t *testing.T, actions map[string]func(context.Context, string) (string, error)) *httptest.Server {
	t.Helper()
	s := &Server{Board: busy(), Token: "sesame", Actions: actions}
	l := httptest.NewServer(nil)
	s.Hosts = []string{strings.TrimPrefix(l.URL, "http://"), "localhost:1"}
	l.Config.Handler = s.Handler()
	t.Cleanup(l.Close)
	return l
}

// ask makes a request by fields of "Name: value".
func ask(t *testing.T, method, url, body string, fields ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		if r.Header.Set(name, value); name == "Host" {
			r.Host = value
		}
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

// TestAdmission tries what other users of the machine and web pages could.
func TestAdmission(t *testing.T) {
	done := 0
	l := site(t, map[string]func(context.Context, string) (string, error){
		"newid": func(_ context.Context, arg string) (string, error) { done++; return "done " + arg, nil },
		"fail":  func(context.Context, string) (string, error) { return "", errors.New("no such hop") },
	})
	const good = "Authorization: Bearer sesame"
	for _, test := range []struct {
		what, method, path, body string
		fields                   []string
		code                     int
	}{
		{"page", "GET", "/", "", nil, 200},
		{"script", "GET", "/app.js", "", nil, 200},
		{"metrics", "GET", "/metrics", "", nil, 200},
		{"another path", "GET", "/page/app.js", "", nil, 404},
		{"another method", "PUT", "/", "", nil, 405},
		{"no token", "GET", "/snapshot", "", nil, 401},
		{"no token for events", "GET", "/events", "", nil, 401},
		{"no token to act", "POST", "/do/newid", "", nil, 401},
		{"a wrong token", "GET", "/snapshot", "", []string{"Authorization: Bearer open"}, 401},
		{"an empty cookie", "GET", "/snapshot", "", []string{"Cookie: byway_status="}, 401},
		{"the token", "GET", "/snapshot", "", []string{good}, 200},
		{"the cookie", "GET", "/snapshot", "", []string{"Cookie: byway_status=sesame"}, 200},
		{"an act", "POST", "/do/newid", "x", []string{good}, 200},
		{"an act by GET", "GET", "/do/newid", "", []string{good}, 405},
		{"an act that fails", "POST", "/do/fail", "", []string{good}, 409},
		{"no such act", "POST", "/do/it", "", []string{good}, 404},
		{"too long", "POST", "/do/newid", strings.Repeat("x", 2000), []string{good}, 400},
		{"another name", "GET", "/", "", []string{"Host: evil.example"}, 421},
		{"another name for metrics", "GET", "/metrics", "", []string{"Host: evil.example"}, 421},
		{"another name that is known", "GET", "/", "", []string{"Host: LOCALHOST:1"}, 200},
		{"another site", "POST", "/do/newid", "", []string{good, "Sec-Fetch-Site: cross-site"}, 403},
		{"another origin", "POST", "/do/newid", "", []string{good, "Origin: http://evil.example"}, 403},
		{"a wrong login", "POST", "/login", "open", nil, 401},
	} {
		before := done
		resp, body := ask(t, test.method, l.URL+test.path, test.body, test.fields...)
		if resp.StatusCode != test.code {
			t.Errorf("%s: status %d, want %d: %.100s", test.what, resp.StatusCode, test.code, body)
		}
		if acted := done > before; acted != (test.what == "an act") {
			t.Errorf("%s: acted: %v", test.what, acted)
		}
		if resp.StatusCode == 200 && !strings.HasPrefix(resp.Header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: policy %q", test.what, resp.Header.Get("Content-Security-Policy"))
		}
	}
	resp, _ := ask(t, "POST", l.URL+"/login", "sesame\n")
	if c := resp.Header.Get("Set-Cookie"); resp.StatusCode != 204 || c != "byway_status=sesame; Path=/; HttpOnly; SameSite=Strict" {
		t.Errorf("status %d, cookie %q", resp.StatusCode, c)
	}
}

// TestEvents reads the first two snapshots.
func TestEvents(t *testing.T) {
	l := site(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, l.URL+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer sesame")
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for n := 0; n < 2 && lines.Scan(); {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		n++
		var s Snapshot
		if err := json.Unmarshal([]byte(data), &s); err != nil || s.Total.Opened != 3 || len(s.Ways) != 1 {
			t.Errorf("%+v, %v", s, err)
		}
	}
}
