//go:build interop

package interop

import (
	"embed"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/byway-proxy/byway/internal/probe"
	"github.com/byway-proxy/byway/internal/testnet"
)

var camouflageReport = flag.String("camouflage.report", "", "file to write the report of TestCamouflage to")

//go:embed testdata/camouflage
var camouflage embed.FS

const (
	// quiet is how long an answer has to have been over to be taken for whole. A server that
	// has sent GOAWAY closes after a second, and the machine may be busy; but all probes wait at once.
	quiet    = 1700 * time.Millisecond
	parallel = 150
)

// TestCamouflage sends every probe of testdata/camouflage to a website without tunnels
// ("byway front"), to an egress of the same configuration, and to Caddy with the same folder and
// certificate. The first two have to be equal; the third too, but for what
// testdata/camouflage/differences.txt lists with the reason.
func TestCamouflage(t *testing.T) {
	l := newLookalikes(t, "camouflage", ed25519Pair, domain)
	probes := l.probes(t)
	if len(probes) < 200 {
		t.Errorf("only %d probes", len(probes))
	}
	records := l.run(t, probes)
	known := readDifferences(t)
	var r report
	for i, p := range probes {
		off, on, caddy := records[i][0], records[i][1], records[i][2]
		for _, rec := range records[i] {
			if rec.Failed != "" {
				t.Errorf("%s was not sent: %s", p.Name, rec.Failed)
			}
		}
		tunnel := strings.Contains(p.Name, "tunnel/")
		switch {
		case tunnel && !strings.Contains(on.String(), "hello"):
			t.Errorf("%s: no tunnel for a good credential:\n%s", p.Name, on)
		case !tunnel && off.String() != on.String():
			t.Errorf("%s: tunnels show.\noff:\n%s\non:\n%s", p.Name, off, on)
		}
		reason := known.reason(p.Name)
		if same := off.String() == caddy.String(); !same && reason == "" {
			t.Errorf("%s: not as Caddy.\nbyway:\n%s\nCaddy:\n%s", p.Name, off, caddy)
		} else if same && reason != "" {
			t.Errorf("%s is as Caddy, though differences.txt says that it is not", p.Name)
		}
		r.add(p.Name, off, on, caddy, reason)
	}
	known.unused(t)
	if *camouflageReport != "" && !t.Failed() {
		must(t, os.WriteFile(*camouflageReport, []byte(r.text()), 0o644))
	}
}

// lookalikes are the three servers.
type lookalikes struct {
	off, on, caddy string // addresses
	echo           string // a target of tunnels
	token          string
}

// domain is what the servers are called; nobody looks it up.
const domain = "www.example.org"

// newLookalikes starts the three with a site for hosts, below the lab's folder name, and a
// certificate by pair.
func newLookalikes(t *testing.T, name string, pair func(cert, key, name string) error, hosts ...string) *lookalikes {
	t.Helper()
	path, err := findCaddy()
	path = need(t, path, err)
	dir, err := lab.folder(name)
	must(t, err)
	root := filepath.Join(dir, "site")
	must(t, errors.Join(makeSite(root), pair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), domain)))
	l := &lookalikes{token: strings.Repeat("t0k-", 8)}

	echo := testnet.Listen(t)
	go testnet.Echo(echo)
	l.echo = echo.Addr().String()

	must(t, os.WriteFile(filepath.Join(dir, "alice.token"), []byte(l.token+"\n"), 0o600))
	file := filepath.Join(dir, "egress.toml")
	must(t, os.WriteFile(file, []byte(toLoopback(`
[[listen]]
address = "127.0.0.1:0"
[tls]
certificate = "cert.pem"
key = "key.pem"
[[site]]
host = ["`+strings.Join(hosts, `", "`)+`"]
root = "site"
[[user]]
name = "alice"
secret = { file = "alice.token" }
`)), 0o644))
	b, err := startByway("egress", "-v", "-c", file)
	must(t, err)
	b.endWith(t)
	l.on = b.addr
	off, err := startByway("front", "-c", file)
	must(t, err)
	off.endWith(t)
	l.off = off.addr

	addr, port, err := reserved()
	must(t, err)
	var urls []string
	for _, host := range hosts {
		urls = append(urls, "https://"+net.JoinHostPort(host, port))
	}
	_, caddyfile, err := config(name, "Caddyfile", fmt.Sprintf(`{
	admin off
	persist_config off
	auto_https disable_redirects
	storage file_system %[1]s/storage
	log {
		level ERROR
	}
}
%[2]s {
	bind 127.0.0.1
	tls %[1]s/cert.pem %[1]s/key.pem
	root * %[1]s/site
	file_server
}
`, dir, strings.Join(urls, ", ")))
	must(t, err)
	c, err := launch(path, "run", "--adapter", "caddyfile", "--config", caddyfile)
	must(t, err)
	t.Cleanup(func() { _ = c.stop() })
	must(t, c.listening(addr))
	l.caddy = addr
	return l
}

// probes reads all tables.
func (l *lookalikes) probes(t *testing.T) (all []probe.Probe) {
	t.Helper()
	for _, name := range []string{"tls.txt", "http1.txt", "http2.txt", "http3.txt"} {
		text, err := camouflage.ReadFile("testdata/camouflage/" + name)
		must(t, err)
		p, err := probe.Parse(string(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, p...)
	}
	return all
}

// run sends the probes to all three.
func (l *lookalikes) run(t *testing.T, probes []probe.Probe) [][3]probe.Record {
	records := make([][3]probe.Record, len(probes))
	slots := make(chan bool, parallel)
	var wg sync.WaitGroup
	for i, p := range probes {
		for k, addr := range [3]string{l.off, l.on, l.caddy} {
			slots <- true
			wg.Go(func() {
				defer func() { <-slots }()
				_, port, _ := net.SplitHostPort(addr)
				vars := map[string]string{"site": domain, "port": port, "token": l.token, "echo": l.echo}
				if strings.HasPrefix(p.Name, "h3-") {
					records[i][k] = lookQUIC(t.Context(), addr, vars, p)
					return
				}
				c, err := net.Dial("tcp", addr)
				if err != nil {
					records[i][k].Failed = err.Error()
					return
				}
				records[i][k] = probe.Run(c.(*net.TCPConn), probe.Target{Vars: vars, Quiet: quiet}, p)
			})
		}
	}
	wg.Wait()
	return records
}

// differences are patterns of probes' names, with why byway is not as Caddy there.
type differences struct {
	lines []string // PATTERN REASON
	used  map[string]bool
}

func readDifferences(t *testing.T) *differences {
	t.Helper()
	text, err := camouflage.ReadFile("testdata/camouflage/differences.txt")
	must(t, err)
	d := &differences{used: make(map[string]bool)}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			d.lines = append(d.lines, line)
		}
	}
	return d
}

func (d *differences) reason(name string) string {
	for _, line := range d.lines {
		pattern, reason, _ := strings.Cut(line, " ")
		if ok, _ := filepath.Match(pattern, name); ok {
			d.used[line] = true
			return strings.TrimSpace(reason)
		}
	}
	return ""
}

func (d *differences) unused(t *testing.T) {
	for _, line := range d.lines {
		if !d.used[line] {
			t.Errorf("differences.txt: no probe is called like that: %s", line)
		}
	}
}

// report is docs/camouflage-report.md.
type report struct {
	rows       []string
	listed     []string
	same, with int
}

func (r *report) add(name string, off, on, caddy probe.Record, reason string) {
	mark := "="
	switch {
	case strings.Contains(name, "tunnel/"):
		mark = "tunnel"
	case reason != "":
		mark = "listed"
		r.listed = append(r.listed, fmt.Sprintf("- `%s`: %s\n  byway: %s; Caddy: %s", name, reason, off.Summary(), caddy.Summary()))
	default:
		r.same++
	}
	r.with++
	r.rows = append(r.rows, fmt.Sprintf("| %s | %s | %s |", name, strings.ReplaceAll(off.Summary(), "|", "\\|"), mark))
	_ = on
}

func (r *report) text() string {
	slices.Sort(r.listed)
	return fmt.Sprintf(reportText, r.with, r.same, len(r.listed), strings.Join(r.listed, "\n"), strings.Join(r.rows, "\n"))
}
