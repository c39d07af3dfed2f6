package httpproxy

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/byway-proxy/byway/relay"
)

// telling has the fields that never leave, each with a value to look for.
var telling = []string{
	"Via", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Server", "X-Forwarded",
	"X-Real-IP", "Client-IP", "X-Client-IP", "True-Client-IP", "X-Cluster-Client-IP", "CF-Connecting-IP", "Fastly-Client-IP",
	"X-Originating-IP", "X-Remote-IP", "X-Remote-Addr", "X-ProxyUser-IP", "WL-Proxy-Client-IP", "From",
	"Proxy-Connection", "Proxy-Authorization", "Proxy-Authenticate", "Proxy-Client-IP", "Proxy-Features", "Proxy-Status", "Keep-Alive",
}

// kept has fields that are the app's own business.
var kept = []string{"User-Agent", "Cookie", "Authorization", "Referer", "Accept-Language", "DNT", "X-Anything", "Sec-CH-UA"}

const tell = "192.0.2.99"

// TestNothingTells sends each field, one by one and all together, in heads and in
// trailer sections, on every version of HTTP, and reads what the target gets.
func TestNothingTells(t *testing.T) {
	all := append(append([]string(nil), telling...), "x-forwarded-made-up", "vIa", "PROXY-anything")
	for version, exchange := range map[string]func(t *testing.T, p *proxied, trailer bool, names []string) bool{
		"HTTP/1.0": tellBy1("HTTP/1.0"), "HTTP/1.1": tellBy1("HTTP/1.1"), "HTTP/2": tellBy2,
	} {
		for _, trailer := range []bool{false, true} {
			if version == "HTTP/1.0" && trailer {
				continue
			}
			got := make(chan string, len(all))
			p := newProxied(t, &Server{})
			p.rawTarget(t, func(c net.Conn, br *bufio.Reader) {
				head := readHead(br)
				if strings.Contains(head, "chunked") {
					head += readHead(br) // "0" and the trailer section
				}
				got <- head
				_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
			})
			try := func(names ...string) string {
				if !exchange(t, p, trailer, names) {
					return ""
				}
				return <-got
			}
			for _, name := range all {
				if version == "HTTP/2" && (name == "Proxy-Connection" || name == "Keep-Alive") {
					continue // refused: TestViolations2
				}
				if head := try(name); strings.Contains(head, tell) || strings.Contains(strings.ToLower(head), strings.ToLower(name)+":") {
					t.Errorf("%s, trailer %v: %s reached the target: %q", version, trailer, name, head)
				}
			}
			if !trailer {
				if head := try(append(kept, "Via", "From")...); strings.Count(head, tell) != len(kept) {
					t.Errorf("%s: of what is the app's, there is left %q", version, head)
				}
			}
		}
	}
}

// tellBy1 and tellBy2 send fields, and report whether they were not refused.
func tellBy1(version string) func(t *testing.T, p *proxied, trailer bool, names []string) bool {
	return func(t *testing.T, p *proxied, trailer bool, names []string) bool {
		fields := strings.Join(names, ": "+tell+"\r\n") + ": " + tell + "\r\n"
		raw := "GET http://a.example/ " + version + "\r\nHost: a.example\r\n" + fields + "\r\n"
		if trailer {
			raw = "PUT http://a.example/ " + version + "\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + fields + "\r\n"
		}
		if got, err := p.exchangeRaw(t, raw); err != nil || !strings.HasPrefix(got, "HTTP/1.1 204 ") {
			t.Fatalf("%v: got %q, %v", names, got, err)
		}
		return true
	}
}

func tellBy2(t *testing.T, p *proxied, trailer bool, names []string) bool {
	var fields, lower []string
	for _, name := range names {
		lower = append(lower, strings.ToLower(name))
		fields = append(fields, strings.ToLower(name)+" "+tell)
	}
	r := p.raw2(t)
	stream := r.next
	if trailer {
		r.send(false, append([]string{":method PUT"}, get2("/", "trailer "+strings.Join(lower, ", "))[1:]...)...)
		r.next = stream
	} else {
		fields = get2("/", fields...)
	}
	r.send(true, fields...)
	o := r.receive(stream)
	if refused := trailer && o.cut; o.status != "204" && !refused { // net/http allows less in trailers
		t.Fatalf("%v: got %+v", names, o)
	}
	return !o.cut
}

// TestCredentialsStayHere logs in to the proxy in every way, and looks for what it
// took in all that leaves: requests, and the first bytes of tunnels.
func TestCredentialsStayHere(t *testing.T) {
	const secret, encoded = "open-sesame", "YWxpY2U6b3Blbi1zZXNhbWU="
	got := make(chan string, 1)
	routed := make(chan relay.Request, 1)
	p := newProxied(t, &Server{Users: withTokens{users{"alice": secret}}, Relay: &relay.Relay{}})
	p.s.Relay.Router = relay.RouterFunc(func(_ context.Context, r relay.Request) relay.Decision {
		routed <- r
		return relay.Decision{Dialer: p.dialer(nil)}
	})
	p.rawTarget(t, func(c net.Conn, br *bufio.Reader) {
		got <- readHead(br)
		_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
	})
	const inside = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"
	for _, credentials := range []string{"Basic " + encoded, "Bearer " + secret} {
		for name, ask := range map[string]func(){
			"GET": func() {
				_, _ = p.exchangeRaw(t, "GET http://a.example/ HTTP/1.1\r\nHost: a\r\nProxy-Authorization: "+credentials+"\r\n\r\n")
			},
			"CONNECT": func() {
				_, _ = p.exchangeRaw(t, "CONNECT a.example:80 HTTP/1.1\r\nHost: a\r\nProxy-Authorization: "+credentials+"\r\n\r\n"+inside)
			},
			"upgrade": func() {
				_, _ = p.exchangeRaw(t, "GET http://a.example/ HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nProxy-Authorization: "+credentials+"\r\n\r\n")
			},
			"TRACE": func() {
				_, _ = p.exchangeRaw(t, "TRACE http://a.example/ HTTP/1.1\r\nHost: a\r\nProxy-Authorization: "+credentials+"\r\n\r\n")
			},
			"GET, 2": func() { p.raw2(t).ask(get2("/", "proxy-authorization "+credentials)...) },
			"CONNECT, 2": func() {
				r := p.raw2(t)
				stream := r.send(false, ":method CONNECT", ":authority a.example:80", "proxy-authorization "+credentials)
				_ = r.WriteData(stream, true, []byte(inside))
				r.receive(stream)
			},
		} {
			ask()
			q := <-routed
			if q.User != "alice" || strings.Contains(q.Addr, "alice") {
				t.Errorf("%s: routed as %+v", name, q)
			}
			if head := <-got; head == "" || strings.Contains(head, secret) || strings.Contains(head, encoded) || strings.Contains(head, "Proxy-") {
				t.Errorf("%s: what left was %q", name, head)
			}
		}
	}
}
