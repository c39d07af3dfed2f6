//go:build interop

package interop

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// runTLSChain runs byway with a listener that takes TLS, and the file of its
// certificate. With a user, it asks alice for "sesame".
func runTLSChain(t *testing.T, withUser bool, peers ...peer) (b *byway, ca string) {
	t.Helper()
	dir := t.TempDir()
	ca, key := filepath.Join(dir, "proxy.pem"), filepath.Join(dir, "proxy.key")
	must(t, selfSigned(ca, key, "proxy.test"))
	text, files := chainConfig(peers...)
	lines := fmt.Sprintf("[[listen]]\naddress = \"127.0.0.1:0\"\ntls = { certificate = %q, key = %q }\n", ca, key)
	if withUser {
		files["alice.pw"] = "sesame\n"
		lines += "user = [{ name = \"alice\", secret = { file = \"alice.pw\" } }]\n"
	}
	return runByway(t, strings.Replace(text, "[[listen]]\naddress = \"127.0.0.1:0\"\n", lines, 1), files), ca
}

// TestHTTPSProxy has curl speak TLS to byway's port, by HTTP/1.1 and, where it can,
// by HTTP/2.
func TestHTTPSProxy(t *testing.T) {
	w, err := website()
	w = need(t, w, err)
	_, down := payloads()
	b, ca := runTLSChain(t, true, clientChain(t)...)
	ways := map[string][]string{"forward": {w.url(byName, "/payload")}, "tunnel": {"-p", w.url(byName, "/payload")}, "https": {w.tlsURL(byName, "/payload")}}
	if bytes.Contains(client(t, nil, nil, "curl", "--help", "all").stdout, []byte("--proxy-http2")) {
		for name, args := range ways {
			ways[name+" by HTTP/2"] = append([]string{"--proxy-http2"}, args...)
		}
	}
	for name, args := range ways {
		args = append([]string{"-q", "-sS", "--fail", "--max-time", "50", "--cacert", w.ca, "--proxy-cacert", ca, "-x", "https://" + b.addr}, args...)
		r := client(t, nil, nil, "curl", append(args, "-U", "alice:sesame")...)
		if err := same(r.stdout, down); err != nil || r.code != 0 {
			t.Errorf("%s: status %d, %v: %s", name, r.code, err, r.stderr)
		}
		r = client(t, nil, nil, "curl", append(args, "--proxy-header", "Proxy-Authorization: Bearer sesame")...)
		if err := same(r.stdout, down); err != nil || r.code != 0 {
			t.Errorf("%s, Bearer: status %d, %v: %s", name, r.code, err, r.stderr)
		}
		r = client(t, nil, nil, "curl", append(args, "-U", "alice:wrong", "-w", "%{http_code}/%{http_connect}")...)
		if said := string(r.stdout); r.code == 0 || said != "407/000" && said != "000/407" {
			t.Errorf("%s, wrong password: status %d, got %.100q: %s", name, r.code, said, r.stderr)
		}
	}
}

// TestOwnPage has curl look at what a listener says of itself.
func TestOwnPage(t *testing.T) {
	e, err := egress()
	e = need(t, e, err)
	b := runChain(t, e)
	r := client(t, nil, nil, "curl", "-q", "-sS", "-i", "--max-time", "50", "http://"+b.addr+"/proxy.pac")
	if pac := "\"SOCKS5 " + b.addr + "; PROXY " + b.addr + "\""; !bytes.Contains(r.stdout, []byte(pac)) || !bytes.Contains(r.stdout, []byte("application/x-ns-proxy-autoconfig")) {
		t.Errorf("status %d: %s%s", r.code, r.stdout, r.stderr)
	}
	r = client(t, nil, nil, "curl", "-q", "-sS", "-i", "--max-time", "50", "--http2-prior-knowledge", "http://"+b.addr+"/")
	if !bytes.HasPrefix(r.stdout, []byte("HTTP/2 200")) || !bytes.Contains(r.stdout, []byte("http://"+b.addr+"/proxy.pac")) {
		t.Errorf("HTTP/2: status %d: %s%s", r.code, r.stdout, r.stderr)
	}
}

// chromium returns the document of a URL as headless Chromium has it, and what it
// noted of its network. It trusts the keys of the certificates in the files.
func chromium(t *testing.T, url string, trusted []string, arg ...string) (dom, netlog string) {
	t.Helper()
	dir := t.TempDir()
	var keys []string
	for _, file := range trusted {
		keys = append(keys, spki(t, file))
	}
	log := filepath.Join(dir, "netlog.json")
	args := append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--user-data-dir=" + filepath.Join(dir, "profile"), "--log-net-log=" + log,
		"--ignore-certificate-errors-spki-list=" + strings.Join(keys, ","), "--timeout=30000",
	}, arg...)
	r := client(t, nil, nil, "chromium", append(args, "--dump-dom", url)...)
	notes, err := os.ReadFile(log)
	if r.code != 0 || err != nil {
		t.Errorf("chromium: status %d, %v: %s", r.code, err, r.stderr)
	}
	return string(r.stdout), string(notes)
}

// spki is the base64 of the SHA-256 of a certificate's key.
func spki(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	must(t, err)
	block, _ := pem.Decode(data)
	if block == nil {
		t.Fatal(errors.New("no certificate in " + file))
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	must(t, err)
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// TestChromium opens the site's page, whose name is known at the far end alone, by
// every scheme of a proxy and by the PAC file.
func TestChromium(t *testing.T) {
	w, err := website()
	w = need(t, w, err)
	plain := runChain(t, clientChain(t)...)
	secure, ca := runTLSChain(t, false, clientChain(t)...)
	for name, flag := range map[string]string{
		"http":       "--proxy-server=http://" + plain.addr,
		"socks5":     "--proxy-server=socks5://" + plain.addr,
		"PAC":        "--proxy-pac-url=http://" + plain.addr + "/proxy.pac",
		"https":      "--proxy-server=https://" + secure.addr,
		"PAC, https": "--proxy-pac-url=https://" + secure.addr + "/proxy.pac",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, url := range []string{w.url(byName, "/"), w.tlsURL(byName, "/")} {
				dom, notes := chromium(t, url, []string{ca, w.ca}, flag)
				if !strings.Contains(dom, "The page of nginx.") {
					t.Errorf("%s: got %s", url, dom)
				}
				// The proxy is the one server of that name that it had a session with.
				session := fmt.Sprintf("\"host\":%q", secure.addr)
				if overTLS := strings.Contains(flag, "https:"); overTLS && strings.HasPrefix(url, "http:") && !strings.Contains(notes, session) {
					t.Errorf("%s: no HTTP/2 session with the proxy", url)
				}
			}
		})
	}
}
