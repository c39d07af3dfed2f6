//go:build interop

package interop

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// TestMain builds the command once, and ends the peers that the tests shared.
func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "byway-interop-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	// Peers that give up root's rights must get at their files.
	if err := os.Chmod(dir, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	lab.dir = dir
	defer lab.close()
	if err := lab.build(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	lab.close()
	if lab.err != nil {
		fmt.Fprintln(os.Stderr, "FAIL: at the end of all tests:", lab.err)
		return 1
	}
	return code
}

// lab is what all tests share.
var lab laboratory

type laboratory struct {
	dir   string // gone at the end
	byway string // the command under test

	mu      sync.Mutex
	closers []func()
	err     error // of what ended last
}

// build makes the command, with the race detector unless BYWAY_INTEROP_RACE is 0.
// BYWAY_INTEROP_BINARY names one that exists, to be tested in its place.
func (l *laboratory) build() error {
	if l.byway = os.Getenv("BYWAY_INTEROP_BINARY"); l.byway != "" {
		_, err := os.Stat(l.byway)
		return err
	}
	l.byway = filepath.Join(l.dir, "byway")
	args := []string{"build", "-o", l.byway}
	if os.Getenv("BYWAY_INTEROP_RACE") != "0" {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, "github.com/byway-proxy/byway/cmd/byway")...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// folder makes a folder that lives as long as the lab.
func (l *laboratory) folder(name string) (string, error) {
	dir := filepath.Join(l.dir, name)
	return dir, os.MkdirAll(dir, 0o755)
}

// keep calls f at the end of all tests.
func (l *laboratory) keep(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closers = append(l.closers, f)
}

// close undoes what was kept, the last first.
func (l *laboratory) close() {
	l.mu.Lock()
	closers := l.closers
	l.closers = nil
	l.mu.Unlock()
	for _, f := range slices.Backward(closers) {
		f()
	}
}

// check fails the run on an error that comes too late for any test.
func (l *laboratory) check(err error) {
	if err != nil {
		l.err = errors.Join(l.err, err)
	}
}

// server runs a server that all tests share, once it listens on addr.
func (l *laboratory) server(addr, path string, arg ...string) (*process, error) {
	p, err := launch(path, arg...)
	if err != nil {
		return nil, err
	}
	l.keep(func() { _ = p.stop() })
	return p, p.listening(addr)
}

// accept serves each conn of a loopback listener until all tests are done.
func (l *laboratory) accept(serve func(net.Conn)) (addr string, err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	l.keep(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
	return ln.Addr().String(), nil
}
