//go:build unix

package sockets

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

func listen(t *testing.T, path string, mode fs.FileMode) net.Listener {
	t.Helper()
	l, err := Listen(t.Context(), path, mode)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func TestListen(t *testing.T) {
	for _, mode := range []fs.FileMode{0o600, 0o660, 0o666} {
		dir := t.TempDir()
		path := filepath.Join(dir, "x.sock")
		l := listen(t, path, mode)
		info, err := os.Lstat(path)
		if err != nil || info.Mode() != mode|fs.ModeSocket {
			t.Errorf("mode %v, %v; want %v", info.Mode(), err, mode)
		}
		if l.Addr().String() != path || l.Addr().Network() != "unix" {
			t.Errorf("listens at %v", l.Addr())
		}
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Close(), s.Close()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%v is left", left)
		}
	}
}

// TestNoWindow looks for a moment at which the path has another mode than asked for.
func TestNoWindow(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	path := filepath.Join(t.TempDir(), "x.sock")
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if info, err := os.Lstat(path); err == nil && info.Mode().Perm() != 0o600 {
				t.Errorf("seen with mode %v", info.Mode())
			}
		}
	})
	for range 200 {
		_ = listen(t, path, 0o600).Close()
	}
	close(done)
	wg.Wait()
}

func TestStale(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.sock")
	dead, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = dead.Close()
	l := listen(t, path, 0o600)
	if _, err := Listen(t.Context(), path, 0o600); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a socket that is served: %v", err)
	}
	// One that was replaced is not ours to remove.
	if err := os.Rename(path, path+".moved"); err != nil {
		t.Fatal(err)
	}
	other := listen(t, path, 0o600)
	_ = l.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the socket of another was removed: %v", err)
	}
	_ = other.Close()
}

func TestListenRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "nowhere"), link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		file:                                  "no socket is there",
		link:                                  "no socket is there",
		filepath.Join(dir, "none", "x"):       "no such file or directory",
		filepath.Join(dir, string(long[:90])): "choose a shorter one",
	} {
		l, err := Listen(t.Context(), path, 0o600)
		if err == nil {
			_ = l.Close()
			t.Errorf("listens at %s", path)
		} else if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), ".byway") {
			t.Errorf("%s: error %q, want %q", path, err, want)
		}
	}
	if data, _ := os.ReadFile(file); string(data) != "precious" {
		t.Errorf("the file has %q", data)
	}
	if left, _ := os.ReadDir(dir); len(left) != 2 {
		t.Errorf("%v is left", left)
	}
}

var long = []byte(strings.Repeat("x", 200))

func TestPeer(t *testing.T) {
	if !TellsPeer {
		t.Skip("this system does not tell")
	}
	path := filepath.Join(t.TempDir(), "x.sock")
	l := listen(t, path, 0o600)
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if uid, err := Peer(s); err != nil || int(uid) != os.Geteuid() || uid.Network() != "unix" || !strings.HasPrefix(uid.String(), "uid ") {
		t.Errorf("%v, %v", uid, err)
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if _, err := Peer(a); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a pipe's peer: %v", err)
	}
}
