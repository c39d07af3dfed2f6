//go:build interop

package interop

import (
	"fmt"
	"strings"
	"testing"
)

// withUser asks for the credential ann, correct on the listener of a configuration.
func withUser(text string, files map[string]string) (string, map[string]string) {
	const listen = "[[listen]]\naddress = \"127.0.0.1:0\"\n"
	files["ann.pw"] = "correct\n"
	return strings.Replace(text, listen, listen+"[[listen.user]]\nname = \"ann\"\nsecret = { file = \"ann.pw\" }\n", 1), files
}

// TestListenerCredentials has curl show the right credential, a wrong one and none.
func TestListenerCredentials(t *testing.T) {
	w, err := website()
	w = need(t, w, err)
	p, err := armon()
	p = need(t, p, err)
	text, files := withUser(chainConfig(p))
	b := runByway(t, text, files)
	plain, secure := w.url(byAddress, "/payload"), w.tlsURL(byAddress, "/payload")
	const (
		noProxy  = 97 // CURLE_PROXY: the SOCKS handshake failed
		noTunnel = 56 // CURLE_RECV_ERROR: the CONNECT was refused
	)
	for _, c := range []struct {
		name, scheme, user, url string
		code                    int
		says                    string // the status of a plain request, of a CONNECT
	}{
		{"socks5h, right", "socks5h", "ann:correct", plain, 0, "200 000"},
		{"socks5h, wrong", "socks5h", "ann:incorrect", plain, noProxy, "000 000"},
		{"socks5h, another", "socks5h", "bob:correct", plain, noProxy, "000 000"},
		{"socks5h, none", "socks5h", "", plain, noProxy, "000 000"},
		{"socks4a, the name alone", "socks4a", "ann", plain, noProxy, "000 000"},
		{"http, right", "http", "ann:correct", plain, 0, "200 000"},
		{"http, wrong", "http", "ann:incorrect", plain, 0, "407 000"},
		{"http, none", "http", "", plain, 0, "407 000"},
		{"http tunnel, right", "http", "ann:correct", secure, 0, "200 200"},
		{"http tunnel, wrong", "http", "ann:incorrect", secure, noTunnel, "000 407"},
		{"http tunnel, none", "http", "", secure, noTunnel, "000 407"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			args := []string{
				"-q", "-sS", "--http1.1", "--max-time", "50", "--cacert", w.ca, "-o", "payload",
				"-w", "%{http_code} %{http_connect}", "-x", c.scheme + "://" + b.addr, c.url,
			}
			if c.user != "" {
				args = append(args, "-U", c.user)
			}
			r := client(t, nil, nil, "curl", args...)
			if got := string(r.stdout); r.code != c.code || got != c.says {
				t.Errorf("status %d and %q, want %d and %q: %s", r.code, got, c.code, c.says, r.stderr)
			}
		})
	}
}

// TestPythonCredentials has PySocks and requests show the right one and a wrong one.
func TestPythonCredentials(t *testing.T) {
	if runQuiet(python, "-c", "import requests, socks") != nil {
		need(t, 0, missing{"python3-requests or python3-socks"})
	}
	w, err := website()
	w = need(t, w, err)
	p, err := armon()
	p = need(t, p, err)
	_, down := payloads()
	text, files := withUser(chainConfig(p))
	b := runByway(t, text, files)
	for _, scheme := range []string{"socks5h", "http"} {
		good := client(t, nil, nil, python, requests(scheme)("ann:correct@"+b.addr, w.url(byAddress, "/payload"), w.ca)...)
		if err := same(good.stdout, down); err != nil || good.code != 0 {
			t.Errorf("%s: status %d, %v: %s", scheme, good.code, err, good.stderr)
		}
		bad := client(t, nil, nil, python, requests(scheme)("ann:incorrect@"+b.addr, w.url(byAddress, "/payload"), w.ca)...)
		said := map[string]string{"socks5h": "SOCKS5 authentication failed", "http": "407"}[scheme]
		if bad.code == 0 || len(bad.stdout) > 0 || !strings.Contains(bad.stderr, said) {
			t.Errorf("%s: status %d, %d bytes, want a failure that tells %q: %s", scheme, bad.code, len(bad.stdout), said, bad.stderr)
		}
	}
}

// TestHopCredentials asks a hop with a wrong credential: the client must be told, in
// its protocol, and the log must say which hop.
func TestHopCredentials(t *testing.T) {
	first, err := dante()
	first = need(t, first, err)
	for _, get := range []member{armon, tinyproxy, egress} {
		p, err := get()
		p = need(t, p, err)
		p.secret = "wrong-" + p.secret
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			b := runChain(t, first, p)
			for _, in := range []struct {
				scheme string
				want   replyError
			}{{"socks5", 1}, {"socks4a", 91}, {"http", 502}} {
				refusal(t, b, in.scheme, "127.0.0.1:9", in.want)
			}
			b.awaitLine(t, fmt.Sprintf(`msg=failed .*via=default error="hop 2/2 %s-2: auth: `, p.name))
		})
	}
}
