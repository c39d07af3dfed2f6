package configs

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
)

// Socket returns the path of the unix socket that l listens on, if it is one.
func (l *Listener) Socket() (path string, ok bool) { return strings.CutPrefix(l.Address, "unix:") }

// UIDs returns who may connect to the unix socket of l. If own, that is the user
// that byway runs as, and root, and all is nil; if all is nil otherwise, it is left to
// Mode. Own is the rule where no other is given, for a socket that Mode keeps from others.
func (l *Listener) UIDs() (all []int, own bool) {
	return l.AllowUIDs, l.AllowUIDs == nil && !shared(l.Mode)
}

// shared reports whether mode lets others than the owner connect.
func shared(mode fs.FileMode) bool { return mode&0o066 != 0 }

// checkSocket checks what is of unix sockets alone. Those who are excused may let
// in everybody.
func (l *Listener) checkSocket(d *decoder, path string, excused bool) {
	address, uids := join(path, "address"), join(path, "allow_uids")
	if proxies := join(path, "proxy_protocol"); d.has(proxies) {
		d.fail(proxies, "is of no use to a unix socket, which knows who connects; listen at an address, or remove it")
	}
	switch file, _ := l.Socket(); {
	case strings.HasPrefix(file, "@"):
		d.fail(address, "%q is an abstract socket, which anybody on this machine can connect to; give a path, which has a mode", l.Address)
	case !filepath.IsAbs(file) || strings.HasSuffix(file, "/") || strings.Contains(file, "\x00"):
		d.fail(address, `%q has no path from the root to a socket; write it like "unix:/run/byway.sock"`, l.Address)
	}
	switch {
	case l.AllowUIDs != nil && len(l.AllowUIDs) == 0:
		d.fail(uids, "is empty, which lets nobody in; name a user by number, or remove it")
	case l.AllowUIDs != nil && l.Open:
		d.fail(join(path, "open"), "stands beside allow_uids, and it means that anybody is let in; remove one of the two")
	case shared(l.Mode) && l.AllowUIDs == nil && !d.failed[uids] && !excused:
		d.fail(join(path, "mode"), "%04o lets other users connect, and no credentials are asked for; "+
			"add allow_uids or a [[listen.user]], or say open = true", l.Mode)
	}
}

// onlySockets fails for keys that are for unix sockets.
func (d *decoder) onlySockets(path string) {
	for _, key := range []string{"mode", "allow_uids"} {
		if at := join(path, key); d.has(at) {
			d.fail(at, `is of no use here; it is for addresses such as "unix:/run/byway.sock"`)
		}
	}
}

func parseMode(s string) (any, error) {
	n, err := strconv.ParseUint(s, 8, 32)
	switch {
	case err != nil || len(s) != 4 || s[0] != '0':
		return nil, fmt.Errorf(`%q is not a mode; write four octal digits, such as "0660"`, s)
	case n&0o600 != 0o600 || n&0o111 != 0:
		return nil, fmt.Errorf("%q is of no use to a socket; its owner must read and write it, and nobody executes it", s)
	}
	return fs.FileMode(n), nil
}
