//go:build interop

package interop

import (
	"fmt"
	"net"
	"strings"
	"testing"
)

// hostile is a page that does what a page can to learn of the proxy at %[1]s, and
// writes what it learnt. It knows a sign that each try would give.
const hostile = `<!doctype html><title>hostile</title><body><pre id="out">waiting</pre>
<script>
const proxy = "http://%[1]s", got = [];
const late = () => new Promise((_, no) => setTimeout(no, 5000));
const note = (what, of) => Promise.race([of, late()]).then(v => got.push(what + ": " + v), e => got.push(what + ": nothing"));
const text = mode => fetch(proxy + "/proxy.pac", { mode }).then(r => r.text()).then(t => t || Promise.reject());
const load = (tag, attribute, path) => new Promise((yes, no) => {
  const e = document.createElement(tag);
  e.onload = () => yes("loaded"), e.onerror = no;
  e.rel = "stylesheet", e[attribute] = proxy + path;
  document.body.append(e);
});
Promise.all([
  note("cors", text("cors")), note("no-cors", text("no-cors")),
  note("post", fetch(proxy + "/", { method: "POST", mode: "cors", body: "x" }).then(r => r.text())),
  note("script", load("script", "src", "/proxy.pac").then(() => window.FindProxyForURL ? FindProxyForURL("", "") : Promise.reject())),
  note("style", load("link", "href", "/").then(() => document.styleSheets.length ? document.styleSheets[0].cssRules.length : Promise.reject())),
  note("frame", load("iframe", "src", "/").then(() => frames[0].document.body.innerText || Promise.reject())),
]).then(() => out.textContent = "done; " + got.join("; "));
</script>`

// TestWebPagesGetNothing has Chromium visit a page that is after the proxy, across
// origins and by DNS rebinding. The browser's own guard of local networks is off.
func TestWebPagesGetNothing(t *testing.T) {
	e, err := egress()
	e = need(t, e, err)
	b := runChain(t, e)
	addr, err := lab.accept(func(c net.Conn) {
		defer func() { _ = c.Close() }()
		page := fmt.Sprintf(hostile, b.addr)
		buf := make([]byte, 4096)
		if _, err := c.Read(buf); err != nil {
			return
		}
		_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s", len(page), page)
	})
	must(t, err)
	flags := []string{
		"--host-resolver-rules=MAP evil.test 127.0.0.1", "--virtual-time-budget=20000",
		"--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests",
	}
	dom, _ := chromium(t, "http://"+strings.Replace(addr, "127.0.0.1", "evil.test", 1)+"/", nil, flags...)
	for _, try := range []string{"cors", "no-cors", "post", "script", "style", "frame"} {
		if !strings.Contains(dom, try+": nothing") {
			t.Errorf("%s: the page learnt something: %s", try, dom)
		}
	}
	if !strings.Contains(dom, "done; ") {
		t.Errorf("the page did not come to its end: %s", dom)
	}
	for _, path := range []string{"/", "/wpad.dat"} {
		rebound := "http://" + strings.Replace(b.addr, "127.0.0.1", "evil.test", 1) + path
		if dom, _ := chromium(t, rebound, nil, flags...); strings.Contains(dom, "proxy.pac") || strings.Contains(dom, "FindProxy") || !strings.Contains(dom, "no website of that name") {
			t.Errorf("%s: by rebinding, got %s", path, dom)
		}
	}
	if dom, _ := chromium(t, "http://"+b.addr+"/", nil, flags...); !strings.Contains(dom, b.addr) {
		t.Errorf("who asks directly gets %s", dom)
	}
}
