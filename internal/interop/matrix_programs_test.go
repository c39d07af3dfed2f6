//go:build interop

package interop

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/net/proxy"
	"golang.org/x/net/websocket"
)

const (
	byPython = "{python} {scripts}/python/client.py "
	byJava   = "java -Djdk.http.auth.tunneling.disabledSchemes= -XX:TieredStopAtLevel=1 {scripts}/java/Client.java "
	byNode   = "node {scripts}/node/client.js "
	browser  = "node {scripts}/node/browser.js /usr/bin/chromium "
)

// programUses are libraries of Python, Java and Node.
var programUses = []use{
	{client: "PySocks", how: "SOCKS4 (4a)", target: "http", command: byPython + "pysocks socks4://{proxy} {url} {ca}"},
	{client: "PySocks", how: "SOCKS5", target: "http", command: byPython + "pysocks socks5://{proxy} {url} {ca}"},
	{client: "PySocks", how: "SOCKS5", target: "https", command: byPython + "pysocks socks5://{proxy} {tlsurl} {ca}"},
	{client: "PySocks", how: "SOCKS5, user", target: "http", command: byPython + "pysocks socks5://ann:correct@{asking} {url} {ca}"},
	{client: "PySocks", how: "HTTP", target: "http", command: byPython + "pysocks http://{proxy} {url} {ca}"},
	{client: "PySocks", how: "SOCKS5", target: "udp (DNS)", command: byPython + "dns socks5://{udp} {dns} {ca}", gives: said},
	{client: "python-socks", how: "socks4 (4a)", target: "http", command: byPython + "python_socks socks4://{proxy} {url} {ca}"},
	{client: "python-socks", how: "socks5", target: "http", command: byPython + "python_socks socks5://{proxy} {url} {ca}"},
	{client: "python-socks", how: "socks5", target: "https", command: byPython + "python_socks socks5://{proxy} {tlsurl} {ca}"},
	{client: "python-socks", how: "socks5, user", target: "http", command: byPython + "python_socks socks5://ann:correct@{asking} {url} {ca}"},
	{client: "python-socks", how: "http", target: "https", command: byPython + "python_socks http://{proxy} {tlsurl} {ca}"},
	{client: "python-socks", how: "http, user", target: "http", command: byPython + "python_socks http://ann:correct@{asking} {url} {ca}"},
	{client: "python-socks", how: "socks5, asyncio", target: "http", command: byPython + "python_socks_asyncio socks5://{proxy} {url} {ca}"},
	{client: "requests", how: "socks4", target: "http", command: byPython + "requests socks4://{proxy} {addressurl} {ca}"},
	{client: "requests", how: "socks4a", target: "http", command: byPython + "requests socks4a://{proxy} {url} {ca}"},
	{client: "requests", how: "socks5h", target: "http", command: byPython + "requests socks5h://{proxy} {url} {ca}"},
	{client: "requests", how: "socks5h", target: "https", command: byPython + "requests socks5h://{proxy} {tlsurl} {ca}"},
	{client: "requests", how: "http", target: "http", command: byPython + "requests http://{proxy} {url} {ca}"},
	{client: "requests", how: "http, user", target: "https", command: byPython + "requests http://ann:correct@{asking} {tlsurl} {ca}"},
	{client: "urllib", how: "http", target: "http", command: byPython + "urllib http://{proxy} {url} {ca}"},
	{client: "urllib", how: "http", target: "https", command: byPython + "urllib http://{proxy} {tlsurl} {ca}"},

	{client: "Java", how: "HttpClient", target: "http", command: byJava + "HttpClient {proxyhost} {proxyport} {url} {ca}"},
	{client: "Java", how: "HttpClient", target: "https", command: byJava + "HttpClient {proxyhost} {proxyport} {tlsurl} {ca}"},
	{client: "Java", how: "HttpClient, user", target: "https", command: byJava + "HttpClient {askinghost} {askingport} {tlsurl} {ca} ann correct"},
	{client: "Java", how: "URLConnection", target: "https", command: byJava + "URLConnection {proxyhost} {proxyport} {tlsurl} {ca}"},
	{client: "Java", how: "URLConnection by SOCKS", target: "http", command: byJava + "URLConnection-socks {proxyhost} {proxyport} {url} {ca}"},
	{client: "Java", how: "SOCKS Socket", target: "http", command: byJava + "Socket {proxyhost} {proxyport} {url} {ca}"},
	{client: "Java", how: "SOCKS Socket", target: "https", command: byJava + "Socket {proxyhost} {proxyport} {tlsurl} {ca}"},
	{client: "Java", how: "SOCKS Socket, user", target: "http", command: byJava + "Socket {askinghost} {askingport} {url} {ca} ann correct"},

	{client: "Node", how: "undici", target: "http", command: byNode + "undici http://{proxy} {url} {ca}"},
	{client: "Node", how: "undici", target: "https", command: byNode + "undici http://{proxy} {tlsurl} {ca}"},
	{client: "Node", how: "undici, user", target: "https", command: byNode + "undici http://ann:correct@{asking} {tlsurl} {ca}"},
	{client: "Node", how: "undici, https proxy", target: "https", command: byNode + "undici https://alice:sesame@{secure} {tlsurl} {ca} {proxyca}"},
	{client: "Node", how: "socks-proxy-agent socks4a", target: "http", command: byNode + "socks-proxy-agent socks4a://{proxy} {url} {ca}"},
	{client: "Node", how: "socks-proxy-agent socks5h", target: "http", command: byNode + "socks-proxy-agent socks5h://{proxy} {url} {ca}"},
	{client: "Node", how: "socks-proxy-agent socks5h", target: "https", command: byNode + "socks-proxy-agent socks5h://{proxy} {tlsurl} {ca}"},
	{client: "Node", how: "socks-proxy-agent, user", target: "http", command: byNode + "socks-proxy-agent socks5h://ann:correct@{asking} {url} {ca}"},
	{client: "Node", how: "http, CONNECT", target: "https", command: byNode + "connect http://{proxy} {tlsurl} {ca}"},
}

// browserUses open a page of webApp in Chromium by Playwright.
var browserUses = []use{
	{client: "Chromium", how: "socks5", target: "http, ws", command: browser + "socks5://{proxy} {page} {pins}", gives: said},
	{client: "Chromium", how: "socks5", target: "https, wss", command: browser + "socks5://{proxy} {pagetls} {pins}", gives: said},
	{client: "Chromium", how: "http", target: "http, ws", command: browser + "http://{proxy} {page} {pins}", gives: said},
	{client: "Chromium", how: "http", target: "https, wss", command: browser + "http://{proxy} {pagetls} {pins}", gives: said},
	{client: "Chromium", how: "https", target: "http, ws", command: browser + "https://{open} {page} {pins}", gives: said},
	{client: "Chromium", how: "https", target: "https, wss", command: browser + "https://{open} {pagetls} {pins}", gives: said},
}

// app is a page whose script, once loaded, says something by a WebSocket and hears
// it back.
const app = `<!doctype html><title>waiting</title><script src="/app.js"></script>`

const appScript = `const s = new WebSocket(location.origin.replace("http", "ws") + "/echo");
s.onopen = () => s.send("done");
s.onmessage = m => document.title = m.data;`

// webApp serves app, to which / redirects, with and without TLS, and returns its
// URLs by the name that the far end alone knows.
func webApp(t *testing.T, w site) (plain, secure string) {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle("/", http.RedirectHandler("/app", http.StatusFound))
	mux.HandleFunc("/app", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, app) })
	mux.HandleFunc("/app.js", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		_, _ = io.WriteString(w, appScript)
	})
	mux.Handle("/echo", websocket.Handler(func(c *websocket.Conn) { _, _ = io.Copy(c, c) }))
	cert, err := tls.LoadX509KeyPair(w.ca, filepath.Join(filepath.Dir(w.ca), "key.pem"))
	must(t, err)
	a, b := httptest.NewServer(mux), httptest.NewUnstartedServer(mux)
	b.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	b.StartTLS()
	t.Cleanup(func() { a.Close(); b.Close() })
	named := func(s *httptest.Server) string { return strings.Replace(s.URL, "127.0.0.1", byName, 1) + "/" }
	return named(a), named(b)
}

// goUses are Go's own clients.
var goUses = map[string]func(t *testing.T, m *matrix){
	"x/net/proxy SOCKS5, http": func(t *testing.T, m *matrix) {
		d, err := proxy.SOCKS5("tcp", m.words["proxy"], nil, nil)
		must(t, err)
		m.get(t, &http.Transport{DialContext: d.(proxy.ContextDialer).DialContext}, "url")
	},
	"x/net/proxy SOCKS5 with a user, https": func(t *testing.T, m *matrix) {
		d, err := proxy.SOCKS5("tcp", m.words["asking"], &proxy.Auth{User: "ann", Password: "correct"}, nil)
		must(t, err)
		m.get(t, &http.Transport{DialContext: d.(proxy.ContextDialer).DialContext}, "tlsurl")
	},
	"net/http socks5h, http":              func(t *testing.T, m *matrix) { m.getBy(t, "socks5h://"+m.words["proxy"], "url") },
	"net/http http, http":                 func(t *testing.T, m *matrix) { m.getBy(t, "http://"+m.words["proxy"], "url") },
	"net/http http with a user, https":    func(t *testing.T, m *matrix) { m.getBy(t, "http://ann:correct@"+m.words["asking"], "tlsurl") },
	"net/http https with a user, https":   func(t *testing.T, m *matrix) { m.getBy(t, "https://alice:sesame@"+m.words["secure"], "tlsurl") },
	"net/http https with a user, to http": func(t *testing.T, m *matrix) { m.getBy(t, "https://alice:sesame@"+m.words["secure"], "url") },
}

func (m *matrix) getBy(t *testing.T, by, target string) {
	u, err := url.Parse(by)
	must(t, err)
	m.get(t, &http.Transport{Proxy: http.ProxyURL(u)}, target)
}

// get gets the payload by a transport that trusts the site and the proxy.
func (m *matrix) get(t *testing.T, by *http.Transport, target string) {
	t.Helper()
	trusted := x509.NewCertPool()
	for _, file := range []string{m.words["ca"], m.words["proxyca"]} {
		pem, err := os.ReadFile(file)
		must(t, err)
		trusted.AppendCertsFromPEM(pem)
	}
	by.TLSClientConfig = &tls.Config{RootCAs: trusted}
	defer by.CloseIdleConnections()
	r, err := (&http.Client{Transport: by, Timeout: runLimit}).Get(m.words[target])
	must(t, err)
	defer func() { _ = r.Body.Close() }()
	_, down := payloads()
	must(t, readAll(r.Body, down))
}
