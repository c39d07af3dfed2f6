package httpproxy

import (
	"bufio"
	"crypto/tls"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

// newOwn serves by s, which can reach nothing.
func newOwn(t *testing.T, s *Server) *proxied {
	s.Relay = &relay.Relay{Router: direct(testnet.NoDial(t))}
	return newProxied(t, s)
}

// ask sends a request to the proxy itself.
func (p *proxied) ask(t *testing.T, method, path, host, fields string) *http.Response {
	t.Helper()
	if host != "" {
		host = "Host: " + host + "\r\n"
	}
	got, err := p.exchangeRaw(t, method+" "+path+" HTTP/1.1\r\n"+host+fields+"\r\n")
	if host == "" {
		got, err = p.exchangeRaw(t, method+" "+path+" HTTP/1.0\r\n"+fields+"\r\n")
	}
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(got)), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%q: %v", got, err)
	}
	return resp
}

func body(t *testing.T, resp *http.Response) string {
	t.Helper()
	var b strings.Builder
	if err := resp.Write(&b); err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(b.String(), "\r\n\r\n")
	return text
}

func TestOwnPages(t *testing.T) {
	p := newOwn(t, &Server{Users: users{"u": "p"}})
	for _, test := range []struct {
		method, path string
		status       int
		has          string
	}{
		{"GET", "/", 200, "http://localhost:81/proxy.pac"},
		{"GET", "/?x", 200, "localhost:81"},
		{"HEAD", "/", 200, ""},
		{"GET", "/proxy.pac", 200, "FindProxyForURL"},
		{"GET", "/proxy.pac?1", 200, "FindProxyForURL"},
		{"GET", "/wpad.dat", 404, "WPAD"},
		{"GET", "/x", 404, "proxy.pac"},
		{"GET", "/proxy.pac/", 404, ""},
		{"GET", "//", 404, ""},
		{"POST", "/", 405, ""},
		{"TRACE", "/", 405, ""},
		{"OPTIONS", "*", 200, ""},
		{"OPTIONS", "/", 200, ""},
	} {
		resp := p.ask(t, test.method, test.path, "localhost:81", "")
		if text := body(t, resp); resp.StatusCode != test.status || !strings.Contains(text, test.has) {
			t.Errorf("%s %s: %s: %s", test.method, test.path, resp.Status, text)
		}
		for name := range ownFields {
			if resp.Header.Get(name) == "" {
				t.Errorf("%s %s: no %s", test.method, test.path, name)
			}
		}
		for _, name := range []string{"Set-Cookie", "Server", "Via", "Access-Control-Allow-Origin", "Www-Authenticate", "Proxy-Authenticate"} {
			if v, ok := resp.Header[name]; ok {
				t.Errorf("%s %s: %s: %s", test.method, test.path, name, v)
			}
		}
	}
	if resp := p.ask(t, "POST", "/", "localhost", "Content-Length: 2\r\n\r\nab"); resp.StatusCode != 405 || !resp.Close {
		t.Errorf("with a body: %s", resp.Status)
	}
}

// TestOwnPageHasNothingFromOutside: the page needs no other resource, and its style
// is the one that its policy lets through.
func TestOwnPageHasNothingFromOutside(t *testing.T) {
	p := newOwn(t, &Server{})
	resp := p.ask(t, "GET", "/", "", "")
	text := body(t, resp)
	for _, odd := range []string{"<script", "<img", "<link", "src=", "url(", "style=", "{{"} {
		if strings.Contains(text, odd) {
			t.Errorf("the page has %s", odd)
		}
	}
	if n := strings.Count(text, "://"); n != 3 { // the PAC file's, and the two of the curl line
		t.Errorf("the page has %d URLs", n)
	}
	if policy := resp.Header.Get("Content-Security-Policy"); !strings.Contains(policy, styleSum()) || !strings.HasPrefix(policy, "default-src 'none';") {
		t.Errorf("policy %s", policy)
	}
}

// TestStrangers has the ways in which web pages come to a port of this machine.
func TestStrangers(t *testing.T) {
	p := newOwn(t, &Server{})
	for _, test := range []struct {
		name, host, fields string
		status             int
	}{
		{"by address", "127.0.0.1:1080", "", 200},
		{"by another loopback address", "127.5.5.5", "", 200},
		{"by IPv6", "[::1]:1080", "", 200},
		{"by name", "LocalHost", "", 200},
		{"HTTP/1.0", "", "", 200},
		{"typed in", "127.0.0.1", "Sec-Fetch-Site: none\r\n", 200},
		{"from our page", "127.0.0.1", "Sec-Fetch-Site: same-origin\r\n", 200},
		{"DNS rebinding", "evil.example:1080", "", 421},
		{"DNS rebinding, same origin", "evil.example:1080", "Sec-Fetch-Site: same-origin\r\n", 421},
		{"name below localhost", "evil.localhost", "", 421},
		{"localhost with a dot", "localhost.", "", 421},
		{"address of others", "192.0.2.1:1080", "", 421},
		{"any address", "0.0.0.0:1080", "", 421},
		{"link", "127.0.0.1", "Sec-Fetch-Site: cross-site\r\n", 403},
		{"another port", "127.0.0.1", "Sec-Fetch-Site: same-site\r\n", 403},
		{"fetch", "127.0.0.1", "Origin: http://evil.example\r\n", 403},
		{"sandbox", "127.0.0.1", "Origin: null\r\n", 403},
		{"preflight", "127.0.0.1", "Origin: http://evil.example\r\nAccess-Control-Request-Method: GET\r\nAccess-Control-Request-Private-Network: true\r\n", 403},
	} {
		for _, path := range []string{"/", "/proxy.pac"} {
			method := "GET"
			if test.name == "preflight" {
				method = "OPTIONS"
			}
			resp := p.ask(t, method, path, test.host, test.fields)
			if resp.StatusCode != test.status {
				t.Errorf("%s: %s", test.name, resp.Status)
			}
			if text := body(t, resp); resp.StatusCode != 200 && (strings.Contains(text, "PAC") || strings.Contains(text, "FindProxy")) {
				t.Errorf("%s: got %q", test.name, text)
			}
		}
	}
}

var pacs = []struct {
	name       string
	socks, tls bool
	users      users
	host       string
	wants      string
}{
	{"SOCKS and HTTP", true, false, nil, "127.0.0.1:1080", "SOCKS5 127.0.0.1:1080; PROXY 127.0.0.1:1080"},
	{"IPv6", true, false, nil, "[::1]:1080", "SOCKS5 [::1]:1080; PROXY [::1]:1080"},
	{"usual port", true, false, nil, "localhost", "SOCKS5 localhost:80; PROXY localhost:80"},
	{"HTTP alone", false, false, nil, "127.0.0.1:3128", "PROXY 127.0.0.1:3128"},
	{"users", true, false, users{"alice": "sesame"}, "127.0.0.1:1080", "PROXY 127.0.0.1:1080"},
	{"TLS", true, true, nil, "hop1:8443", "HTTPS hop1:8443"},
	{"TLS, usual port", true, true, nil, "hop1", "HTTPS hop1:443"},
}

// pacOf fetches the PAC file of a listener as a browser does.
func pacOf(t *testing.T, s *Server, overTLS bool, host string) string {
	t.Helper()
	at := testnet.Listen(t)
	var l net.Listener = at
	if overTLS {
		s.Certificate = testCert().Leaf
		l = tls.NewListener(at, &tls.Config{Certificates: []tls.Certificate{testCert()}})
	}
	s.Relay = &relay.Relay{Router: direct(testnet.NoDial(t))}
	serve(t, l, s)
	tr := &http.Transport{DisableKeepAlives: true, TLSClientConfig: trust(testCert())}
	url := "http://" + at.Addr().String() + pacPath
	if overTLS {
		url = "https" + strings.TrimPrefix(url, "http")
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	resp, err := tr.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	if kind := resp.Header.Get("Content-Type"); kind != "application/x-ns-proxy-autoconfig" || resp.StatusCode != 200 {
		t.Errorf("%s, of type %s", resp.Status, kind)
	}
	return body(t, resp)
}

func TestPAC(t *testing.T) {
	for _, test := range pacs {
		t.Run(test.name, func(t *testing.T) {
			pac := pacOf(t, pacServer(test.socks, test.users), test.tls, test.host)
			if want := "function FindProxyForURL(url, host) {\n  return \"" + test.wants + "\";\n}\n"; pac != want {
				t.Errorf("got %s\nwant %s", pac, want)
			}
			if strings.Contains(strings.ToUpper(pac), "DIRECT") || strings.Contains(pac, "alice") || strings.Contains(pac, "sesame") {
				t.Errorf("the PAC file says %s", pac)
			}
		})
	}
}

func pacServer(socks bool, u users) *Server {
	s := &Server{SOCKS: socks}
	if u != nil {
		s.Users = u
	}
	return s
}

// TestPACRuns evaluates the files as a browser would, for URLs of all kinds.
func TestPACRuns(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	const tries = `
for (const [url, host] of [["http://example.com/", "example.com"], ["https://localhost/", "localhost"],
  ["ws://127.0.0.1/", "127.0.0.1"], ["https://[::1]/", "::1"], ["ftp://intranet/", "intranet"], ["http://wpad/wpad.dat", "wpad"], ["", ""]])
  console.log(FindProxyForURL(url, host))
`
	for _, test := range pacs {
		pac := pacOf(t, pacServer(test.socks, test.users), test.tls, test.host)
		out, err := exec.CommandContext(t.Context(), node, "-e", `"use strict";`+pac+tries).CombinedOutput()
		if want := strings.Repeat(test.wants+"\n", 7); err != nil || string(out) != want {
			t.Errorf("%s: %v: %s", test.name, err, out)
		}
	}
}

// TestOwnAuthority has the names by which listeners of other kinds are called.
func TestOwnAuthority(t *testing.T) {
	lan := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 1080}
	mapped := &net.TCPAddr{IP: net.ParseIP("::ffff:192.0.2.7"), Port: 1080}
	socket := &net.UnixAddr{Name: "/run/byway.sock", Net: "unix"}
	for _, test := range []struct {
		at        net.Addr
		authority string
		want      bool
	}{
		{lan, "192.0.2.7:1080", true},
		{mapped, "192.0.2.7:1080", true},
		{lan, "[::ffff:192.0.2.7]:1080", true},
		{lan, "localhost:1080", false},
		{lan, "127.0.0.1:1080", false},
		{lan, "proxy.example:1080", false},
		{lan, "", true},
		{lan, "192.0.2.7:x", false},
		{socket, "localhost", true},
		{socket, "evil.example", false},
		{socket, "", false},
	} {
		conn := at{testnetConn(t), test.at}
		if _, ok := (&Server{}).ownAuthority(test.authority, conn); ok != test.want {
			t.Errorf("%s at %s: %v", test.authority, test.at, ok)
		}
	}
	s := &Server{Certificate: testCert().Leaf}
	for authority, want := range map[string]bool{"hop1": true, "HOP1:8443": true, "hop2": false, "192.0.2.7": true, "127.0.0.1": false} {
		if _, ok := s.ownAuthority(authority, at{testnetConn(t), lan}); ok != want {
			t.Errorf("%s: %v", authority, ok)
		}
	}
}

type at struct {
	net.Conn
	addr net.Addr
}

func (a at) LocalAddr() net.Addr { return a.addr }

func testnetConn(t *testing.T) net.Conn {
	a, b := testnet.Pipe(0)
	t.Cleanup(func() {
		_ = chain.Abort(a)
		_ = chain.Abort(b)
	})
	return a
}
