//go:build interop

package interop

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/armon/go-socks5"
)

// use is one way to use byway from a client: a command line as a user types it,
// with words in braces for what differs from run to run (see matrix.words).
type use struct {
	client, how, target string
	command             string
	stdin               string // "" for nothing; in it, words in braces too
	gives               gives
}

// gives is where a use has what it got.
type gives int

const (
	payload gives = iota // the site's payload on standard output
	answer               // the same, with a head of HTTP before it
	file                 // the same, in the file {out}
	clone                // the repository, in the folder {out}
	echo                 // the payload up, sent on standard input and said back
	said                 // "done", on standard output
)

// matrix is what all uses have in common: byway's listeners before one chain of
// dante, an egress and the far end.
type matrix struct {
	words map[string]string
	brace *strings.Replacer
	names atomic.Int64 // that came to the far end unresolved
}

// TestClients runs the matrix of docs/clients.md: all clients in all their ways
// through one chain, at whose far end alone the target's name is known.
func TestClients(t *testing.T) {
	if ips, err := net.LookupHost(privateName); err == nil {
		t.Fatalf("this machine takes %s for %v: that names go unresolved would not be shown", privateName, ips)
	}
	m := newMatrix(t)
	uses := allUses()
	var passed atomic.Int64
	t.Run("uses", func(t *testing.T) {
		for _, u := range uses {
			t.Run(strings.Join([]string{u.client, u.how, u.target}, ", "), func(t *testing.T) {
				t.Parallel()
				m.check(t, u)
				passed.Add(1)
			})
		}
		for name, f := range goUses {
			t.Run("Go, "+name, func(t *testing.T) {
				t.Parallel()
				f(t, m)
				passed.Add(1)
			})
		}
	})
	t.Logf("client matrix: %d of %d; %d names came to the far end unresolved", passed.Load(), len(uses)+len(goUses), m.names.Load())
	if m.names.Load() == 0 {
		t.Error("no name came to the far end")
	}
}

func allUses() []use { return slices.Concat(curlUses, toolUses, programUses, browserUses) }

// TestClientsDocumented has docs/clients.md list every use.
func TestClientsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/clients.md")
	must(t, err)
	ways := make(map[string][]string)
	for _, u := range allUses() {
		ways[u.client] = append(ways[u.client], u.how+" ("+u.target+")")
	}
	for name := range goUses {
		ways["Go"] = append(ways["Go"], name)
	}
	for name, list := range ways {
		slices.Sort(list)
		if row := "| " + name + " | " + strings.Join(list, "; ") + " |\n"; !strings.Contains(string(text), row) {
			t.Errorf("docs/clients.md lacks the row\n%s", row)
		}
	}
}

// newMatrix starts everything but the clients.
func newMatrix(t *testing.T) *matrix {
	t.Helper()
	w, err := website()
	w = need(t, w, err)
	server, err := opensshd()
	server = need(t, server, err)
	d, err := dante()
	d = need(t, d, err)
	e, err := egress()
	e = need(t, e, err)
	second, err := dante2()
	second = need(t, second, err)
	m := new(matrix)
	far := peer{name: "far-end", scheme: "socks5", addr: m.farEnd(t)}
	repo := repository(t, w)
	chain := []peer{d, e, far}
	text, files := chainConfig(chain...)
	text = strings.Replace(text, "[[route]]", "dns = \"192.0.2.53:53\"\n[[route]]", 1)
	plain := runByway(t, text, files)
	text, files = withUser(chainConfig(chain...))
	asking := runByway(t, text, files)
	secure, proxyCA := runTLSChain(t, true, chain...)
	open, openCA := runTLSChain(t, false, chain...)
	udp := runChain(t, d, second)
	page, pageTLS := webApp(t, w)
	scripts, err := filepath.Abs("testdata")
	must(t, err)
	nc, err := find("nc.openbsd")
	nc = need(t, nc, err)
	m.words = map[string]string{
		"proxy": plain.addr, "asking": asking.addr, "secure": secure.addr, "proxyca": proxyCA, "open": open.addr, "udp": udp.addr,
		"ca": w.ca, "scripts": scripts, "python": python, "nc": nc,
		"name": byName, "site": w.port, "url": w.url(byName, "/payload"), "tlsurl": w.tlsURL(byName, "/payload"), "addressurl": w.url(byAddress, "/payload"),
		"repo": w.url(byName, "/repo.git"), "tlsrepo": w.tlsURL(byName, "/repo.git"), "sshrepo": "ssh://" + server.user + "@" + net.JoinHostPort(byName, server.port) + repo,
		"ssh": "-p " + server.port + " " + strings.Join(server.options, " "), "me": server.user,
		"page": page, "pagetls": pageTLS, "dns": fmt.Sprint(dnsServer(t, net.IPv4(192, 0, 2, 80)).Port),
		"proxypin": spki(t, proxyCA),
		"pins":     spki(t, w.ca) + "," + spki(t, openCA),
	}
	for _, name := range []string{"proxy", "asking", "udp"} {
		m.words[name+"host"], m.words[name+"port"], _ = net.SplitHostPort(m.words[name])
	}
	m.words["conf"] = m.settings(t)
	var pairs []string
	for word, value := range m.words {
		pairs = append(pairs, "{"+word+"}", value)
	}
	m.brace = strings.NewReplacer(pairs...)
	return m
}

// settings writes what proxychains and torsocks are configured by, and returns the
// folder.
func (m *matrix) settings(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, scheme := range []string{"socks4", "socks5", "http"} {
		text := fmt.Sprintf("strict_chain\nproxy_dns\nquiet_mode\n[ProxyList]\n%s %s %s\n", scheme, m.words["proxyhost"], m.words["proxyport"])
		must(t, os.WriteFile(filepath.Join(dir, scheme+".conf"), []byte(text), 0o644))
	}
	text := fmt.Sprintf("TorAddress %s\nTorPort %s\nOnionAddrRange 127.42.42.0/24\n", m.words["proxyhost"], m.words["proxyport"])
	must(t, os.WriteFile(filepath.Join(dir, "torsocks.conf"), []byte(text), 0o644))
	return dir
}

// farEnd is a SOCKS5 server that alone knows the site's name, and addresses that
// stand for the site and for a DNS server.
func (m *matrix) farEnd(t *testing.T) string {
	t.Helper()
	dns := dnsServer(t, net.IPv4(192, 0, 2, 80))
	s, err := socks5.New(&socks5.Config{
		Logger:   log.New(io.Discard, "", 0),
		Resolver: m,
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			switch host, port, _ := net.SplitHostPort(addr); host {
			case "192.0.2.53":
				addr = dns.String()
			case "192.0.2.80":
				addr = net.JoinHostPort("127.0.0.1", port)
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
	})
	must(t, err)
	addr, err := lab.accept(func(c net.Conn) { _ = s.ServeConn(c) })
	must(t, err)
	return addr
}

// Resolve knows one name.
func (m *matrix) Resolve(ctx context.Context, name string) (context.Context, net.IP, error) {
	if name != privateName {
		return ctx, nil, fmt.Errorf("the far end does not know %s", name)
	}
	m.names.Add(1)
	return ctx, net.IPv4(127, 0, 0, 1), nil
}

var shellWord = regexp.MustCompile(`'[^']*'|\S+`)

// installed skips, outside of CI, a use of libraries that are not there.
func (m *matrix) installed(t *testing.T, u use) {
	t.Helper()
	switch {
	case strings.HasPrefix(u.command, byPython):
		if runQuiet(python, "-c", "import async_timeout, python_socks, requests, socks") != nil {
			need(t, 0, missing{"one of Python's libraries"})
		}
	case strings.Contains(u.command, "{scripts}/node"):
		if _, err := os.Stat("testdata/node/node_modules"); err != nil {
			need(t, 0, missing{"one of Node's libraries (npm ci --prefix internal/interop/testdata/node)"})
		}
	}
}

// check runs one use, and compares each byte that it got.
func (m *matrix) check(t *testing.T, u use) {
	t.Helper()
	m.installed(t, u)
	out := filepath.Join(t.TempDir(), "out")
	fill := func(s string) string { return strings.ReplaceAll(m.brace.Replace(s), "{out}", out) }
	args := shellWord.FindAllString(fill(u.command), -1)
	var env []string
	for i, a := range args {
		args[i] = strings.Trim(a, "'")
	}
	for strings.Contains(args[0], "=") {
		env, args = append(env, args[0]), args[1:]
	}
	up, down := payloads()
	stdin := []byte(fill(u.stdin))
	if u.gives == echo {
		stdin = up
	}
	r := client(t, stdin, env, args[0], args[1:]...)
	got, want := r.stdout, down
	var err error
	switch u.gives {
	case answer:
		_, got, _ = bytes.Cut(got, []byte("\r\n\r\n"))
	case file:
		got, err = os.ReadFile(out)
	case clone:
		want = up
		got, err = os.ReadFile(filepath.Join(out, "payload"))
	case echo:
		want = up
	case said:
		got, want = bytes.TrimSpace(got), []byte("done")
	}
	if err == nil {
		err = same(got, want)
	}
	if err != nil || r.code != 0 {
		t.Fatalf("%s\nstatus %d, %v: %.2000s", strings.Join(args, " "), r.code, err, r.stderr)
	}
}
