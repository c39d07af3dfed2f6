package front_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/byway-proxy/byway/internal/testnet"
)

// TestCut does not make a whole response of one that the origin broke off.
func TestCut(t *testing.T) {
	everyWay(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/sized" {
			w.Header().Set("Content-Length", "100000")
		}
		_, _ = io.WriteString(w, strings.Repeat("x", 50000))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}), func(t *testing.T, url string, c *http.Client) {
		for _, path := range []string{"/sized", "/chunked"} {
			resp, err := c.Get(url + path)
			if err != nil {
				continue
			}
			if _, err := io.ReadAll(resp.Body); err == nil {
				t.Errorf("%s: looks whole", path)
			}
			resp.Body.Close()
		}
	})
}

func TestRetry(t *testing.T) {
	dead := "http://" + testnet.Refusing(t)
	echo := served(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
	}))
	// It takes the request, and hangs up.
	rude := served(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		panic(http.ErrAbortHandler)
	}))
	short, long := "hello", strings.Repeat("x", 200<<10)
	for _, test := range []struct {
		first, method, body, key string
		want                     int
	}{
		{dead, "GET", "", "", 200},
		{dead, "POST", short, "", 200}, // nothing was sent
		{dead, "PUT", long, "", 200},
		{rude, "GET", "", "", 200},
		{rude, "PUT", short, "", 200},
		{rude, "PUT", long, "", 502}, // it is not there any more
		{rude, "POST", short, "", 502},
		{rude, "POST", short, "k1", 200},
	} {
		url := served(t, proxyTo(t, test.first, echo))
		r, _ := http.NewRequest(test.method, url, strings.NewReader(test.body))
		if test.key != "" {
			r.Header.Set("Idempotency-Key", test.key)
		}
		resp, err := clientFor(t, false).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != test.want || test.want == 200 && string(body) != test.body {
			t.Errorf("%s of %d bytes: %d, %d bytes", test.method, len(test.body), resp.StatusCode, len(body))
		}
	}
	if code, body, _ := get(t, proxyTo(t, dead, dead), httptest.NewRequest("GET", "/", nil)); code != 502 || body != "" {
		t.Errorf("nobody there: %d %q", code, body)
	}
}

// TestUnreadBody has no request be made of what is left of another's body.
func TestUnreadBody(t *testing.T) {
	var seen atomic.Pointer[string]
	l := testnet.Listen(t)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				in := bufio.NewReader(c)
				if _, err := http.ReadRequest(in); err != nil {
					return
				}
				_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n") // at once
				rest, _ := io.ReadAll(in)
				text := string(rest)
				seen.Store(&text)
			}()
		}
	}()
	url := served(t, proxyTo(t, "http://"+l.Addr().String()))
	for _, frame := range []string{"Content-Length: 100000", "Transfer-Encoding: chunked"} {
		c := dialRaw(t, strings.TrimPrefix(url, "http://"))
		fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n", frame)
		in := bufio.NewReader(c)
		resp, err := http.ReadResponse(in, nil)
		if err != nil || resp.StatusCode != 413 || !resp.Close {
			t.Fatalf("%v, %v", resp, err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		fmt.Fprintf(c, "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
		_ = c.(*net.TCPConn).CloseWrite()
		if rest, _ := io.ReadAll(in); len(rest) > 0 {
			t.Errorf("%s: answered with %q", frame, rest)
		}
		if s := seen.Load(); s != nil && strings.Contains(*s, "\nGET") {
			t.Errorf("%s: the origin saw %q", frame, *s)
		}
	}
}

func TestConnectIsNotPassedOn(t *testing.T) {
	p := proxyTo(t, served(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the origin was asked") })))
	if code, _, _ := get(t, p, httptest.NewRequest("CONNECT", "http://other.example:443", nil)); code != 405 {
		t.Errorf("got %d", code)
	}
}

// TestGone lets go of the origin when the client has gone.
func TestGone(t *testing.T) {
	gone := make(chan bool)
	everyWay(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		gone <- true
	}), func(t *testing.T, url string, c *http.Client) {
		ctx, cancel := context.WithCancel(t.Context())
		r, _ := http.NewRequestWithContext(ctx, "GET", url, nil)
		resp, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		resp.Body.Close()
		<-gone
	})
}

func TestBasePath(t *testing.T) {
	origin := served(t, say("origin"))
	for _, test := range []struct{ base, target, want string }{
		{"", "/x", "/x"},
		{"/", "/x", "/x"},
		{"/base", "/x", "/base/x"},
		{"/base/", "/x%2Fy", "/base/x%2Fy"},
		{"/b%2Fc", "/x", "/b%2Fc/x"},
		{"/base", "//x", "/base//x"},
	} {
		r := httptest.NewRequest("GET", "http://a.example"+test.target, nil)
		if _, body, _ := get(t, proxyTo(t, origin+test.base), r); body != "origin "+test.want {
			t.Errorf("%s below %s is %q", test.target, test.base, body)
		}
	}
}
