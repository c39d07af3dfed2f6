package h1_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/egress/front/h1"
)

// TestSent shows what goes over the wire.
func TestSent(t *testing.T) {
	chunked := struct{ io.Reader }{strings.NewReader("hello")}
	for name, test := range map[string]struct {
		change func(r *http.Request)
		want   string // or "" for an error
	}{
		"plain":        {func(r *http.Request) { r.Header.Set("X-A", "b") }, "GET /p?q HTTP/1.1\r\nHost: a.example\r\nX-A: b\r\n\r\n"},
		"another host": {func(r *http.Request) { r.Host = "b.example:8080" }, "GET /p?q HTTP/1.1\r\nHost: b.example:8080\r\n\r\n"},
		"POST without a body": {
			func(r *http.Request) { r.Method = "POST" },
			"POST /p?q HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n",
		},
		"sized": {func(r *http.Request) {
			r.Method, r.Body, r.ContentLength = "PUT", io.NopCloser(chunked), 5
			r.Header.Set("Content-Length", "7")
		}, "PUT /p?q HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello"},
		"chunked": {func(r *http.Request) {
			r.Method, r.Body, r.ContentLength = "PUT", io.NopCloser(strings.NewReader("hello")), -1
			r.Trailer = http.Header{"X-T": {"1"}, "Content-Length": {"9"}}
			r.Header.Set("Transfer-Encoding", "gzip")
		}, "PUT /p?q HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n"},
		"OPTIONS *":     {func(r *http.Request) { r.Method, r.URL = "OPTIONS", &url.URL{Opaque: "*"} }, "OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n"},
		"an odd target": {func(r *http.Request) { r.URL.RawQuery = "a b\r\nX: y" }, "GET /p?a%20b%0D%0AX:%20y HTTP/1.1\r\nHost: a.example\r\n\r\n"},
		"an odd method": {func(r *http.Request) { r.Method = "GET / HTTP/1.1\r\nX:" }, ""},
		"an odd name":   {func(r *http.Request) { r.Header["X: y\r\nZ"] = []string{"1"} }, ""},
		"an odd value":  {func(r *http.Request) { r.Header["X"] = []string{"1\r\nY: 2"} }, ""},
		"an odd host":   {func(r *http.Request) { r.Host = "a\r\nX: y" }, ""},
		"too short a body": {func(r *http.Request) {
			r.Method, r.Body, r.ContentLength = "PUT", io.NopCloser(strings.NewReader("x")), 5
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var seen bytes.Buffer
			s := &server{serve: func(_ int, c net.Conn, in *bufio.Reader) {
				r, err := http.ReadRequest(bufio.NewReader(io.TeeReader(in, &seen)))
				if err != nil {
					return
				}
				if _, err := io.Copy(io.Discard, r.Body); err == nil {
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				}
			}}
			c := &h1.Client{Dial: s.dial}
			r := request("GET", "")
			r.URL.Path, r.URL.RawQuery = "/p", "q"
			test.change(r)
			_, err := c.Do(r, nil)
			c.Close()
			s.run.Wait()
			if test.want == "" {
				if err == nil {
					t.Errorf("it passes: %q", seen.String())
				}
				return
			}
			if err != nil || seen.String() != test.want {
				t.Errorf("%v\n got %q\nwant %q", err, seen.String(), test.want)
			}
		})
	}
}

// FuzzSent has one request, and the one that was meant, be read of whatever is sent.
func FuzzSent(f *testing.F) {
	f.Add("GET", "/p", "q", "a.example", "X-A", "b", "body")
	f.Add("POST", "/a b", "\r\n\r\nGET /", "a\r\n", "Content-Length", "0", "")
	f.Add("PUT", "*", "", "", "Transfer-Encoding", "chunked", "0\r\n\r\n")
	f.Add("CONNECT", "//", "?", "[::1]:80", "Connection", "close", "x")
	f.Fuzz(func(t *testing.T, method, path, query, host, name, value, body string) {
		var seen bytes.Buffer
		answered := false
		s := &server{serve: func(_ int, c net.Conn, in *bufio.Reader) {
			buffered := bufio.NewReader(io.TeeReader(in, &seen))
			r, err := http.ReadRequest(buffered)
			if err != nil {
				return
			}
			if got, err := io.ReadAll(r.Body); err != nil || string(got) != body {
				t.Errorf("body %q, %v; sent %q in %q", got, err, body, seen.String())
				return
			}
			if r.Method != method || buffered.Buffered() > 0 {
				t.Errorf("method %q, %d bytes more: %q", r.Method, buffered.Buffered(), seen.String())
			}
			answered = true
			_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
		}}
		c := &h1.Client{Dial: s.dial}
		r := request("GET", body)
		if body != "" {
			r.ContentLength = -1
		}
		r.Method, r.Host, r.Header = method, host, http.Header{name: {value}}
		r.URL = &url.URL{Host: "a.example", Path: path, RawQuery: query}
		_, err := c.Do(r, nil)
		c.Close()
		s.run.Wait()
		if errors.Is(err, h1.ErrRequest) && seen.Len() > 0 {
			t.Errorf("refused, and sent %q", seen.String())
		}
		if err == nil && !answered {
			t.Errorf("nobody answered %q", seen.String())
		}
	})
}

// FuzzResponse has no response, however it is made, be read beyond its end or keep a connection with something
// left on it.
func FuzzResponse(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 204 No Content\r\n\r\nx", "HTTP/1.0 200 OK\r\n\r\nhello", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nabc",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\nabc",
	} {
		f.Add([]byte(seed), false)
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, answer []byte, writeTo bool) {
		const second = "HTTP/1.1 200 OK\r\nX-Second: 1\r\nContent-Length: 0\r\n\r\n"
		s := &server{serve: func(_ int, c net.Conn, in *bufio.Reader) {
			for i := range 2 {
				if _, err := http.ReadRequest(in); err != nil {
					return
				}
				_, _ = c.Write([][]byte{answer, []byte(second)}[i])
			}
		}}
		c := &h1.Client{Dial: s.dial, MaxIdle: 1}
		defer s.run.Wait()
		defer c.Close()
		// A response may end with the connection, which does not end.
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		defer cancel()
		resp, err := c.Do(request("POST", "").WithContext(ctx), nil)
		if err != nil {
			return
		}
		if resp.StatusCode == 101 {
			_ = resp.Body.Close()
			return
		}
		if writeTo {
			_, err = io.Copy(io.Discard, resp.Body)
		} else {
			_, err = io.ReadAll(resp.Body)
		}
		_ = resp.Body.Close()
		if err != nil || s.dialled() > 1 {
			return
		}
		resp, err = c.Do(request("POST", ""), nil)
		if err != nil {
			return
		}
		_ = resp.Body.Close()
		if s.dialled() == 1 && resp.Header.Get("X-Second") != "1" {
			t.Errorf("%q: the next response is %v", answer, resp)
		}
	})
}

// TestContinue waits with a body that is to wait, a second at most.
func TestContinue(t *testing.T) {
	for name, test := range map[string]struct {
		answer string
		after  time.Duration // the body comes, or -1
	}{
		"told to go on": {"HTTP/1.1 100 Continue\r\n\r\n", 0},
		"told nothing":  {"", time.Second},
		"told no":       {"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n", -1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				came := time.Duration(-1)
				s := &server{serve: func(_ int, c net.Conn, in *bufio.Reader) {
					_, _ = http.ReadRequest(in)
					_, _ = io.WriteString(c, test.answer)
					if _, err := in.Peek(1); err == nil {
						came = time.Since(start)
						_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
					}
				}}
				c := &h1.Client{Dial: s.dial, MaxIdle: 1}
				r := request("POST", "hello")
				r.Header.Set("Expect", "100-continue")
				resp, err := c.Do(r, nil)
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
				c.Close()
				s.run.Wait()
				if came != test.after {
					t.Errorf("the body came after %v, want %v", came, test.after)
				}
			})
		})
	}
}

// TestAnswerDuringBody reads an answer that comes before the body has ended, and does not use the
// connection again, since the server could take what is left of the body for a request.
func TestAnswerDuringBody(t *testing.T) {
	s := &server{serve: func(_ int, c net.Conn, in *bufio.Reader) {
		if _, err := http.ReadRequest(in); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
			_, _ = io.Copy(io.Discard, in)
		}
	}}
	c := clientOf(t, s)
	for range 2 {
		body, more := io.Pipe()
		r := request("POST", "x")
		r.Body, r.ContentLength = body, -1
		resp, err := c.Do(r, nil)
		if err != nil || resp.StatusCode != 413 {
			t.Fatal(resp, err)
		}
		if got, err := io.ReadAll(resp.Body); string(got) != "no" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		_ = resp.Body.Close()
		_ = more.Close()
	}
	if n := s.dialled(); n != 2 {
		t.Errorf("%d connections for two requests", n)
	}
}

// TestBrokenBody has the server see that a client broke off.
func TestBrokenBody(t *testing.T) {
	var got error
	s := &server{serve: func(_ int, c net.Conn, in *bufio.Reader) {
		if r, err := http.ReadRequest(in); err == nil {
			_, got = io.Copy(io.Discard, r.Body)
		}
	}}
	c := clientOf(t, s)
	body, more := io.Pipe()
	r := request("POST", "x")
	r.Body, r.ContentLength = body, -1
	go func() {
		_, _ = io.WriteString(more, "some")
		_ = more.CloseWithError(errors.New("gone"))
	}()
	if _, err := c.Do(r, nil); err == nil {
		t.Error("it passes")
	}
	s.run.Wait()
	if got == nil {
		t.Error("what the server got looks whole")
	}
}
