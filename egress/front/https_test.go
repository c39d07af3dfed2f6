package front

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"testing"
)

// What Caddy 2.11.9 answered to these.
func TestToHTTPS(t *testing.T) {
	const tail = "Server: Caddy\r\nDate: D\r\nContent-Length: 0\r\n\r\n"
	for _, test := range []struct {
		port        uint16
		ask, answer string
	}{
		{443, "GET /a?b=c HTTP/1.1\r\nHost: my.example.org\r\n\r\n", "HTTP/1.1 308 Permanent Redirect\r\nConnection: close\r\nLocation: https://my.example.org/a?b=c\r\n" + tail},
		{443, "GET /a?b=c HTTP/1.1\r\nHost: my.example.org:80\r\n\r\n", "HTTP/1.1 308 Permanent Redirect\r\nConnection: close\r\nLocation: https://my.example.org/a?b=c\r\n" + tail},
		{443, "GET /a HTTP/1.0\r\n\r\n", "HTTP/1.0 308 Permanent Redirect\r\nConnection: close\r\nLocation: https:///a\r\n" + tail},
		{443, "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n", "HTTP/1.1 308 Permanent Redirect\r\nConnection: close\r\nLocation: https://a.example/\r\n" + tail},
		{443, "POST /p HTTP/1.1\r\nHost: other.example\r\nContent-Length: 3\r\n\r\nabc", "HTTP/1.1 308 Permanent Redirect\r\nConnection: close\r\nLocation: https://other.example/p\r\n" + tail},
		{443, "GET http://my.example.org/a HTTP/1.1\r\nHost: my.example.org\r\n\r\n", "HTTP/1.1 308 Permanent Redirect\r\nConnection: close\r\nLocation: https://my.example.org/a\r\n" + tail},
		{443, "HEAD //a%20/../b HTTP/1.1\r\nHost: MY.example.org.\r\n\r\n", "HTTP/1.1 308 Permanent Redirect\r\nConnection: close\r\nLocation: https://MY.example.org.//a%20/../b\r\nServer: Caddy\r\nDate: D\r\n\r\n"},
		{443, "OPTIONS * HTTP/1.1\r\nHost: my.example.org\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nDate: D\r\n\r\n"},
		{8443, "GET / HTTP/1.1\r\nHost: my.example.org\r\n\r\n", "HTTP/1.1 308 Permanent Redirect\r\nConnection: close\r\nLocation: https://my.example.org:8443/\r\n" + tail},
	} {
		if got := answerOf(t, &Persona{Site: ToHTTPS(test.port)}, test.ask); got != test.answer {
			t.Errorf("%q: got\n%q, want\n%q", test.ask, got, test.answer)
		}
	}
}

// answerOf returns what a server of h in the clear answers, its date left out.
func answerOf(t *testing.T, h http.Handler, ask string) string {
	t.Helper()
	s, err := NewServer(h, nil)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	defer func() {
		_ = s.Close()
		<-served
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := fmt.Fprint(c, ask); err != nil {
		t.Fatal(err)
	}
	_ = c.(*net.TCPConn).CloseWrite()
	b, err := io.ReadAll(bufio.NewReader(c))
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`Date: [^\r]*`).ReplaceAllString(string(b), "Date: D")
}
