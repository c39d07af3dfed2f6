//go:build unix

package sockets

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Listen listens on a stream socket at path with that mode, of which the permission
// bits count. The socket is made in a folder of its own that is nobody else's, and
// moved to path when it has its mode: there is no moment at which more can connect
// than mode says.
//
// A socket at path on which nobody listens any more is replaced; one that is served,
// and whatever is no socket, is an error. Close removes the socket, if it is still
// that of the listener.
func Listen(ctx context.Context, path string, mode fs.FileMode) (net.Listener, error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, cause(err)
	}
	defer func() { _ = dir.Close() }() // which also gives the lock back
	// Two that start at once take turns: the second finds the first one's socket.
	if err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX); err != nil {
		return nil, fmt.Errorf("locking the folder: %w", err)
	}
	if err := vacate(ctx, path); err != nil {
		return nil, err
	}
	private, err := os.MkdirTemp(dir.Name(), ".byway")
	if err != nil {
		return nil, cause(err)
	}
	defer func() { _ = os.RemoveAll(private) }()
	made := filepath.Join(private, "s")
	if most := len(syscall.RawSockaddrUnix{}.Path) - 1 - max(0, len(made)-len(path)); len(path) > most {
		return nil, fmt.Errorf("the path has %d bytes, and a socket's no more than %d there; choose a shorter one", len(path), most)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", made)
	if err != nil {
		return nil, cause(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // it would look for it at made
	out, err := settle(l, made, path, mode)
	if err != nil {
		_ = l.Close()
		return nil, cause(err)
	}
	return out, nil
}

// settle gives the socket at made its mode, and then its place.
func settle(l net.Listener, made, path string, mode fs.FileMode) (*listener, error) {
	if err := os.Chmod(made, mode.Perm()); err != nil {
		return nil, err
	}
	info, err := os.Lstat(made)
	if err != nil {
		return nil, err
	}
	if err := os.Rename(made, path); err != nil {
		return nil, err
	}
	return &listener{Listener: l, addr: &net.UnixAddr{Name: path, Net: "unix"}, info: info}, nil
}

// vacate makes sure that there is nothing at path that is still of use.
func vacate(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return cause(err)
	case info.Mode().Type() != fs.ModeSocket:
		return errors.New("something that is no socket is there; remove it or choose another path")
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		_ = c.Close()
		return fmt.Errorf("another program serves it: %w", syscall.EADDRINUSE)
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil // the rename replaces it
	}
	return fmt.Errorf("whether another program serves it cannot be told: %w", cause(err))
}

// cause is err without paths that nobody gave.
func cause(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

type listener struct {
	net.Listener
	addr net.Addr
	info fs.FileInfo
	once sync.Once
}

func (l *listener) Addr() net.Addr { return l.addr }

func (l *listener) Close() error {
	// First, so that whoever comes next finds nothing rather than a closed socket.
	l.once.Do(func() {
		if now, err := os.Lstat(l.addr.String()); err == nil && os.SameFile(now, l.info) {
			_ = os.Remove(l.addr.String())
		}
	})
	return l.Listener.Close()
}
