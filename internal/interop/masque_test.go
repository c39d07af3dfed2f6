//go:build interop

package interop

import (
	"encoding/base64"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// masqueGo is masque-go as a program, of a module of its own. It comes from the module proxy,
// as all that Go needs does.
var masqueGo = sync.OnceValues(func() (string, error) {
	path := filepath.Join(lab.dir, "masque")
	cmd := exec.Command("go", "build", "-o", path, ".")
	cmd.Dir = filepath.Join("testdata", "masque")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("masque-go: %w: %s", err, out)
	}
	return path, nil
})

// TestMasqueGoProxy has flows of byway's go by masque-go's proxy.
func TestMasqueGoProxy(t *testing.T) {
	path, err := masqueGo()
	must(t, err)
	p, err := launch(path, "proxy")
	must(t, err)
	t.Cleanup(func() { _ = p.stop() })
	match, err := p.said(regexp.MustCompile(`(?m)^proxy (\S+) (\S+)$`))
	must(t, err)
	b := runByway(t, fmt.Sprintf(`[[listen]]
address = "127.0.0.1:0"
[[hop]]
name = "masque"
url = "h3://%s"
[hop.tls]
pin = "%s"
[[chain]]
name = "one"
hops = ["masque"]
[[route]]
to = "one"
`, match[1], match[2]), nil)
	target := answerer(t, "127.0.0.1").LocalAddr()
	a, err := associate(b.addr, "127.0.0.1", 0)
	must(t, err)
	defer a.close()
	for _, size := range []int{5, 1, 1200} {
		want := strings.Repeat("x", size)
		a.send(t, a.sock, append(header(0, target), want...))
		if _, data := a.answer(t, size); string(data) != want {
			t.Errorf("%d bytes came back of %d", len(data), size)
		}
	}
}

// TestMasqueGoClient has masque-go's client use the egress, which offers datagrams to all: it is
// served with a credential, and gets the website's answer without.
func TestMasqueGoClient(t *testing.T) {
	path, err := masqueGo()
	must(t, err)
	e, _ := runEgress(t, func(text string) string {
		return strings.Replace(toLoopback(text), "[[listen]]\n", "[[listen]]\nhttp3_datagrams = true\n", 1)
	})
	target := answerer(t, "127.0.0.1").LocalAddr().String()
	basic := func(secret string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte("alice:"+secret))
	}
	if r := client(t, nil, nil, path, "client", e.addr, basic(e.secret), target); r.code != 0 || string(r.stdout) != "echoed\n" {
		t.Errorf("status %d: %s%s", r.code, r.stdout, r.stderr)
	}
	if r := client(t, nil, nil, path, "client", e.addr, basic("wrong"), target); r.code == 0 || !strings.HasPrefix(string(r.stdout), "status ") {
		t.Errorf("with a wrong token: status %d: %s%s", r.code, r.stdout, r.stderr)
	}
}
