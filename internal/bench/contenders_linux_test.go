//go:build peers

package bench

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/byway-proxy/byway/egress"
	"github.com/byway-proxy/byway/internal/testnet"
)

// A contender is a way to set up a proxy, or a pair of them.
type contender struct {
	name    string
	program string // to be found on the PATH; "byway" is built
	kind    Kind
	// setUp returns the command lines, the last of which listens at addr, for SOCKS5.
	setUp func(t testing.TB, path, addr string) [][]string
}

// byway builds the command.
var byway = sync.OnceValues(func() (string, error) {
	var err error
	if built, err = os.MkdirTemp("", "byway-bench-"); err != nil {
		return "", err
	}
	path := filepath.Join(built, "byway")
	if out, err := exec.Command("go", "build", "-trimpath", "-o", path, "../../cmd/byway").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

// path returns the contender's program; without one the contender is left out.
func (c contender) path(t testing.TB, tab *Table) string {
	t.Helper()
	path := find(c.program)
	var err error
	switch c.program {
	case "least":
		if path, err = os.Executable(); err != nil {
			t.Fatal(err)
		}
	case "byway":
		if path, err = byway(); err != nil {
			t.Fatal(err)
		}
	}
	switch {
	case path == "":
		tab.Note("%s is not installed.", c.program)
	case c.kind == Peer:
		tab.Note("%s is %s.", c.program, version(path))
	}
	return path
}

// plain are the proxies with one SOCKS5 listener that goes direct.
var plain = []contender{
	{"the least in Go", "least", Reference, func(_ testing.TB, path, addr string) [][]string {
		return [][]string{{"/usr/bin/env", leastAt + "=" + addr, path}}
	}},
	{"byway", "byway", Ours, func(t testing.TB, path, addr string) [][]string {
		return [][]string{{path, "run", "-c", write(t, "byway.toml", fmt.Sprintf(
			"[[listen]]\naddress = %q\n[[route]]\nto = \"direct\"\n[control]\nserve = false\n", addr))}}
	}},
	{"glider", "glider", Peer, func(_ testing.TB, path, addr string) [][]string {
		return [][]string{{path, "-listen", "socks5://" + addr}}
	}},
	{"gost", "gost", Peer, func(_ testing.TB, path, addr string) [][]string {
		return [][]string{{path, "-L", "socks5://" + addr}}
	}},
	{"sing-box", "sing-box", Peer, func(t testing.TB, path, addr string) [][]string {
		return [][]string{singBox(t, path, socksIn(addr), object{"type": "direct"})}
	}},
	{"shadowsocks-go", "shadowsocks-go", Peer, func(t testing.TB, path, addr string) [][]string {
		return [][]string{{path, "-confPath", writeJSON(t, "config.json", object{
			"servers": []object{{
				"name": "socks5", "protocol": "socks5", "mtu": 1500,
				"tcpListeners": []object{{"network": "tcp", "address": addr}},
			}},
			"clients": []object{{"name": "direct", "protocol": "direct", "enableTCP": true, "mtu": 1500}},
		})}}
	}},
	{"dante", "danted", Peer, dante},
	{"microsocks", "microsocks", Peer, func(_ testing.TB, path, addr string) [][]string {
		host, port, _ := net.SplitHostPort(addr)
		return [][]string{{path, "-i", host, "-p", port}}
	}},
}

func dante(t testing.TB, path, addr string) [][]string {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	host, port, _ := net.SplitHostPort(addr)
	file := write(t, "danted.conf", fmt.Sprintf(`
internal: %s port = %s
external: 127.0.0.1
user.privileged: %[3]s
user.unprivileged: %[3]s
clientmethod: none
socksmethod: none
client pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
socks pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
`, host, port, me.Username))
	return [][]string{{path, "-f", file, "-p", file + ".pid"}}
}

// tunnels are pairs: a SOCKS5 listener, and the far end of its TLS hop, with a
// certificate that is checked.
var tunnels = []contender{
	{"byway https (h2)", "byway", Ours, bywayPair},
	{"gost relay+tls", "gost", Peer, gostPair("relay+tls")},
	{"gost http2", "gost", Peer, gostPair("http2")},
	{"sing-box trojan", "sing-box", Peer, singBoxPair(object{"enabled": false})},
	{"sing-box trojan, h2mux", "sing-box", Peer, singBoxPair(object{"enabled": true, "protocol": "h2mux"})},
}

func bywayPair(t testing.TB, path, addr string) [][]string {
	dir := t.TempDir()
	if out, err := exec.Command(path, "egress", "init", "--domain", "127.0.0.1", "--listen", testnet.Reserved(t), "--dir", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	file := filepath.Join(dir, "egress.toml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	link, err := os.ReadFile(filepath.Join(dir, "me.link"))
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, "\n[destinations]\nallow = [\"127.0.0.0/8\"]\n"...)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return [][]string{
		{path, "egress", "-c", file},
		{path, "run", "--listen", addr, "--via", strings.TrimSpace(string(link))},
	}
}

func gostPair(scheme string) func(testing.TB, string, string) [][]string {
	return func(t testing.TB, path, addr string) [][]string {
		cert, key := certificate(t)
		far := scheme + "://" + testnet.Reserved(t)
		return [][]string{
			{path, "-L", far + "?certFile=" + cert + "&keyFile=" + key},
			{path, "-L", "socks5://" + addr, "-F", far + "?secure=true&serverName=localhost&caFile=" + cert},
		}
	}
}

func singBoxPair(multiplex object) func(testing.TB, string, string) [][]string {
	return func(t testing.TB, path, addr string) [][]string {
		cert, key := certificate(t)
		host, port := split(testnet.Reserved(t))
		return [][]string{
			singBox(t, path, object{
				"type": "trojan", "listen": host, "listen_port": port,
				"users":     []object{{"name": "me", "password": "secret"}},
				"tls":       object{"enabled": true, "certificate_path": cert, "key_path": key},
				"multiplex": object{"enabled": multiplex["enabled"]},
			}, object{"type": "direct"}),
			singBox(t, path, socksIn(addr), object{
				"type": "trojan", "server": host, "server_port": port, "password": "secret",
				"tls":       object{"enabled": true, "server_name": "localhost", "certificate_path": cert},
				"multiplex": multiplex,
			}),
		}
	}
}

// chains are local listeners with three SOCKS5 hops.
func chains(hops []string) []contender {
	by := func(listen, chain string) func(testing.TB, string, string) [][]string {
		return func(t testing.TB, path, addr string) [][]string {
			var text strings.Builder
			fmt.Fprintf(&text, "[control]\nserve = false\n[[listen]]\naddress = %q\n%s\n[[route]]\nto = \"c\"\n", addr, listen)
			for i, h := range hops {
				fmt.Fprintf(&text, "[[hop]]\nname = \"h%d\"\nurl = \"socks5://%s\"\n", i, h)
			}
			fmt.Fprintf(&text, "[[chain]]\nname = \"c\"\nhops = [\"h0\", \"h1\", \"h2\"]\n%s\n", chain)
			return [][]string{{path, "run", "-c", write(t, "byway.toml", text.String())}}
		}
	}
	return []contender{
		{"byway", "byway", Ours, by("", "")},
		{"byway, early_reply", "byway", Ours, by("early_reply = true", "")},
		{"byway, no spares", "byway", Ours, by("", "spares = 0")},
		{"glider", "glider", Peer, func(_ testing.TB, path, addr string) [][]string {
			return [][]string{{path, "-listen", "socks5://" + addr, "-check", "disable", "-forward", "socks5://" + strings.Join(hops, ",socks5://")}}
		}},
		{"gost", "gost", Peer, func(_ testing.TB, path, addr string) [][]string {
			argv := []string{path, "-L", "socks5://" + addr}
			for _, h := range hops {
				argv = append(argv, "-F", "socks5://"+h)
			}
			return [][]string{argv}
		}},
		{"sing-box", "sing-box", Peer, func(t testing.TB, path, addr string) [][]string {
			var out []object
			for i, h := range hops {
				host, port := split(h)
				o := object{"type": "socks", "tag": h, "server": host, "server_port": port}
				if i > 0 {
					o["detour"] = hops[i-1]
				}
				out = append([]object{o}, out...) // the first is the default
			}
			return [][]string{singBox(t, path, socksIn(addr), out...)}
		}},
	}
}

type object map[string]any

func socksIn(addr string) object {
	host, port := split(addr)
	return object{"type": "socks", "listen": host, "listen_port": port}
}

func singBox(t testing.TB, path string, in object, out ...object) []string {
	return []string{path, "run", "-c", writeJSON(t, "sing-box.json", object{
		"log": object{"level": "error"}, "inbounds": []object{in}, "outbounds": out,
	})}
}

func split(addr string) (host string, port int) {
	host, p, _ := net.SplitHostPort(addr)
	_, _ = fmt.Sscan(p, &port)
	return host, port
}

func write(t testing.TB, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func writeJSON(t testing.TB, name string, v object) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, name, string(text))
}

// certificate returns the files of a certificate for localhost and of its key.
func certificate(t testing.TB) (cert, key string) {
	t.Helper()
	made, err := egress.NewCertificate("localhost")
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(made.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: made.Certificate[0]}))),
		write(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
}
