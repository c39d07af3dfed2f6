//go:build interop

package interop

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// byway is a running "byway run" or "byway egress".
type byway struct {
	*process
	addr string // the first listener
}

var listeningLine = regexp.MustCompile(`msg=listening address=(\S+)`)

// startByway runs the command until it listens.
func startByway(arg ...string) (*byway, error) {
	p, err := launch(lab.byway, arg...)
	if err != nil {
		return nil, err
	}
	match, err := p.said(listeningLine)
	if err != nil {
		return nil, fmt.Errorf("%w; %w", err, p.stop())
	}
	return &byway{p, match[1]}, nil
}

// end asks byway to end as a service manager does. It must do so by itself, with
// status 0, and with no race found.
func (b *byway) end() error {
	if err := b.stop(); err != nil {
		return fmt.Errorf("byway: %w: %s", err, b.out.String())
	}
	if strings.Contains(b.out.String(), "DATA RACE") {
		return fmt.Errorf("byway: %s", b.out.String())
	}
	return nil
}

// runByway runs "byway run" for one test, with text for its configuration and the
// files it names beside it.
func runByway(t *testing.T, text string, files map[string]string, arg ...string) *byway {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	file := filepath.Join(dir, "byway.toml")
	must(t, os.WriteFile(file, []byte(text), 0o600))
	b, err := startByway(append([]string{"run", "-v", "-c", file}, arg...)...)
	if err != nil {
		t.Fatalf("%v\nof the configuration\n%s", err, text)
	}
	b.endWith(t)
	return b
}

// runChain runs byway with one listener, and one chain of the peers for everything.
func runChain(t *testing.T, peers ...peer) *byway {
	t.Helper()
	text, files := chainConfig(peers...)
	return runByway(t, text, files)
}

// tunnel opens tunnels by SOCKS5.
func (b *byway) tunnel() dialFunc { return peer{scheme: "socks5", addr: b.addr}.direct() }

// chainConfig is what a user would write for a chain of the peers, and the files
// with the secrets.
func chainConfig(peers ...peer) (text string, files map[string]string) {
	var b strings.Builder
	files = make(map[string]string)
	b.WriteString("[[listen]]\naddress = \"127.0.0.1:0\"\n")
	var names []string
	for i, p := range peers {
		name := strconv.Quote(fmt.Sprintf("%s-%d", p.name, i+1))
		names = append(names, name)
		fmt.Fprintf(&b, "[[hop]]\nname = %s\nurl = \"%s://%s\"\n", name, p.scheme, p.addr)
		if p.user != "" {
			file := fmt.Sprintf("hop%d.secret", i+1)
			files[file] = p.secret + "\n"
			fmt.Fprintf(&b, "user = %q\nsecret = { file = %q }\n", p.user, file)
		}
		if p.pin != "" {
			fmt.Fprintf(&b, "[hop.tls]\npin = %q\n", p.pin)
		}
		b.WriteString(p.more)
	}
	fmt.Fprintf(&b, "[[chain]]\nname = \"default\"\nhops = [%s]\n[[route]]\nto = \"default\"\n", strings.Join(names, ", "))
	b.WriteString("[timeouts]\ndrain = \"5s\"\n")
	return b.String(), files
}

// startEgress makes an egress in the folder dir as its manual says, edits its
// configuration, and runs it.
func startEgress(dir string, edit func(string) string) (peer, *byway, error) {
	addr, _, err := reserved()
	if err != nil {
		return peer{}, nil, err
	}
	if err := runQuiet(lab.byway, "egress", "init", "--domain", "127.0.0.1", "--listen", addr, "--user", "alice", "--dir", dir); err != nil {
		return peer{}, nil, err
	}
	file := filepath.Join(dir, "egress.toml")
	text, err := os.ReadFile(file)
	if err != nil {
		return peer{}, nil, err
	}
	if err := os.WriteFile(file, []byte(edit(string(text))), 0o644); err != nil {
		return peer{}, nil, err
	}
	link, err := os.ReadFile(filepath.Join(dir, "alice.link"))
	if err != nil {
		return peer{}, nil, err
	}
	u, err := url.Parse(strings.TrimSpace(string(link)))
	if err != nil {
		return peer{}, nil, err
	}
	token, _ := u.User.Password()
	b, err := startByway("egress", "-v", "-c", file)
	if err != nil {
		return peer{}, nil, err
	}
	p := peer{name: "egress", scheme: "https", addr: b.addr, user: "alice", secret: token}
	pin := pinText.FindStringSubmatch(b.out.String())
	if pin == nil {
		return peer{}, nil, fmt.Errorf("the egress does not tell its pin: %s; %w", b.out.String(), b.stop())
	}
	p.pin = pin[1]
	return p, b, nil
}

var pinText = regexp.MustCompile(`pin="?(sha256/[A-Za-z0-9+/=]+)`)

// toLoopback lets an egress reach the targets of tests.
func toLoopback(text string) string {
	return text + "\n[destinations]\nallow = [\"127.0.0.0/8\", \"::1\"]\n"
}

// egress is byway's own last hop, for all tests. How it ends is tested after them.
var egress = sync.OnceValues(func() (peer, error) {
	dir, err := lab.folder("egress")
	if err != nil {
		return peer{}, err
	}
	p, b, err := startEgress(dir, toLoopback)
	if err != nil {
		return peer{}, err
	}
	lab.keep(func() { lab.check(b.end()) })
	return p, nil
})

// runEgress runs an egress for one test.
func runEgress(t *testing.T, edit func(string) string) (peer, *byway) {
	t.Helper()
	p, b, err := startEgress(t.TempDir(), edit)
	must(t, err)
	b.endWith(t)
	return p, b
}

// endWith ends byway with the test.
func (b *byway) endWith(t *testing.T) {
	t.Cleanup(func() {
		if err := b.end(); err != nil {
			t.Error(err)
		} else if t.Failed() {
			t.Logf("byway wrote: %s", b.out.String())
		}
	})
}

// signal sends SIGTERM and returns at once.
func (b *byway) signal() error { return b.cmd.Process.Signal(syscall.SIGTERM) }

// ended waits until byway has ended by itself.
func (b *byway) ended(t *testing.T, limit time.Duration) {
	t.Helper()
	select {
	case <-b.done:
	case <-time.After(limit):
		t.Errorf("byway did not end within %v", limit)
	}
}

// awaitLine waits until byway's log has a line that matches re.
func (b *byway) awaitLine(t *testing.T, re string) {
	t.Helper()
	if _, err := b.said(regexp.MustCompile(re)); err != nil {
		t.Error(err)
	}
}
