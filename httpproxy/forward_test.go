package httpproxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"sort"
	"strings"
	"testing"

	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

// sorted returns the lines of a head, the first in its place, without CRLF.
func sorted(head string) string {
	lines := strings.Split(strings.TrimRight(head, "\r\n"), "\r\n")
	sort.Strings(lines[1:])
	return strings.Join(lines, "\n")
}

// TestRequestFields compares what arrives at the target to the letter.
func TestRequestFields(t *testing.T) {
	for _, test := range []struct{ name, raw, want string }{
		{"nothing is added", "GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", "GET / HTTP/1.1\nHost: a.example"},
		{
			"what is removed", "GET http://a.example/ HTTP/1.1\r\nHost: other\r\nUser-Agent: x/1\r\nAccept-Encoding: br\r\nCookie: c\r\n" +
				"From: me\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 1\r\nProxy-Connection: keep-alive\r\n" +
				"Proxy-Authorization: Basic dTpw\r\nVia: 1.1 x\r\nForwarded: for=1\r\nX-Forwarded-For: 1\r\nX-Forwarded-Proto: 1\r\n" +
				"X-Real-IP: 1\r\nClient-IP: 1\r\nTrue-Client-IP: 1\r\nX-Client-IP: 1\r\nX-Cluster-Client-IP: 1\r\nCF-Connecting-IP: 1\r\n" +
				"Upgrade: h2c\r\nHTTP2-Settings: x\r\nPragma: no-cache\r\n\r\n",
			"GET / HTTP/1.1\nAccept-Encoding: br\nCookie: c\nHost: a.example\nPragma: no-cache\nUser-Agent: x/1",
		},
		{"malformed path", "GET http://a.example/%zz HTTP/1.1\r\nHost: a\r\n\r\n", ""},
		{
			"odd path", "GET http://a.example:8080/x/%2e/|[y]?q={}&%41 HTTP/1.1\r\nHost: a\r\n\r\n",
			"GET /x/%2e/|[y]?q={}&%41 HTTP/1.1\nHost: a.example:8080",
		},
		{"two slashes", "GET http://a.example//x?y HTTP/1.1\r\nHost: a\r\n\r\n", "GET //x?y HTTP/1.1\nHost: a.example"},
		{"no path", "GET http://a.example?x HTTP/1.1\r\nHost: a\r\n\r\n", "GET /?x HTTP/1.1\nHost: a.example"},
		{"empty port", "GET http://A.example:/ HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\nHost: A.example"},
		{"IPv6", "GET http://[2001:db8::1]:81/ HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\nHost: [2001:db8::1]:81"},
		{"OPTIONS *", "OPTIONS http://a.example HTTP/1.1\r\nHost: a\r\nMax-Forwards: 3\r\n\r\n", "OPTIONS * HTTP/1.1\nHost: a.example\nMax-Forwards: 2"},
		{
			"trailers wanted", "GET http://a.example/ HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n",
			"GET / HTTP/1.1\nConnection: TE\nHost: a.example\nTe: trailers",
		},
		{"HTTP/1.0", "GET http://a.example/ HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\nHost: a.example"},
		{"empty POST", "POST http://a.example/ HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "POST / HTTP/1.1\nContent-Length: 0\nHost: a.example"},
		{"unknown method", "BREW http://a.example/ HTTP/1.1\r\nHost: a\r\n\r\n", "BREW / HTTP/1.1\nHost: a.example"},
	} {
		t.Run(test.name, func(t *testing.T) {
			heads := make(chan string, 1)
			p := newProxied(t, &Server{})
			p.rawTarget(t, func(c net.Conn, br *bufio.Reader) {
				heads <- readHead(br)
				_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
			})
			got, err := p.exchangeRaw(t, test.raw)
			if test.want == "" {
				if err != nil || !strings.HasPrefix(got, "HTTP/1.1 400") {
					t.Errorf("got %q, %v", got, err)
				}
				return
			}
			if head := sorted(<-heads); head != test.want {
				t.Errorf("the target got\n%s\nwant\n%s", head, test.want)
			}
			if err != nil || !strings.HasPrefix(got, "HTTP/1.1 204 No Content\r\n") {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestViaWhenAskedFor(t *testing.T) {
	p := newProxied(t, &Server{Via: "byway"})
	p.onTarget(t, func(_ http.ResponseWriter, r *http.Request) {
		if got := fmt.Sprint(r.Header["Via"]); got != "[1.1 byway]" {
			t.Errorf("Via %s", got)
		}
	})
	if got, _ := p.exchangeRaw(t, "GET http://a.example/ HTTP/1.1\r\nHost: a\r\nVia: 1.0 home\r\n\r\n"); !strings.Contains(got, "Via: 1.1 byway\r\n") {
		t.Errorf("got %q", got)
	}
}

// TestResponses has what a target sends, and the client's bytes for it.
func TestResponses(t *testing.T) {
	const get, get10 = "GET http://a.example/ HTTP/1.1\r\nHost: a\r\n\r\n", "GET http://a.example/ HTTP/1.0\r\n\r\n"
	for _, test := range []struct {
		name, raw, answer, want string
		cut                     bool // the client must see that it is not complete
	}{
		{"length", get, "HTTP/1.1 200 Fine\r\nContent-Length: 2\r\n\r\nhi", "HTTP/1.1 200 Fine\r\nContent-Length: 2\r\n\r\nhi", false},
		{"until close", get, "HTTP/1.1 200 OK\r\n\r\nhi", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", false},
		{"until close, HTTP/1.0", get10, "HTTP/1.1 200 OK\r\n\r\nhi", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhi", false},
		{
			"chunks to HTTP/1.0", get10, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhi", false,
		},
		{
			"keep-alive of HTTP/1.0", "GET http://a.example/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi", false,
		},
		{
			"trailers", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, X-Forwarded-For\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\nX-Late: 2\r\nContent-Length: 9\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Late: 2\r\nX-Sum: 1\r\n\r\n", false,
		},
		{
			"hop-by-hop", get, "HTTP/1.1 200 OK\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: 1\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\nVia: 1.1 cdn\r\nContent-Length: 0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nVia: 1.1 cdn\r\n\r\n", false,
		},
		{"204", get, "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n", false},
		{"304", get, "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", false},
		{"HEAD", "HEAD http://a.example/ HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", false},
		{
			"close asked for", "GET http://a.example/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + get, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", false,
		},
		{
			"103", get, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
			"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", false,
		},
		{
			"103 to HTTP/1.0", get10, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
			"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", false,
		},
		{
			"103 for ever", get, strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 100),
			strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", maxInterim) + "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 27\r\nContent-Type: text/plain; charset=utf-8\r\n" +
				"\r\ntoo many interim responses\n", false,
		},
		{
			"gzip is left alone", get, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nhi",
			"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nhi", false,
		},
		{"cut short", get, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", true},
		{
			"chunks cut short", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", true,
		},
		{
			"chunks cut short, HTTP/1.0", get10, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
			"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhi", true,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newProxied(t, &Server{})
			p.rawTarget(t, func(c net.Conn, br *bufio.Reader) {
				readHead(br)
				_, _ = io.WriteString(c, test.answer)
			})
			got, err := p.exchangeRaw(t, test.raw)
			if test.cut {
				// A reset may overtake bytes.
				if err == nil || !strings.HasPrefix(test.want, got) {
					t.Errorf("got %q, %v, want part of it and an error", got, err)
				}
			} else if err != nil || got != test.want {
				t.Errorf("got %q, %v, want %q", got, err, test.want)
			}
		})
	}
}

func TestMaxForwards(t *testing.T) {
	p := newProxied(t, &Server{Relay: &relay.Relay{Router: direct(testnet.NoDial(t))}})
	got, err := p.exchangeRaw(t, "TRACE http://a.example/x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\nCookie: c\r\nX: y\r\n\r\n"+
		"OPTIONS http://a.example/x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n")
	if err != nil || !strings.Contains(got, "\r\n\r\nTRACE http://a.example/x HTTP/1.1\r\n") || !strings.Contains(got, "X: y\r\n") ||
		strings.Contains(got, "Cookie") || !strings.Contains(got, "message/http") || strings.Count(got, "HTTP/1.1 200") != 2 {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestMaxForwardsCountsDown looks at what goes on to the target.
func TestMaxForwardsCountsDown(t *testing.T) {
	for raw, want := range map[string]string{
		"TRACE http://a.example/x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 1\r\n\r\n":    "TRACE /x HTTP/1.1\nHost: a.example\nMax-Forwards: 0",
		"TRACE http://a.example/x HTTP/1.1\r\nHost: a\r\n\r\n":                       "TRACE /x HTTP/1.1\nHost: a.example",
		"OPTIONS http://a.example/x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 10\r\n\r\n": "OPTIONS /x HTTP/1.1\nHost: a.example\nMax-Forwards: 9",
		"GET http://a.example/x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n":      "GET /x HTTP/1.1\nHost: a.example\nMax-Forwards: 0",
	} {
		heads := make(chan string, 1)
		p := newProxied(t, &Server{})
		p.rawTarget(t, func(c net.Conn, br *bufio.Reader) {
			heads <- readHead(br)
			_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
		})
		got, err := p.exchangeRaw(t, raw)
		if err != nil || !strings.HasPrefix(got, "HTTP/1.1 204 ") {
			t.Errorf("%q: got %q, %v", raw, got, err)
			continue
		}
		if head := sorted(<-heads); head != want {
			t.Errorf("%q: the target got\n%s\nwant\n%s", raw, head, want)
		}
	}
}

// TestLargeHead: what is within the limit arrives, whole.
func TestLargeHead(t *testing.T) {
	p := newProxied(t, &Server{})
	p.onTarget(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, len(r.Header.Get("Cookie"))) })
	const head = "GET http://a.example/ HTTP/1.1\r\nHost: a\r\nCookie: "
	for _, n := range []int{4000, 5000, maxHead - len(head) - 4} {
		got, err := p.exchangeRaw(t, head+strings.Repeat("c", n)+"\r\n\r\n")
		if err != nil || !strings.HasSuffix(got, fmt.Sprintf("\r\n\r\n%d", n)) {
			t.Errorf("a cookie of %d bytes: got %q, %v", n, got, err)
		}
	}
}
