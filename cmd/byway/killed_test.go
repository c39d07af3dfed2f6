package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/byway-proxy/byway/egress/users"
	"github.com/byway-proxy/byway/internal/testnet"
)

// TestKilled: an egress that is killed amid a download has lost no more than 1 % of what its
// user has received.
func TestKilled(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("processes are killed otherwise")
	}
	const bulk = 200 << 20
	target := testnet.Listen(t)
	go func() {
		for {
			c, err := target.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for {
					if _, err := c.Write(make([]byte, 256<<10)); err != nil {
						return
					}
				}
			}()
		}
	}()
	dir := t.TempDir()
	byway := func(args ...string) []byte {
		t.Helper()
		out, err := exec.Command("byway", args...).Output()
		if err != nil {
			t.Fatalf("byway %s: %v", strings.Join(args, " "), err)
		}
		return out
	}
	byway("egress", "init", "--dir", dir, "--domain", "127.0.0.1", "--listen", "127.0.0.1:443")
	file := filepath.Join(dir, "egress.toml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text = append(bytes.Replace(text, []byte("127.0.0.1:443"), []byte("127.0.0.1:0"), 1), "[destinations]\nallow = [\"127.0.0.1\"]\n"...)
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "me.link"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := parseLink(strings.TrimSpace(string(raw)))
	if err != nil {
		t.Fatal(err)
	}

	serve := exec.Command("byway", "egress", "-c", file)
	serve.Env = append(os.Environ(), "NO_COLOR=1")
	log, err := serve.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	defer serve.Wait()
	defer serve.Process.Kill()
	var addr string
	for lines := bufio.NewScanner(log); addr == "" && lines.Scan(); {
		if _, rest, ok := strings.Cut(lines.Text(), "address="); ok {
			addr = strings.Fields(rest)[0]
		}
	}
	go io.Copy(io.Discard, log)

	token, _ := l.hop.User.Password()
	received := download(t, addr, token, target.Addr().String(), bulk)
	if err := serve.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = serve.Wait()
	var all []users.Status
	if err := json.Unmarshal(byway("user", "list", "-c", file, "--json"), &all); err != nil || len(all) != 1 {
		t.Fatalf("%v: %+v", err, all)
	}
	if lost := received - all[0].Usage.Down; lost > received/100 {
		t.Errorf("%d of %d bytes are lost", lost, received)
	}
}

// download receives n bytes from target by way of an egress, and returns how many they were. More may be under way.
func download(t *testing.T, addr, token, target string, n int64) int64 {
	t.Helper()
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: 10 * time.Second}, Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}}
	c, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_, _ = fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\nProxy-Authorization: Basic %s\r\n\r\n",
		target, base64.StdEncoding.EncodeToString([]byte("me:"+token)))
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, &http.Request{Method: http.MethodConnect})
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", resp, err)
	}
	defer resp.Body.Close()
	got, err := io.CopyN(io.Discard, r, n)
	if err != nil {
		t.Fatal(err)
	}
	return got
}
