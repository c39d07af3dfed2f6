package local

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

// fetched is a configuration whose list comes from a host that the far end alone
// knows.
func fetched(hop, url, more string) string {
	return fmt.Sprintf("[[listen]]\naddress = \"127.0.0.1:0\"\n[[hop]]\nname = \"h\"\nurl = \"socks5://%s\"\n[[chain]]\nname = \"c\"\nhops = [\"h\"]\n"+
		"[[list]]\nname = \"ads\"\nurl = %q\nvia = \"c\"\nfile = \"kept.txt\"\n%s\n"+
		"[[route]]\nto = \"block\"\nlist = \"ads\"\n[[route]]\nto = \"c\"\n", hop, url, more)
}

// awaited is a log that tells when a word is written to it. Once that is seen and the
// writers have ended, it may be read.
type awaited struct {
	bytes.Buffer
	mu   sync.Mutex
	word string
	seen chan struct{}
}

func (a *awaited) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.word != "" && bytes.Contains(p, []byte(a.word)) {
		a.word = ""
		close(a.seen)
	}
	return a.Buffer.Write(p)
}

// TestListThroughChain fetches a list through hop 1 and nothing else, and blocks
// everything that depends on it until it is there.
func TestListThroughChain(t *testing.T) {
	asked, release := make(chan struct{}, 9), make(chan struct{})
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "lists.example" {
			t.Errorf("asked for %s", r.Host)
		}
		asked <- struct{}{}
		<-release
		_, _ = w.Write([]byte("0.0.0.0 ads.example\n"))
	}))
	defer web.Close()
	far := chain.DialerFunc(func(ctx context.Context, network, addr string) (net.Conn, error) {
		if addr != "lists.example:80" {
			t.Errorf("the far end was asked for %s", addr)
		}
		return (&net.Dialer{}).DialContext(ctx, network, web.Listener.Addr().String())
	})
	hop := socksServer(t, far)
	c := parse(t, fetched(hop, "http://lists.example/ads.txt", ""))
	log := &awaited{word: "list fetched", seen: make(chan struct{})}
	s, err := New(c, testnet.Only(t, &net.Dialer{}, hop), slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if notes := s.Notes(); len(notes) != 1 || !strings.Contains(notes[0], "not fetched yet") {
		t.Errorf("notes %q", notes)
	}
	rule := func(addr string) string {
		return s.Explain(relay.Request{Network: "tcp", Addr: addr}, time.Now()).Decision.Rule
	}
	if got := rule("other.example:80"); !strings.HasSuffix(got, ":15: list ads was not fetched yet") {
		t.Errorf("before the list is there: %s", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	<-asked
	close(release)
	<-log.seen
	if got := rule("ads.example:80"); !strings.HasSuffix(got, ":15") {
		t.Errorf("ads.example: %s", got)
	}
	if got := rule("other.example:80"); !strings.HasSuffix(got, ":18") {
		t.Errorf("other.example: %s", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if strings.Contains(log.String(), "lists.example") {
		t.Errorf("the log: %s", log)
	}

	// What was kept is there at once, the next time.
	next, err := New(c, testnet.NoDial(t), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if got := next.now().lists["ads"].Contents(); got == nil || got.Len() != 1 {
		t.Errorf("kept: %+v", got)
	}
}

func TestBadKeptList(t *testing.T) {
	c := parse(t, fetched("192.0.2.1", "https://lists.example/", ""))
	if err := os.WriteFile(c.Lists[0].File, []byte("<html>\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := New(c, testnet.NoDial(t), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if notes := s.Notes(); len(notes) != 1 || !strings.Contains(notes[0], "is no good") {
		t.Errorf("notes %q", notes)
	}
}

func TestBadKey(t *testing.T) {
	_, err := New(parse(t, fetched("192.0.2.1", "https://lists.example/", "minisign = \"RWabc\"")), testnet.NoDial(t), slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), `byway.toml:14:12: list "ads": minisign: is not a minisign public key`) {
		t.Error(err)
	}
}

// TestCacheFile has lists that differ kept apart, in the user's cache.
func TestCacheFile(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	text := strings.Replace(fetched("192.0.2.1", "https://lists.example/", ""), "file = \"kept.txt\"\n", "", 1)
	c := parse(t, text)
	one, err := cacheFile(&c.Lists[0])
	if err != nil {
		t.Fatal(err)
	}
	c.Lists[0].URL += "x"
	two, _ := cacheFile(&c.Lists[0])
	if dir, _ := os.UserCacheDir(); one == two || !strings.HasPrefix(one, filepath.Join(dir, "byway", "lists")) {
		t.Errorf("%s and %s", one, two)
	}
}
