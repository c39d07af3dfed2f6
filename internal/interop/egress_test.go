//go:build interop

package interop

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// withSite puts the website behind an egress in the place of its folder.
func withSite(w site) func(string) string {
	return func(text string) string {
		return strings.Replace(toLoopback(text), `root = "site"`, `upstream = "`+w.upstream()+`"`, 1)
	}
}

// TestEgressWebsite has curl look at the egress as anybody may, and as one who
// tries it for a proxy: it is the website of nginx, and no proxy.
func TestEgressWebsite(t *testing.T) {
	w, err := website()
	w = need(t, w, err)
	e, b := runEgress(t, withSite(w))
	_, down := payloads()
	curl := func(args ...string) result {
		t.Helper()
		return client(t, nil, nil, "curl", append([]string{"-q", "-sS", "-k", "--proxy-insecure", "--max-time", "50"}, args...)...)
	}
	for _, version := range []string{"--http1.1", "--http2"} {
		r := curl(version, "https://"+e.addr+"/payload")
		if err := same(r.stdout, down); err != nil || r.code != 0 {
			t.Errorf("%s: status %d, %v: %s", version, r.code, err, r.stderr)
		}
	}
	// What a stranger sees of a CONNECT and of a whole URL must not depend on what
	// credential it makes up, and never be a proxy's answer.
	target := w.url(byAddress, "/payload")
	for _, how := range [][]string{{"-p"}, {"-p", "--proxy1.0"}, {}} {
		var first []byte
		for i, user := range []string{"", "alice:wrong", "mallory:" + e.secret, "alice:" + e.secret[1:], ":"} {
			args := []string{"-x", "https://" + e.addr, "-D", "-", "-o", "/dev/null", target}
			if len(how) > 0 {
				args = append(args, how[0])
			}
			if user != "" {
				args = append(args, "-U", user)
			}
			r := curl(args...)
			head := withoutDate(r.stdout)
			if bytes.Contains(head, []byte(" 407 ")) || bytes.Contains(bytes.ToLower(head), []byte("proxy-")) {
				t.Errorf("%v, user %q: a proxy's answer: %s", how, user, head)
			}
			if len(how) > 0 && (r.code == 0 || bytes.Contains(head, []byte(" 200 "))) {
				t.Errorf("%v, user %q: a tunnel without the credential: %s", how, user, head)
			}
			if i == 0 {
				first = head
			} else if !bytes.Equal(head, first) {
				t.Errorf("%v, user %q: the answer differs:\n%s\nand without a credential\n%s", how, user, head, first)
			}
		}
	}
	if strings.Contains(b.out.String(), "opened") {
		t.Errorf("a tunnel was opened for somebody: %s", b.out.String())
	}
	r := curl("-x", "https://"+e.addr, "-U", "alice:"+e.secret, "-p", target)
	if err := same(r.stdout, down); err != nil || r.code != 0 {
		t.Errorf("with the credential: status %d, %v: %s", r.code, err, r.stderr)
	}
	r = curl("-x", "https://"+e.addr, "-U", "alice:"+e.secret, w.tlsURL(byAddress, "/payload"))
	if err := same(r.stdout, down); err != nil || r.code != 0 {
		t.Errorf("with the credential, https: status %d, %v: %s", r.code, err, r.stderr)
	}
}

// TestLink follows what "byway egress init" prints for those without a
// configuration: the link, with credential and pin, is all that a client needs.
func TestLink(t *testing.T) {
	w, err := website()
	w = need(t, w, err)
	_, down := payloads()
	addr, _, err := reserved()
	must(t, err)
	dir := t.TempDir()
	must(t, runQuiet(lab.byway, "egress", "init", "--domain", "127.0.0.1", "--listen", addr, "--dir", dir))
	file := filepath.Join(dir, "egress.toml")
	text, err := os.ReadFile(file)
	must(t, err)
	must(t, os.WriteFile(file, []byte(toLoopback(string(text))), 0o644))
	far, err := startByway("egress", "-c", file)
	must(t, err)
	far.endWith(t)
	link, err := os.ReadFile(filepath.Join(dir, "me.link"))
	must(t, err)
	b, err := startByway("run", "-v", "--listen", "127.0.0.1:0", "--via", strings.TrimSpace(string(link)))
	must(t, err)
	b.endWith(t)
	r := client(t, nil, nil, "curl", "-q", "-sS", "--max-time", "50", "-x", "socks5h://"+b.addr, w.url("localhost", "/payload"))
	if err := same(r.stdout, down); err != nil || r.code != 0 {
		t.Errorf("status %d, %v: %s", r.code, err, r.stderr)
	}
	token := regexp.MustCompile(`me:([^@]+)@`).FindStringSubmatch(string(link))
	if token == nil || strings.Contains(b.out.String()+far.out.String(), token[1]) {
		t.Errorf("the link %s has no token, or a log has it", link)
	}
}

// withoutDate returns the head of an answer but for its date.
func withoutDate(head []byte) []byte {
	var kept [][]byte
	for line := range bytes.Lines(head) {
		if !bytes.HasPrefix(bytes.ToLower(line), []byte("date:")) {
			kept = append(kept, line)
		}
	}
	return bytes.Join(kept, nil)
}

// TestEgressPolicy has an egress as "byway egress init" makes it: its own loopback
// is nobody's business, by whatever name.
func TestEgressPolicy(t *testing.T) {
	w, err := website()
	w = need(t, w, err)
	e, _ := runEgress(t, func(text string) string { return text })
	b := runChain(t, e)
	for _, host := range []string{"127.0.0.1", "localhost", "127.1.2.3", "0.0.0.0", "169.254.169.254", "10.0.0.1"} {
		target := net.JoinHostPort(host, w.port)
		refusal(t, b, "socks5", target, 2)
		refusal(t, b, "http", target, 403)
	}
	refusal(t, b, "socks5", "192.0.2.1:25", 2) // mail
	refusal(t, b, "socks4a", "127.0.0.1:"+w.port, 91)
	b.awaitLine(t, `msg=failed .*via=default error="hop 1/1 egress-1: connect: `)
}

// TestDrain stops byway and the egress as a service manager does, while a tunnel is
// open through both: it may end in its own time, and nobody else comes in.
func TestDrain(t *testing.T) {
	e, far := runEgress(t, toLoopback)
	b := runChain(t, e)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { _ = l.Close() }()
	c, err := b.tunnel()(t.Context(), l.Addr().String())
	must(t, err)
	defer func() { _ = c.Close() }()
	target, err := l.Accept()
	must(t, err)
	defer func() { _ = target.Close() }()
	must(t, errors.Join(b.signal(), far.signal()))
	b.awaitLine(t, `msg=draining tunnels=1`)
	for _, addr := range []string{b.addr, e.addr} {
		if err := refuses(addr); err != nil {
			t.Error(err)
		}
	}
	up, down := payloads()
	limit := time.Now().Add(exchangeLimit)
	must(t, errors.Join(c.SetDeadline(limit), target.SetDeadline(limit)))
	both(func() {
		_, _ = c.Write(up)
		_ = c.CloseWrite()
	}, func() {
		if err := readAll(target, up); err != nil {
			t.Errorf("up: %v", err)
		}
	})
	both(func() {
		_, _ = target.Write(down)
		_ = target.Close()
	}, func() {
		if err := readAll(c, down); err != nil {
			t.Errorf("down: %v", err)
		}
	})
	b.ended(t, stopLimit)
	far.ended(t, stopLimit)
}

// refuses waits until nothing listens on addr any more.
func refuses(addr string) error {
	for limit := time.Now().Add(stopLimit); time.Now().Before(limit); {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if c == nil {
			var op *net.OpError
			if errors.As(err, &op) && !op.Timeout() {
				return nil
			}
			return err
		}
		_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		_, _ = io.ReadFull(c, make([]byte, 1)) // until it is closed, or a while
		_ = c.Close()
	}
	return errors.New("still listens after SIGTERM")
}
