package lists

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/route"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server answers for lists.example:80, until the test ends.
func server(t *testing.T, n *testnet.Network, handle http.HandlerFunc) {
	t.Helper()
	l, err := n.Host("lists.example").Listen(":80")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: handle, ErrorLog: log.New(os.Stderr, "", 0)}
	s.SetKeepAlivesEnabled(false)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close(); <-done })
}

// source is a list of lists.example's, reached over n from here.
func source(t *testing.T, n *testnet.Network) *Source {
	return &Source{
		List: route.NewList("ads"), URL: "http://lists.example/ads.txt", Dialer: n.Host("here"),
		File: filepath.Join(t.TempDir(), "kept", "ads.txt"), MaxShrink: 0.5,
	}
}

func names(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "n%d.example\n", i)
	}
	return b.String()
}

// told is a Trace that remembers.
type told struct {
	mu      sync.Mutex
	fetched int
	failed  []string
}

func (w *told) trace() *Trace {
	return &Trace{
		Fetched: func(string, *route.Contents) { w.mu.Lock(); w.fetched++; w.mu.Unlock() },
		Failed: func(list string, err error) {
			w.mu.Lock()
			w.failed = append(w.failed, list+": "+err.Error())
			w.mu.Unlock()
		},
	}
}

// TestBadVersions has the last good version stand, in memory and on disk, whatever
// comes in its place, and a word about it.
func TestBadVersions(t *testing.T) {
	good := names(100)
	goodSum := sha256.Sum256([]byte(good))
	for name, test := range map[string]struct {
		answer  http.HandlerFunc
		prepare func(*Source)
		want    string
	}{
		"cut short": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5000")
			_, _ = w.Write([]byte(names(90)))
		}, nil, "did not come whole"},
		"cut amid a chunk": {func(w http.ResponseWriter, _ *http.Request) {
			c, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n%s", names(90)[:900])
				_ = c.Close()
			}
		}, nil, "did not come whole"},
		"empty":       {text(""), nil, "no names and no addresses"},
		"comments":    {text("# all gone\n"), nil, "no names and no addresses"},
		"shrunken":    {text(names(49)), nil, "shrank from 100 entries to 49"},
		"a page":      {text("<!DOCTYPE html>\n<html><body>Not here</body></html>\n"), nil, "line 1: "},
		"zero bytes":  {text(names(100) + "\x00"), nil, "zero byte"},
		"404":         {http.NotFound, nil, "answered 404 Not Found"},
		"a 304":       {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) }, nil, ""},
		"another sum": {text(names(101)), func(s *Source) { s.SHA256 = goodSum[:] }, "SHA-256"},
		"unsigned":    {text(names(101)), func(s *Source) { s.Key = key(t) }, "its signature: "},
		"redirects":   {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/ads.txt", http.StatusFound) }, nil, "redirected too often"},
		"no dialer":   {text(good), func(s *Source) { s.Dialer = nil }, "no dialer"},
	} {
		synctest.Test(t, func(t *testing.T) {
			n := testnet.New()
			answer := text(good)
			server(t, n, func(w http.ResponseWriter, r *http.Request) { answer(w, r) })
			s := source(t, n)
			if err := s.Refresh(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			answer = test.answer
			if test.prepare != nil {
				test.prepare(s)
			}
			var w told
			err := s.Refresh(t.Context(), w.trace())
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || len(w.failed) != 1) {
				t.Errorf("%s: %v, told %q, want %q", name, err, w.failed, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "lists.example") {
				t.Errorf("%s: %v names the host", name, err)
			}
			kept, _ := os.ReadFile(s.File)
			if c := s.List.Contents(); c == nil || c.Len() != 100 || string(kept) != good || w.fetched > 0 {
				t.Errorf("%s: the last good version does not stand", name)
			}
		})
	}
}

func text(s string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(s)) }
}

// TestRun follows a list through a day and more: first fetches that fail, then one
// that does not, its interval, and what comes after that.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New()
		began := time.Now()
		var asked []time.Duration
		var conditional []string
		server(t, n, func(w http.ResponseWriter, r *http.Request) {
			asked = append(asked, time.Since(began).Round(time.Second))
			conditional = append(conditional, r.Header.Get("If-None-Match"))
			switch len(asked) {
			case 1, 2, 3, 6:
				w.WriteHeader(http.StatusServiceUnavailable)
			case 5:
				w.WriteHeader(http.StatusNotModified)
			default:
				w.Header().Set("ETag", `"e"`)
				_, _ = w.Write([]byte(names(100 + len(asked))))
			}
		})
		s := source(t, n)
		s.Every = 6 * time.Hour
		var w told
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); s.Run(ctx, w.trace()) }()
		time.Sleep(13 * time.Hour)
		cancel()
		<-done
		const h = 6 * time.Hour
		want := fmt.Sprint([]time.Duration{0, time.Second, 3 * time.Second, 7 * time.Second, h + 7*time.Second, 2*h + 7*time.Second, 2*h + 67*time.Second})
		if got := fmt.Sprint(asked); got != want {
			t.Errorf("asked at %s, want %s", got, want)
		}
		if got := fmt.Sprintf("%q", conditional); got != `["" "" "" "" "\"e\"" "\"e\"" "\"e\""]` {
			t.Errorf("If-None-Match was %s", got)
		}
		if w.fetched != 2 || len(w.failed) != 4 || s.List.Contents().Len() != 107 {
			t.Errorf("fetched %d, failed %q", w.fetched, w.failed)
		}
	})
}

// TestRestart uses what is on disk, and does not ask before its time.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New()
		var asked atomic.Int32
		server(t, n, func(w http.ResponseWriter, _ *http.Request) { asked.Add(1); _, _ = w.Write([]byte(names(10))) })
		s := source(t, n)
		if err := s.Load(); err != nil || s.List.Contents() != nil {
			t.Fatalf("from nothing came %v, %v", s.List.Contents(), err)
		}
		if err := s.Refresh(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(-23 * time.Hour)
		if err := os.Chtimes(s.File, at, at); err != nil {
			t.Fatal(err)
		}
		s.List = route.NewList("ads")
		if err := s.Load(); err != nil || s.List.Contents().Len() != 10 {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); s.Run(ctx, nil) }()
		time.Sleep(59 * time.Minute)
		if n := asked.Load(); n != 1 {
			t.Errorf("asked %d times before the time", n-1)
		}
		time.Sleep(2 * time.Minute)
		if n := asked.Load(); n != 2 {
			t.Errorf("asked %d times when it was due", n-1)
		}
		cancel()
		<-done
	})
}

func TestLoadRefusesWhatIsBad(t *testing.T) {
	for _, data := range []string{"", "<html>\n", "a\x00b\n"} {
		s := source(t, testnet.New())
		if err := s.keep([]byte(data)); err != nil {
			t.Fatal(err)
		}
		if err := s.Load(); err == nil || s.List.Contents() != nil {
			t.Errorf("%q was loaded", data)
		}
	}
}

// TestSilentServer is bounded by Limit, before and amid the answer.
func TestSilentServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, says := range []string{"", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\na.example\n"} {
			s := source(t, testnet.New())
			s.Limit = time.Minute
			s.Dialer = chain.DialerFunc(func(context.Context, string, string) (net.Conn, error) {
				near, far := testnet.Pipe(0)
				go func() { // until the client leaves
					buf := make([]byte, 1<<10)
					_, err := far.Read(buf)
					if says != "" {
						_, _ = far.Write([]byte(says))
					}
					for err == nil {
						_, err = far.Read(buf)
					}
					_ = far.Close()
				}()
				return near, nil
			})
			began := time.Now()
			err := s.Refresh(t.Context(), nil)
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Minute {
				t.Errorf("%v after %v", err, time.Since(began))
			}
			synctest.Wait()
		}
	})
}

// TestDiskIsNoNeed uses a version that can't be kept, and says so.
func TestDiskIsNoNeed(t *testing.T) {
	n := testnet.New()
	server(t, n, text(names(10)))
	s := source(t, n)
	s.File = filepath.Join(t.TempDir(), "file", "ads.txt")
	if err := os.WriteFile(filepath.Dir(s.File), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var w told
	if err := s.Refresh(t.Context(), w.trace()); err != nil || s.List.Contents().Len() != 10 || w.fetched != 1 || len(w.failed) != 1 {
		t.Errorf("%v, fetched %d, failed %q", err, w.fetched, w.failed)
	}
}

func TestKeptForTheOwnerAlone(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes are another matter there")
	}
	s := source(t, testnet.New())
	if err := s.keep([]byte("a.example\n")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]fs.FileMode{s.File: 0o600, filepath.Dir(s.File): 0o700 | fs.ModeDir} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s has mode %v, %v", path, info.Mode(), err)
		}
	}
	if all, err := os.ReadDir(filepath.Dir(s.File)); err != nil || len(all) != 1 {
		t.Errorf("%v, %v", all, err)
	}
}

// TestSwapWhileServing replaces contents under readers.
func TestSwapWhileServing(t *testing.T) {
	n := testnet.New()
	var i int
	server(t, n, func(w http.ResponseWriter, _ *http.Request) {
		i++
		_, _ = fmt.Fprintf(w, "always.example\nv%d.example\n", i)
	})
	s := source(t, n)
	if err := s.Refresh(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	table := route.Table{{If: route.Match{Lists: []*route.List{s.List}}, Place: "here"}}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if d := table.Route(t.Context(), request("always.example:80")); d.Rule != "here" {
					t.Errorf("%+v", d)
					return
				}
			}
		})
	}
	for range 50 {
		if err := s.Refresh(t.Context(), nil); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
}
