package h1_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/egress/front/h1"
	"github.com/byway-proxy/byway/internal/testnet"
)

// TestResponses reads responses, whole or not, and keeps the connection if nothing is left on it.
func TestResponses(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	long := strings.Repeat("0123456789", 20000)
	for name, test := range map[string]struct {
		method, answer string
		status         int
		body, trailer  string
		early          string
		fails          bool // in the head or the body
		kept           bool
	}{
		"sized":                 {answer: ok + "Content-Length: 5\r\n\r\nhello", status: 200, body: "hello", kept: true},
		"long":                  {answer: ok + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(long), long), status: 200, body: long, kept: true},
		"empty":                 {answer: ok + "Content-Length: 0\r\n\r\n", status: 200, kept: true},
		"chunked":               {answer: ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n", status: 200, body: "hello", kept: true},
		"with trailers":         {answer: ok + "Trailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n", status: 200, body: "hello", trailer: "1", kept: true},
		"to a HEAD":             {method: "HEAD", answer: ok + "Content-Length: 5\r\n\r\n", status: 200, kept: true},
		"204":                   {answer: "HTTP/1.1 204 No Content\r\n\r\n", status: 204, kept: true},
		"304 with a length":     {answer: "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", status: 304, kept: true},
		"early":                 {answer: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: a\r\n\r\n" + ok + "Content-Length: 0\r\n\r\n", status: 200, early: "103 a;", kept: true},
		"closing":               {answer: ok + "Connection: close\r\nContent-Length: 5\r\n\r\nhello", status: 200, body: "hello"},
		"version 1.0":           {answer: "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", status: 200, body: "hello"},
		"more than asked for":   {answer: ok + "Content-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n", status: 200, body: "hello"},
		"after a 204":           {answer: "HTTP/1.1 204 No Content\r\n\r\nx", status: 204},
		"two lengths":           {answer: ok + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", fails: true},
		"a bad length":          {answer: ok + "Content-Length: -5\r\n\r\nhello", fails: true},
		"a bad chunk":           {answer: ok + "Transfer-Encoding: chunked\r\n\r\nx\r\nhello", fails: true},
		"an odd coding":         {answer: ok + "Transfer-Encoding: gzip\r\n\r\nhello", fails: true},
		"no HTTP":               {answer: "SSH-2.0-OpenSSH_9.2\r\n", fails: true},
		"an endless head":       {answer: ok + "X: " + strings.Repeat("x", 2<<20) + "\r\n\r\n", fails: true},
		"endless informational": {answer: strings.Repeat("HTTP/1.1 103 Early\r\n\r\n", 100), fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			for _, whole := range []bool{true, false} {
				s := always(test.answer)
				c := clientOf(t, s)
				method := test.method
				if method == "" {
					method = "GET"
				}
				early := ""
				resp, err := c.Do(request(method, ""), func(status int, h http.Header) { early += fmt.Sprint(status, " ", h.Get("Link"), ";") })
				var body strings.Builder
				if err == nil {
					if whole {
						_, err = io.Copy(&body, resp.Body) // by WriteTo
					} else {
						_, err = io.Copy(&body, struct{ io.Reader }{resp.Body})
					}
					_ = resp.Body.Close()
				}
				if test.fails {
					if err == nil {
						t.Error("it passes")
					}
					continue
				}
				if err != nil || resp.StatusCode != test.status || body.String() != test.body || early != test.early || resp.Trailer.Get("X-T") != test.trailer {
					t.Fatalf("%v, %v, %d bytes, early %q", err, resp, body.Len(), early)
				}
				if resp, err := c.Do(request(method, ""), nil); err == nil {
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
				if kept := s.dialled() == 1; kept != test.kept {
					t.Errorf("%d connections; kept: %v, want %v", s.dialled(), kept, test.kept)
				}
			}
		})
	}
}

// TestBrokenOff tells of a response that has not come to its end.
func TestBrokenOff(t *testing.T) {
	for _, answer := range []string{
		"", "HTTP/1.1 2", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello",
	} {
		s := &server{serve: func(_ int, c net.Conn, in *bufio.Reader) {
			_, _ = http.ReadRequest(in)
			_, _ = io.WriteString(c, answer)
		}}
		for _, copyBody := range []func(io.Reader) error{
			func(r io.Reader) error { _, err := io.Copy(io.Discard, r); return err },
			func(r io.Reader) error { _, err := io.ReadAll(r); return err },
		} {
			resp, err := clientOf(t, s).Do(request("GET", ""), nil)
			if err == nil {
				err = copyBody(resp.Body)
				_ = resp.Body.Close()
			}
			if err == nil {
				t.Errorf("%q looks whole", answer)
			}
		}
	}
}

// TestClosedMeanwhile sends a request again that found a kept connection closed, if that is safe.
func TestClosedMeanwhile(t *testing.T) {
	for method, want := range map[string]bool{"GET": true, "DELETE": true, "POST": false} {
		s := &server{serve: func(_ int, c net.Conn, in *bufio.Reader) {
			if _, err := http.ReadRequest(in); err != nil {
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			_, _ = http.ReadRequest(in) // it takes the second, and closes
		}}
		c := clientOf(t, s)
		if _, err := c.Do(request(method, ""), nil); err != nil {
			t.Fatal(err)
		}
		_, err := c.Do(request(method, ""), nil)
		if (err == nil) != want || s.dialled() != map[bool]int{true: 2, false: 1}[want] {
			t.Errorf("%s: %v, after %d connections", method, err, s.dialled())
		}
	}
	// On a new connection nothing is sent again.
	s := &server{serve: func(_ int, _ net.Conn, in *bufio.Reader) { _, _ = http.ReadRequest(in) }}
	if _, err := clientOf(t, s).Do(request("GET", ""), nil); err == nil || s.dialled() != 1 {
		t.Errorf("%v, after %d connections", err, s.dialled())
	}
}

// TestClosedSocket finds out that a kept socket was closed before it sends what can't be sent again.
func TestClosedSocket(t *testing.T) {
	l := testnet.Listen(t)
	closed := make(chan bool)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				_, _ = io.Copy(io.Discard, r.Body)
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			}
			c.Close()
			closed <- true
		}
	}()
	c := &h1.Client{MaxIdle: 1, Dial: func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", l.Addr().String())
	}}
	defer c.Close()
	for range 20 {
		resp, err := c.Do(request("POST", "body"), nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		<-closed
	}
}

// TestGivenUp cuts the connection when the request's context ends, wherever it is.
func TestGivenUp(t *testing.T) {
	for name, answer := range map[string]string{
		"no answer": "", "in the head": "HTTP/1.1 200", "in a sized body": "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
		"in a chunked body": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var cut time.Time
				s := &server{serve: func(_ int, c net.Conn, in *bufio.Reader) {
					_, _ = http.ReadRequest(in)
					_, _ = io.WriteString(c, answer)
					_, _ = in.ReadByte()
					cut = time.Now()
				}}
				c := &h1.Client{Dial: s.dial, MaxIdle: 1}
				start := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				resp, err := c.Do(request("GET", "").WithContext(ctx), nil)
				if err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				} else if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("in the head: %v", err)
				}
				s.run.Wait()
				if err == nil || time.Since(start) != 3*time.Second || cut.Sub(start) != 3*time.Second {
					t.Errorf("%v, cut after %v", err, cut.Sub(start))
				}
			})
		})
	}
}

func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{serve: func(n int, c net.Conn, in *bufio.Reader) {
			for {
				r, err := http.ReadRequest(in)
				if err != nil {
					return
				}
				if r.Method == "DELETE" {
					continue // it says nothing
				}
				time.Sleep(4 * time.Second)
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nx")
				time.Sleep(time.Minute) // a body may take its time
				_, _ = io.WriteString(c, "x")
			}
		}}
		c := &h1.Client{Dial: s.dial, MaxIdle: 1, ResponseLimit: 5 * time.Second, IdleLimit: 30 * time.Second}
		for range 2 {
			resp, err := c.Do(request("GET", ""), nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				t.Error(err)
			}
			time.Sleep(29 * time.Second)
		}
		start := time.Now()
		if _, err := c.Do(request("DELETE", ""), nil); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 5*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if n := s.dialled(); n != 1 {
			t.Errorf("%d connections; one that is in time is kept, and a time-out is not tried again", n)
		}
		resp, err := c.Do(request("GET", ""), nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		time.Sleep(31 * time.Second)
		s.run.Wait() // all are closed
		c.Close()
	})
}
