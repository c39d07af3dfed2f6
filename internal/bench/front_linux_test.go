//go:build peers

package bench

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/byway-proxy/byway/internal/testnet"
)

// proxying are reverse proxies, set up with what each needs to keep its connections to the origin, and else as they come.
var proxying = []struct {
	contender
	conf func(dir, origin, addr string) (file, text string, argv []string) // argv after the program; %s is the file
}{
	{contender{name: "byway front", program: "byway", kind: Ours}, func(_, origin, addr string) (string, string, []string) {
		return "front.toml", fmt.Sprintf("listen = [{ address = %q, plain = true }]\n[[site]]\nupstream = \"http://%s\"\n", addr, origin), []string{"front", "-c", "%s"}
	}},
	{contender{name: "caddy", program: "caddy", kind: Peer}, func(_, origin, addr string) (string, string, []string) {
		return "Caddyfile", fmt.Sprintf("{\n\tadmin off\n\tauto_https off\n}\nhttp://%s {\n\treverse_proxy %s\n}\n", addr, origin), []string{"run", "--config", "%s"}
	}},
	{contender{name: "nginx", program: "nginx", kind: Peer}, func(dir, origin, addr string) (string, string, []string) {
		return "nginx.conf", nginxConf(dir, fmt.Sprintf("upstream origin { server %s; keepalive 128; keepalive_requests 1000000000; }\n"+
			"server { listen %s; location / { proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection \"\"; } }", origin, addr)), []string{"-e", "stderr", "-c", "%s"}
	}},
	{contender{name: "haproxy", program: "haproxy", kind: Peer}, func(_, origin, addr string) (string, string, []string) {
		return "haproxy.cfg", fmt.Sprintf("defaults\n mode http\n timeout client 60s\n timeout server 60s\n timeout connect 5s\nfrontend f\n bind %s\n default_backend b\n"+
			"backend b\n http-reuse always\n server s %s\n", addr, origin), []string{"-db", "-f", "%s"}
	}},
}

func nginxConf(dir, servers string) string {
	as := ""
	if os.Getuid() == 0 {
		as = "user root;\n" // the files are in folders of the tests' user
	}
	return as + fmt.Sprintf("daemon off;\nworker_processes 2;\npid %[1]s/pid;\nerror_log stderr crit;\nevents { worker_connections 4096; }\nhttp {\naccess_log off;\n"+
		"keepalive_requests 1000000000;\nsendfile on;\nclient_body_temp_path %[1]s/b;\nproxy_temp_path %[1]s/p;\nfastcgi_temp_path %[1]s/f;\nuwsgi_temp_path %[1]s/u;\nscgi_temp_path %[1]s/s;\n%[2]s\n}\n",
		dir, servers)
}

// frontTime is how long each load lasts.
const frontTime = 2 * time.Second

// TestFrontPeers measures reverse proxies over HTTP/1.1 in the clear: an nginx behind them has files of 1 KB and 100 KB,
// wrk asks for them, one thread with 64 connections that are kept.
func TestFrontPeers(t *testing.T) {
	wrk, nginx := find("wrk"), find("nginx")
	if wrk == "" || nginx == "" {
		if os.Getenv("CI") != "" {
			t.Fatal("wrk and nginx are wanted")
		}
		t.Skip("wrk and nginx are wanted")
	}
	tab := &Table{Title: "A reverse proxy, HTTP/1.1"}
	for _, size := range []string{"1 KB", "100 KB"} {
		tab.Columns = append(tab.Columns, Column{size + " req/s", false}, Column{size + " p99 ms", true}, Column{size + " cpu µs", true})
	}
	dir := t.TempDir()
	origin := testnet.Reserved(t)
	serveFiles(t, nginx, dir, origin)
	tab.Row("no proxy", Reference)
	type run struct {
		name, addr string
		procs      []*exec.Cmd
	}
	runs := []run{{"no proxy", origin, nil}}
	for _, c := range proxying {
		path := c.path(t, tab)
		if path == "" {
			continue
		}
		addr := testnet.Reserved(t)
		file, text, args := c.conf(t.TempDir(), origin, addr)
		at := write(t, file, text)
		argv := []string{path}
		for _, a := range args {
			argv = append(argv, strings.Replace(a, "%s", at, 1))
		}
		r := run{c.name, addr, []*exec.Cmd{start(t, argv)}}
		listening(t, func() (net.Conn, error) { return net.Dial("tcp", addr) }, c.name)
		tab.Row(c.name, c.kind)
		runs = append(runs, r)
	}
	for i := range *rounds {
		t.Logf("round %d of %d", i+1, *rounds)
		for _, size := range []string{"1 KB", "100 KB"} {
			for _, r := range runs {
				var before, after usage
				if r.procs != nil {
					before = used(t, r.procs)
				}
				n, rate, p99 := ask(t, wrk, "http://"+r.addr+"/"+strings.TrimSuffix(size, " KB"))
				tab.Put(r.name, size+" req/s", rate)
				tab.Put(r.name, size+" p99 ms", p99)
				if r.procs != nil {
					after = used(t, r.procs)
					tab.Put(r.name, size+" cpu µs", float64((after.cpu-before.cpu).Microseconds())/n)
				}
			}
		}
	}
	fmt.Println(tab)
}

// serveFiles has nginx serve /1 and /100, of so many KB.
func serveFiles(t *testing.T, nginx, dir, addr string) {
	t.Helper()
	for _, kb := range []int{1, 100} {
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(kb)), make([]byte, kb<<10), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	conf := write(t, "origin.conf", nginxConf(t.TempDir(), fmt.Sprintf("server { listen %s; root %s; open_file_cache max=100; }", addr, dir)))
	start(t, []string{nginx, "-e", "stderr", "-c", conf})
	listening(t, func() (net.Conn, error) { return net.Dial("tcp", addr) }, "the origin")
}

var wrkSays = regexp.MustCompile(`(?s)99%\s+([\d.]+)(us|ms|s)\n.*?(\d+) requests in .*?Requests/sec:\s+([\d.]+)`)

// ask loads a URL, and returns the number of requests, how many a second, and the latency that 99 of 100 keep to, in ms.
func ask(t *testing.T, wrk, url string) (n, rate, p99 float64) {
	t.Helper()
	out, err := exec.Command(wrk, "-t1", "-c64", "-d"+frontTime.String(), "--latency", url).CombinedOutput()
	m := wrkSays.FindSubmatch(out)
	if err != nil || m == nil || strings.Contains(string(out), "Non-2xx") {
		t.Fatalf("wrk: %v: %s", err, out)
	}
	number := func(b []byte) float64 {
		f, err := strconv.ParseFloat(string(b), 64)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	p99 = number(m[1]) * map[string]float64{"us": 0.001, "ms": 1, "s": 1000}[string(m[2])]
	return number(m[3]), number(m[4]), p99
}
