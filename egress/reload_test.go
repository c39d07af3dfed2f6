package egress

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/byway-proxy/byway/configs"
)

// TestReload changes the website while a request is under way at the old one.
func TestReload(t *testing.T) {
	arrived, answer := make(chan bool), make(chan bool)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		arrived <- true
		<-answer
		_, _ = io.WriteString(w, "old")
	}))
	defer backend.Close()
	dir := t.TempDir()
	parse := func(text string) *configs.Egress {
		t.Helper()
		t.Setenv("TOKEN", "0123456789abcdef0123")
		c, err := configs.ParseEgress(filepath.Join(dir, "egress.toml"), []byte("[[listen]]\naddress = \"127.0.0.1:0\"\n[[user]]\nname = \"alice\"\n"+
			"secret = { env = \"TOKEN\" }\n[tls]\nnames = [\"127.0.0.1\"]\n"+text))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	log := slog.New(slog.DiscardHandler)
	first := parse("[[site]]\nupstream = \"" + backend.URL + "\"\n")
	s, err := FromConfig(first, nil, log)
	if err != nil {
		t.Fatal(err)
	}
	get := func() string {
		r := httptest.NewRecorder()
		s.Site.ServeHTTP(r, httptest.NewRequest(http.MethodGet, "http://127.0.0.1/", nil))
		return strings.TrimSpace(http.StatusText(r.Code) + " " + r.Body.String())
	}
	under := make(chan string)
	go func() { under <- get() }()
	<-arrived

	if _, err := s.Reload(first, parse("[[site]]\nroot = \"none\"\n"), log); err == nil {
		t.Error("a site that cannot be served was taken")
	}
	second := parse("[[site]]\nstatus = 410\n[timeouts]\nidle = \"1m\"\n[destinations]\ndeny = [\"192.0.2.0/24\"]\n")
	later, err := s.Reload(first, second, log)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"destinations", "timeouts"}; !slices.Equal(later, want) {
		t.Errorf("left for the next start: %q, want %q", later, want)
	}
	if got := get(); got != "Gone" {
		t.Errorf("the new site answers %q", got)
	}
	close(answer)
	if got := <-under; got != "OK old" {
		t.Errorf("the request that was under way got %q", got)
	}
	live := s.Site.(*liveSite)
	if len(live.older) != 0 {
		t.Error("the old site is kept")
	}
	if later, err := s.Reload(second, second, log); err != nil || later != nil {
		t.Errorf("the same again: %q, %v", later, err)
	}
	live.Close()
}
