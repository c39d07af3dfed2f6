//go:build interop

package interop

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/byway-proxy/byway/internal/testnet"
)

var statusLine = regexp.MustCompile(`msg=status page="?([^"\s]+)`)

// TestStatusPage has Chromium open the status page of a byway in use, log in, and do all that the
// page is for, by mouse and by keyboard. SHOTS names a folder for pictures.
func TestStatusPage(t *testing.T) {
	scripts, err := filepath.Abs("testdata/node")
	must(t, err)
	node, err := find("node")
	node = need(t, node, err)
	browser, err := find("chromium")
	browser = need(t, browser, err)
	if _, err := os.Stat(filepath.Join(scripts, "node_modules")); err != nil {
		need(t, "", missing{"playwright-core"})
	}
	target := testnet.Listen(t)
	go testnet.Echo(target)
	hop := func() string {
		b := runByway(t, "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nto = \"direct\"\n", nil)
		return b.addr
	}
	b := runByway(t, fmt.Sprintf(`
[[listen]]
address = "127.0.0.1:0"
[[hop]]
name = "near"
url = "socks5://%s"
[[hop]]
name = "gone"
url = "socks5://%s"
[[hop]]
name = "far"
url = "socks5://%s"
[[group]]
name = "exits"
members = ["gone", "far"]
[[chain]]
name = "out"
hops = ["near", "exits"]
[[route]]
to = "out"
[status]
listen = "127.0.0.1:0"
`, hop(), testnet.Refusing(t), hop()), nil)
	match, err := b.said(statusLine)
	must(t, err)

	open := func(addr string) error {
		c, err := b.tunnel()(t.Context(), addr)
		if err == nil {
			_ = c.Close()
		}
		return err
	}
	must(t, open(target.Addr().String()))
	if err := open(testnet.Refusing(t)); err == nil {
		t.Fatal("nobody listens there")
	}

	ctx, cancel := context.WithTimeout(t.Context(), runLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, node, filepath.Join(scripts, "status.js"), browser, match[1], os.Getenv("SHOTS"))
	cmd.SysProcAttr = childAttr()
	cmd.Cancel = func() error { killGroup(cmd.Process.Pid); return os.ErrProcessDone }
	var stderr strings.Builder
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := bufio.NewScanner(out)
	said := ""
	for lines.Scan() {
		said = lines.Text()
		if said == "paused" {
			if err := open(target.Addr().String()); err == nil {
				t.Error("a tunnel went through a hop that is paused")
			}
			_, _ = io.WriteString(in, "go on\n")
		}
	}
	if err := cmd.Wait(); err != nil || said != "done" {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	must(t, open(target.Addr().String()))
	checkMetrics(t, match[1])
}

// checkMetrics looks for what the tunnels of the test have come to.
func checkMetrics(t *testing.T, page string) {
	t.Helper()
	addr, _, _ := strings.Cut(strings.TrimPrefix(page, "http://"), "/")
	c, err := net.Dial("tcp", addr)
	must(t, err)
	defer func() { _ = c.Close() }()
	r, err := http.NewRequest(http.MethodGet, "http://"+addr+"/metrics", nil)
	must(t, err)
	r.Close = true
	must(t, r.Write(c))
	resp, err := http.ReadResponse(bufio.NewReader(c), r)
	must(t, err)
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	must(t, err)
	for _, want := range []string{`,via="out"} 2`, `cause="paused",hop="near",phase="dial",via="out"} 1`, `byway_member_up{chain="out",group="exits",member="far"} 1`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s among the metrics", want)
		}
	}
}
