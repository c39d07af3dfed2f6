package httpproxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/byway-proxy/byway/relay"
)

const (
	get  = "GET http://a.example/ HTTP/1.1\r\n"
	host = "Host: a.example\r\n"
)

// violations has what RFC 9112 forbids, and what it is answered.
var violations = []struct {
	name, raw string
	status    int
}{
	{"no Host", get + "\r\n", 400},
	{"two Hosts", get + host + host + "\r\n", 400},
	{"odd Host", get + "Host: a b\r\n\r\n", 400},
	{"Host with path", get + "Host: a/b\r\n\r\n", 400},
	{"bare LF", get + "Host: a\nX: y\r\n\r\n", 400},
	{"bare LF ends the head", get + "Host: a\n\n", 400},
	{"bare CR", get + host + "X: a\rb\r\n\r\n", 400},
	{"NUL", get + host + "X: a\x00b\r\n\r\n", 400},
	{"control", get + host + "X: a\x01b\r\n\r\n", 400},
	{"obs-fold", get + host + "X: a\r\n b\r\n\r\n", 400},
	{"fold behind the request line", get + " X: a\r\n" + host + "\r\n", 400},
	{"space before colon", get + host + "X : a\r\n\r\n", 400},
	{"no colon", get + host + "X\r\n\r\n", 400},
	{"empty name", get + host + ": a\r\n\r\n", 400},
	{"name not a token", get + host + "X(y): a\r\n\r\n", 400},
	{"two spaces", "GET  http://a.example/ HTTP/1.1\r\n" + host + "\r\n", 400},
	{"trailing space", "GET http://a.example/ HTTP/1.1 \r\n" + host + "\r\n", 400},
	{"tab", "GET\thttp://a.example/ HTTP/1.1\r\n" + host + "\r\n", 400},
	{"no version", "GET http://a.example/\r\n" + host + "\r\n", 400},
	{"lower case version", "GET http://a.example/ http/1.1\r\n" + host + "\r\n", 400},
	{"HTTP/2.0", "GET http://a.example/ HTTP/2.0\r\n" + host + "\r\n", 505},
	{"HTTP/1.2", "GET http://a.example/ HTTP/1.2\r\n" + host + "\r\n", 505},
	{"method not a token", "GE(T http://a.example/ HTTP/1.1\r\n" + host + "\r\n", 400},
	{"fragment", "GET http://a.example/#x HTTP/1.1\r\n" + host + "\r\n", 400},
	{"not ASCII", "GET http://a.example/é HTTP/1.1\r\n" + host + "\r\n", 400},
	{"CL and TE", get + host + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	{"TE and CL", get + host + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400},
	{"two CL", get + host + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400},
	{"two CL, equal", get + host + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400},
	{"list of CL", get + host + "Content-Length: 3, 3\r\n\r\nabc", 400},
	{"signed CL", get + host + "Content-Length: +3\r\n\r\nabc", 400},
	{"negative CL", get + host + "Content-Length: -3\r\n\r\nabc", 400},
	{"hex CL", get + host + "Content-Length: 0x3\r\n\r\nabc", 400},
	{"huge CL", get + host + "Content-Length: 9999999999999999999\r\n\r\nabc", 400},
	{"empty CL", get + host + "Content-Length:\r\n\r\n", 400},
	{"TE identity", get + host + "Transfer-Encoding: identity\r\n\r\n", 501},
	{"TE gzip", get + host + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501},
	{"TE twice", get + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	{"TE chunked twice", get + host + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 501},
	{"TE xchunked", get + host + "Transfer-Encoding: xchunked\r\n\r\n", 501},
	{"TE vertical tab", get + host + "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n", 400},
	{"TE empty", get + host + "Transfer-Encoding:\r\n\r\n", 400},
	{"TE in 1.0", "GET http://a.example/ HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	{"head too long", get + host + "X: " + strings.Repeat("y", maxHead) + "\r\n\r\n", 431},
	{"many fields", get + host + strings.Repeat("X: y\r\n", maxHead/6) + "\r\n", 431},
	{"TLS", "\x16\x03\x01\x02\x00\x01\x00", 400},
	{"SOCKS5", "\x05\x01\x00", 400},
	{"https", "GET https://a.example/ HTTP/1.1\r\n" + host + "\r\n", 501},
	{"ftp", "GET ftp://a.example/ HTTP/1.1\r\n" + host + "\r\n", 400},
	{"user in URL", "GET http://u:p@a.example/ HTTP/1.1\r\n" + host + "\r\n", 400},
	{"no host in URL", "GET http:///x HTTP/1.1\r\n" + host + "\r\n", 400},
	{"odd host in URL", "GET http://a%2eexample/ HTTP/1.1\r\n" + host + "\r\n", 400},
	{"port 0", "GET http://a.example:0/ HTTP/1.1\r\n" + host + "\r\n", 400},
	{"authority for GET", "GET a.example:80 HTTP/1.1\r\n" + host + "\r\n", 400},
	{"unknown expectation", get + host + "Expect: x\r\nContent-Length: 1\r\n\r\na", 417},
	{"TRACE with body", "TRACE http://a.example/ HTTP/1.1\r\n" + host + "Content-Length: 1\r\n\r\na", 400},
	{"bad chunk", "POST http://a.example/ HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
	{"chunk with bare LF", "POST http://a.example/ HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n", 400},
	{"huge chunk", "POST http://a.example/ HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\na", 400},
	{"malformed trailer", "POST http://a.example/ HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\nX Y: z\r\n\r\n", 400},
	{"bare CR in a trailer", "POST http://a.example/ HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\rz\r\n\r\n", 400},
	{"zone in URL", "GET http://[fe80::1%25eth0]/ HTTP/1.1\r\n" + host + "\r\n", 400},
	{"IPv4 in brackets", "GET http://[192.0.2.1]/ HTTP/1.1\r\n" + host + "\r\n", 400},
	{"OPTIONS with odd Max-Forwards", "OPTIONS http://a.example/ HTTP/1.1\r\n" + host + "Max-Forwards: -1\r\n\r\n", 400},
	{"two Max-Forwards", "TRACE http://a.example/ HTTP/1.1\r\n" + host + "Max-Forwards: 1\r\nMax-Forwards: 1\r\n\r\n", 400},
	{"preface of HTTP/2 behind a head", get + host + "Connection: close\r\n \r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400},
	{"CONNECT without port", "CONNECT a.example HTTP/1.1\r\n" + host + "\r\n", 400},
	{"CONNECT to a URL", "CONNECT http://a.example/ HTTP/1.1\r\n" + host + "\r\n", 400},
	{"CONNECT to a path", "CONNECT /x HTTP/1.1\r\n" + host + "\r\n", 400},
	{"CONNECT to bare IPv6", "CONNECT ::1:80 HTTP/1.1\r\n" + host + "\r\n", 400},
	{"CONNECT with zone", "CONNECT [fe80::1%25eth0]:80 HTTP/1.1\r\n" + host + "\r\n", 400},
	{"CONNECT with body", "CONNECT a.example:443 HTTP/1.1\r\n" + host + "Content-Length: 1\r\n\r\na", 400},
	{"CONNECT with empty body", "CONNECT a.example:443 HTTP/1.1\r\n" + host + "Content-Length: 0\r\n\r\n", 400},
	{"CONNECT in chunks", "CONNECT a.example:443 HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
}

// TestViolations sends each with a request behind it, which must never be served.
func TestViolations(t *testing.T) {
	for _, test := range violations {
		t.Run(test.name, func(t *testing.T) {
			bad := make(chan error, 4)
			p := newProxied(t, &Server{Relay: &relay.Relay{Trace: &relay.Trace{
				BadClient: func(_ string, err error) { bad <- err },
			}}})
			p.rawTarget(t, func(_ net.Conn, br *bufio.Reader) {
				head := readHead(br)
				if strings.Contains(head, "smuggled") {
					t.Errorf("served %q", head)
				}
				_, _ = io.Copy(io.Discard, br)
			})
			got, err := p.exchangeRaw(t, test.raw+"GET http://smuggled.example/ HTTP/1.1\r\nHost: s\r\n\r\n")
			if err != nil {
				t.Error(err)
			}
			resp, rerr := http.ReadResponse(bufio.NewReader(strings.NewReader(got)), nil)
			if rerr != nil || resp.StatusCode != test.status || !resp.Close || strings.Count(got, "HTTP/1.1 ") != 1 {
				t.Errorf("answered %q, want status %d and close", got, test.status)
			}
			select {
			case <-bad:
			case <-time.After(5 * time.Second):
				t.Error("the trace was not told")
			}
		})
	}
}
