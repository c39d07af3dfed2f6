//go:build interop

package interop

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSSH has OpenSSH go through byway by OpenBSD's netcat, the way its manual
// shows, and carry the payload up and down.
func TestSSH(t *testing.T) {
	server, err := opensshd()
	server = need(t, server, err)
	nc, err := find("nc.openbsd", "nc")
	nc = need(t, nc, err)
	up, _ := payloads()
	b := runChain(t, clientChain(t)...)
	for _, c := range []struct{ how, host string }{{"4", byAddress}, {"5", byName}, {"connect", byName}} {
		t.Run("nc -X "+c.how, func(t *testing.T) {
			t.Parallel()
			// cat answers as it is fed, and ends after the client's end.
			args := append(sshArgs(server, proxyCommand(nc, c.how, b.addr)), server.user+"@"+c.host, "cat; echo done >&2")
			r := client(t, up, nil, "ssh", args...)
			if err := same(r.stdout, up); err != nil || r.code != 0 || !strings.Contains(r.stderr, "done") {
				t.Errorf("status %d, %v: %s", r.code, err, r.stderr)
			}
		})
	}
}

func sshArgs(s sshd, proxy string) []string {
	return append(append([]string{"-p", s.port}, s.options...), "-o", "ProxyCommand="+proxy)
}

func proxyCommand(nc, how, proxy string) string {
	return fmt.Sprintf("%s -X %s -x %s %%h %%p", nc, how, proxy)
}

// repository makes a bare repository with the payload up, below the site's root,
// and returns its folder.
func repository(t *testing.T, s site) string {
	t.Helper()
	up, _ := payloads()
	work := t.TempDir()
	bare := filepath.Join(s.root, "repo.git")
	must(t, os.WriteFile(filepath.Join(work, "payload"), up, 0o644))
	t.Cleanup(func() { _ = os.RemoveAll(bare) })
	for _, args := range [][]string{
		{"init", "-q", "-b", "main", work},
		{"-C", work, "add", "payload"},
		{"-C", work, "-c", "user.name=Interop", "-c", "user.email=interop@test", "commit", "-q", "-m", "Add the payload"},
		{"clone", "-q", "--bare", work, bare},
		{"-C", bare, "update-server-info"},
	} {
		if r := client(t, nil, nil, "git", args...); r.code != 0 {
			t.Fatalf("git %s: %s", strings.Join(args, " "), r.stderr)
		}
	}
	return bare
}

// TestGit clones through byway, over http (the dumb protocol, of many requests) and
// over ssh (the smart one, of many turns).
func TestGit(t *testing.T) {
	w, err := website()
	w = need(t, w, err)
	server, err := opensshd()
	server = need(t, server, err)
	nc, err := find("nc.openbsd", "nc")
	nc = need(t, nc, err)
	bare := repository(t, w)
	up, _ := payloads()
	b := runChain(t, clientChain(t)...)
	ssh := "GIT_SSH_COMMAND=ssh " + quoteAll(sshArgs(server, proxyCommand(nc, "5", b.addr)))
	for _, c := range []struct {
		name, env, proxy, url string
	}{
		{"http by socks5h", "", "socks5h://" + b.addr, w.url(byName, "/repo.git")},
		{"http by http", "", "http://" + b.addr, w.url(byName, "/repo.git")},
		{"https by http", "GIT_SSL_CAINFO=" + w.ca, "http://" + b.addr, w.tlsURL(byName, "/repo.git")},
		{"ssh by nc", ssh, "", "ssh://" + server.user + "@" + net.JoinHostPort(byName, server.port) + bare},
	} {
		t.Run(c.name, func(t *testing.T) {
			to := filepath.Join(t.TempDir(), "clone")
			// The owner of a folder is of no concern where git is asked by ssh, as us.
			args := []string{"-c", "http.proxy=" + c.proxy, "-c", "protocol.version=2", "clone", "-q", c.url, to}
			r := client(t, nil, []string{c.env}, "git", args...)
			got, err := os.ReadFile(filepath.Join(to, "payload"))
			if err := errors.Join(err, same(got, up)); err != nil || r.code != 0 {
				t.Errorf("status %d, %v: %s", r.code, err, r.stderr)
			}
		})
	}
}

// quoteAll writes args for a shell.
func quoteAll(args []string) string {
	var quoted []string
	for _, a := range args {
		quoted = append(quoted, "'"+strings.ReplaceAll(a, "'", `'\''`)+"'")
	}
	return strings.Join(quoted, " ")
}
