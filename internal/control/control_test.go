package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/byway-proxy/byway/internal/sockets"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve serves commands at a socket until the test ends, and returns its path.
func serve(t *testing.T, commands map[string]Command) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "byway", "control.sock")
	l, err := Listen(t.Context(), path)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip("this system's sockets have no mode")
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		(&Server{Commands: commands}).Serve(ctx, l)
	}()
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		<-done
	})
	return path
}

func TestCommands(t *testing.T) {
	path := serve(t, map[string]Command{
		"say":  func(_ context.Context, args []string) (string, error) { return strings.Join(args, "\n"), nil },
		"fail": func(context.Context, []string) (string, error) { return "half", errors.New("no luck") },
		"long": func(context.Context, []string) (string, error) { return strings.Repeat("x", 2*longest), nil },
		"wait": func(ctx context.Context, _ []string) (string, error) { <-ctx.Done(); return "", ctx.Err() },
	})
	for _, test := range []struct {
		command    string
		args       []string
		said, fail string
	}{
		{"say", nil, "", ""},
		{"say", []string{"a b", "\"é\n"}, "a b\n\"é\n", ""},
		{"fail", nil, "", "no luck"},
		{"shout", nil, "", `this byway has no command "shout"`},
		{"say", []string{strings.Repeat("x", longest)}, "", "too long"},
		{"long", nil, "", "too long"},
	} {
		said, err := Ask(t.Context(), path, test.command, test.args...)
		if said != test.said || (err == nil) != (test.fail == "") || err != nil && err.Error() != test.fail {
			t.Errorf("%s: said %.99q, %v", test.command, said, err)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(10*time.Millisecond, func() { cancel(errors.New("enough")) })
	if _, err := Ask(ctx, path, "wait"); err == nil || err.Error() != "enough" {
		t.Errorf("given up: %v", err)
	}
	for path, mode := range map[string]os.FileMode{path: 0o600 | os.ModeSocket, filepath.Dir(path): 0o700 | os.ModeDir} {
		if info, err := os.Stat(path); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v; want %v", path, info.Mode(), err, mode)
		}
	}
}

// TestRequests sends what no client of ours would: nothing is done.
func TestRequests(t *testing.T) {
	var done atomic.Int32
	path := serve(t, map[string]Command{
		"do": func(context.Context, []string) (string, error) { done.Add(1); return "done", nil },
	})
	for line, want := range map[string]string{
		"do\n":                              "not a request",
		"{\"command\":\"do\"":               "EOF",
		"{\"command\":\"do\"}{}\n":          "more than a request",
		"{\"command\":\"do\",\"to\":1}\n":   "not a request",
		"{\"command\":\"do\",\"args\":1}\n": "not a request",
		"{}\n":                              `this byway has no command ""`,
		"GET / HTTP/1.1\r\n\r\n":            "not a request",
	} {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, line)
		_ = c.(*net.UnixConn).CloseWrite()
		var r reply
		if err := json.NewDecoder(bufio.NewReader(c)).Decode(&r); err != nil || r.Error != want || r.Said != "" {
			t.Errorf("%q: %+v, %v; want %q", line, r, err, want)
		}
		_ = c.Close()
	}
	if n := done.Load(); n != 0 {
		t.Errorf("%d commands were done", n)
	}
}

func FuzzRequest(f *testing.F) {
	for _, seed := range []string{"{\"command\":\"do\",\"args\":[\"a\"]}\n", "{}\n", "[]\n", "{\"command\":\"\x00\"}\n", "\n", "{\"args\":[null]}\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		q, err := read(strings.NewReader(string(data)))
		if err != nil {
			if q.Command != "" || q.Args != nil {
				t.Errorf("%q: %v with %v", data, q, err)
			}
			return
		}
		line, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		again, err := read(strings.NewReader(string(line) + "\n"))
		if err != nil || again.Command != q.Command || strings.Join(again.Args, "\x00") != strings.Join(q.Args, "\x00") {
			t.Errorf("%q: %v, then %v, %v", data, q, again, err)
		}
	})
}

func TestNobodyServes(t *testing.T) {
	dir := t.TempDir()
	if _, err := Ask(t.Context(), filepath.Join(dir, "x.sock"), "x"); err == nil || !strings.Contains(err.Error(), "no byway serves "+dir) {
		t.Error(err)
	}
	t.Setenv("XDG_RUNTIME_DIR", dir)
	if got := DefaultPath(); got != filepath.Join(dir, "byway", "control.sock") {
		t.Errorf("default %q", got)
	}
	for _, none := range []string{"", "run"} {
		t.Setenv("XDG_RUNTIME_DIR", none)
		if got := DefaultPath(); got != "" {
			t.Errorf("with XDG_RUNTIME_DIR=%q: %q", none, got)
		}
	}
}

// TestStrangers: a conn of whom the system does not tell who it is gets no answer.
func TestStrangers(t *testing.T) {
	if !sockets.TellsPeer {
		t.Skip("this system does not tell")
	}
	a, b := net.Pipe()
	go func() {
		(&Server{}).serve(t.Context(), b)
		_ = b.Close()
	}()
	if n, err := a.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

// TestSilentClient: who asks nothing is gone at the limit.
func TestSilentClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		began := time.Now()
		go func() { _, _ = io.Copy(io.Discard, a) }()
		(&Server{}).answer(t.Context(), b)
		if took := time.Since(began); took != limit {
			t.Errorf("gone after %v", took)
		}
		_ = b.Close()
	})
}
