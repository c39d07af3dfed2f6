//go:build interop

package interop

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fetch is a client that is told of byway's port and gets the payload of a URL to
// its standard output.
type fetch struct {
	name    string
	program string
	secure  bool   // the site's https URL, else http
	host    string // by which the site is asked for
	args    func(proxy, url, ca string) []string
}

func curl(scheme string, more ...string) func(proxy, url, ca string) []string {
	return func(proxy, url, ca string) []string {
		args := []string{"-q", "-sS", "--fail", "--http1.1", "--max-time", "50", "--cacert", ca, "-x", scheme + "://" + proxy}
		return append(append(args, more...), url)
	}
}

// curl10 speaks HTTP/1.0 to the proxy.
func curl10(proxy, url, ca string) []string {
	args := curl("http", "-p")(proxy, url, ca)
	i := slices.Index(args, "-x")
	return slices.Replace(args, i, i+2, "--proxy1.0", proxy)
}

func wget(proxy, url, ca string) []string {
	return []string{
		"--no-config", "-nv", "--tries=1", "--timeout=50", "--ca-certificate=" + ca, "-e", "use_proxy=yes",
		"-e", "http_proxy=http://" + proxy, "-e", "https_proxy=http://" + proxy, "-O", "-", url,
	}
}

// requests is Python's, which leaves SOCKS to PySocks.
func requests(scheme string) func(proxy, url, ca string) []string {
	return func(proxy, url, ca string) []string {
		return []string{"-c", `
import requests, sys
proxy, url, ca = sys.argv[1:]
answer = requests.get(url, proxies={"http": proxy, "https": proxy}, verify=ca, timeout=50)
answer.raise_for_status()
sys.stdout.buffer.write(answer.content)
`, scheme + "://" + proxy, url, ca}
	}
}

// nodeConnect asks for a tunnel and speaks HTTP, or HTTPS, in it.
func nodeConnect(proxy, url, ca string) []string {
	return []string{"-e", `
const [proxy, url, ca] = process.argv.slice(1), http = require("http"), https = require("https"), fs = require("fs");
const [host, port] = proxy.split(":"), target = new URL(url), secure = target.protocol == "https:";
http.request({ host, port, method: "CONNECT", path: target.host }).on("connect", (answer, socket) => {
  if (answer.statusCode != 200) throw new Error("status " + answer.statusCode);
  const options = { servername: target.hostname, ca: fs.readFileSync(ca) };
  if (secure) options.createConnection = () => require("tls").connect({ socket, ...options });
  else options.createConnection = () => socket;
  (secure ? https : http).get(target, options, page => page.pipe(process.stdout));
}).end();
`, proxy, url, ca}
}

// nodeForward asks for a whole URL.
func nodeForward(proxy, url, _ string) []string {
	return []string{"-e", `
const [proxy, url] = process.argv.slice(1), http = require("http"), [host, port] = proxy.split(":");
http.get({ host, port, path: url, headers: { Host: new URL(url).host } }, page => {
  if (page.statusCode != 200) throw new Error("status " + page.statusCode);
  page.pipe(process.stdout);
});
`, proxy, url}
}

// python is Debian's: another may be the first in PATH, without the modules.
const python = "/usr/bin/python3"

var fetches = []fetch{
	{"curl socks4", "curl", false, byAddress, curl("socks4")},
	{"curl socks4a", "curl", false, byName, curl("socks4a")},
	{"curl socks5", "curl", false, byAddress, curl("socks5")},
	{"curl socks5h", "curl", false, byName, curl("socks5h")},
	{"curl socks5h, https", "curl", true, byName, curl("socks5h")},
	{"curl http", "curl", false, byName, curl("http")},
	{"curl http, tunnel", "curl", false, byName, curl("http", "-p")},
	{"curl http, tunnel by HTTP/1.0", "curl", false, byName, curl10},
	{"curl http, https", "curl", true, byName, curl("http")},
	{"curl http, https by HTTP/2", "curl", true, byName, curl("http", "--http2")},
	{"wget http", "wget", false, byName, wget},
	{"wget http, https", "wget", true, byName, wget},
	{"requests socks4", python, false, byAddress, requests("socks4")},
	{"requests socks4a", python, false, byName, requests("socks4a")},
	{"requests socks5", python, false, byAddress, requests("socks5")},
	{"requests socks5h", python, false, byName, requests("socks5h")},
	{"requests socks5h, https", python, true, byName, requests("socks5h")},
	{"requests http", python, false, byName, requests("http")},
	{"requests http, https", python, true, byName, requests("http")},
	{"node tunnel", "node", false, byName, nodeConnect},
	{"node tunnel, https", "node", true, byName, nodeConnect},
	{"node forward", "node", false, byName, nodeForward},
}

// clientChain is what all clients go through: byway's egress, and behind it squid,
// which alone knows the site's name.
func clientChain(t *testing.T) []peer {
	t.Helper()
	e, err := egress()
	e = need(t, e, err)
	s, err := squid()
	s = need(t, s, err)
	return []peer{e, s}
}

// TestFetch has each client get the payload through byway's one port.
func TestFetch(t *testing.T) {
	w, err := website()
	w = need(t, w, err)
	_, down := payloads()
	b := runChain(t, clientChain(t)...)
	t.Run("clients", func(t *testing.T) {
		for _, f := range fetches {
			t.Run(f.name, func(t *testing.T) {
				t.Parallel()
				if f.program == python && runQuiet(python, "-c", "import requests, socks") != nil {
					need(t, 0, missing{"python3-requests or python3-socks"})
				}
				url := w.url(f.host, "/payload")
				if f.secure {
					url = w.tlsURL(f.host, "/payload")
				}
				r := client(t, nil, nil, f.program, f.args(b.addr, url, w.ca)...)
				if err := same(r.stdout, down); err != nil || r.code != 0 {
					t.Errorf("status %d, %v: %s", r.code, err, r.stderr)
				}
			})
		}
	})
}

// TestUpload has curl send the payload to the site.
func TestUpload(t *testing.T) {
	w, err := website()
	w = need(t, w, err)
	up, _ := payloads()
	b := runChain(t, clientChain(t)...)
	file := filepath.Join(t.TempDir(), "payload")
	must(t, os.WriteFile(file, up, 0o644))
	for name, args := range map[string][]string{
		"socks5h":    {"-x", "socks5h://" + b.addr},
		"http":       {"-x", "http://" + b.addr},
		"chunked":    {"-x", "http://" + b.addr, "-H", "Transfer-Encoding: chunked"},
		"httptunnel": {"-x", "http://" + b.addr, "-p"},
	} {
		args = append(args, "-q", "-sS", "--fail", "--max-time", "50", "-T", file, w.url(byName, "/up/"+name))
		r := client(t, nil, nil, "curl", args...)
		got, err := os.ReadFile(filepath.Join(w.root, "up", name))
		if err := errors.Join(err, same(got, up)); err != nil || r.code != 0 {
			t.Errorf("%s: status %d, %v: %s", name, r.code, err, r.stderr)
		}
	}
}

// TestUnseen has the site tell what it sees of proxies, through one that adds
// nothing of its own.
func TestUnseen(t *testing.T) {
	w, err := website()
	w = need(t, w, err)
	p, err := dante()
	p = need(t, p, err)
	b := runChain(t, p)
	for _, args := range [][]string{
		{"-x", "socks5h://" + b.addr},
		{"-x", "http://" + b.addr},
		{"-x", "http://someone:something@" + b.addr, "-H", "Proxy-Connection: keep-alive"},
	} {
		args = append(args, "-q", "-sS", "--fail", "--max-time", "50", w.url(byAddress, "/seen"))
		r := client(t, nil, nil, "curl", args...)
		if got := string(r.stdout); got != unseen || r.code != 0 {
			t.Errorf("%s: the site sees %q: %s", strings.Join(args, " "), got, r.stderr)
		}
	}
}
