package httpproxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/byway-proxy/byway/relay"
)

func TestTargetGarbage(t *testing.T) {
	for _, answer := range []string{"", "garbage\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"} {
		p := newProxied(t, &Server{})
		p.rawTarget(t, func(c net.Conn, br *bufio.Reader) {
			readHead(br)
			_, _ = io.WriteString(c, answer)
		})
		const get = "GET http://a.example/ HTTP/1.1\r\nHost: a\r\n\r\n"
		got, err := p.exchangeRaw(t, get+get)
		if err != nil || strings.Count(got, "HTTP/1.1 502 ") != 2 {
			t.Errorf("%q: got %q, %v; want two answers, the conn being kept", answer, got, err)
		}
	}
}

func TestPipelining(t *testing.T) {
	p := newProxied(t, &Server{})
	p.onTarget(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		time.Sleep(time.Duration(5-len(r.URL.Path)) * time.Millisecond)
		fmt.Fprintf(w, "%s=%s;", r.URL.Path, body)
	})
	var raw strings.Builder
	for i := range 20 {
		fmt.Fprintf(&raw, "POST http://a.example/%d HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n%d\r\n0\r\n\r\n\r\n", i, i%10)
	}
	got, err := p.exchangeRaw(t, raw.String())
	if err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(strings.NewReader(got))
	for i := range 20 {
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		if want := fmt.Sprintf("/%d=%d;", i, i%10); string(body) != want {
			t.Errorf("answer %d is %q", i, body)
		}
	}
}

func TestRequestTrailers(t *testing.T) {
	got := make(chan http.Header, 1)
	p := newProxied(t, &Server{})
	p.onTarget(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		got <- r.Trailer
	})
	_, _ = p.exchangeRaw(t, "POST http://a.example/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, X-Gone\r\n\r\n"+
		"2\r\nhi\r\n0\r\nX-Sum: 1\r\nX-Late: 2\r\nX-Forwarded-For: 3\r\nContent-Length: 4\r\n\r\n")
	trailer := <-got
	if want := (http.Header{"X-Sum": {"1"}, "X-Late": {"2"}}); len(trailer["X-Gone"]) != 0 ||
		fmt.Sprint(trailer["X-Sum"], trailer["X-Late"]) != fmt.Sprint(want["X-Sum"], want["X-Late"]) ||
		trailer["X-Forwarded-For"] != nil || trailer["Content-Length"] != nil {
		t.Errorf("the target got %v", trailer)
	}
}

// TestEventStream makes sure that each piece comes when it is sent.
func TestEventStream(t *testing.T) {
	p := newProxied(t, &Server{})
	next := make(chan struct{})
	p.onTarget(t, func(w http.ResponseWriter, _ *http.Request) {
		for i := range 5 {
			fmt.Fprintf(w, "event %d\n", i)
			w.(http.Flusher).Flush()
			<-next
		}
	})
	conn := p.dial(t)
	_, _ = io.WriteString(conn, "GET http://a.example/ HTTP/1.1\r\nHost: a\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	body := bufio.NewReader(resp.Body)
	for i := range 5 {
		if line, err := body.ReadString('\n'); err != nil || line != fmt.Sprintf("event %d\n", i) {
			t.Fatalf("got %q, %v", line, err)
		}
		next <- struct{}{}
	}
}

func TestExpectContinue(t *testing.T) {
	const head = "POST http://a.example/ HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
	const go100 = "HTTP/1.1 100 Continue\r\n\r\n"
	talk := func(t *testing.T, target func(c net.Conn, br *bufio.Reader)) *bufio.Reader {
		p := newProxied(t, &Server{})
		p.rawTarget(t, func(c net.Conn, br *bufio.Reader) {
			if got := readHead(br); !strings.Contains(got, "Expect: 100-continue\r\n") {
				t.Errorf("the target got %q", got)
			}
			target(c, br)
		})
		conn := p.dial(t)
		_, _ = io.WriteString(conn, head)
		br := bufio.NewReader(conn)
		if got := readHead(br); got != go100 {
			return bufio.NewReader(io.MultiReader(strings.NewReader(got), br))
		}
		_, _ = io.WriteString(conn, "body")
		return br
	}
	body := func(t *testing.T, br *bufio.Reader) {
		b := make([]byte, 4)
		if _, err := io.ReadFull(br, b); err != nil || string(b) != "body" {
			t.Errorf("the target read %q, %v", b, err)
		}
	}
	t.Run("the target says so", func(t *testing.T) {
		br := talk(t, func(c net.Conn, br *bufio.Reader) {
			_, _ = io.WriteString(c, go100)
			body(t, br)
			_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
		})
		if got := readHead(br); got != "HTTP/1.1 204 No Content\r\n\r\n" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("the target never does", func(t *testing.T) {
		br := talk(t, func(c net.Conn, br *bufio.Reader) {
			body(t, br)
			_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
		})
		if got := readHead(br); got != "HTTP/1.1 204 No Content\r\n\r\n" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("the target refuses", func(t *testing.T) {
		br := talk(t, func(c net.Conn, br *bufio.Reader) {
			_, _ = io.WriteString(c, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
		})
		if got := readHead(br); got != "HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" {
			t.Errorf("got %q", got)
		}
	})
}

func TestUpgrade(t *testing.T) {
	const ask = "GET http://a.example/chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n"
	t.Run("accepted", func(t *testing.T) {
		p := newProxied(t, &Server{})
		p.rawTarget(t, func(c net.Conn, br *bufio.Reader) {
			if got := sorted(readHead(br)); got != "GET /chat HTTP/1.1\nConnection: Upgrade\nHost: a.example\nSec-Websocket-Key: k\nUpgrade: websocket" {
				t.Errorf("the target got %s", got)
			}
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst ")
			_, _ = io.Copy(c, br) // up to the client's half-close
			_, _ = io.WriteString(c, " last")
		})
		got, err := p.exchangeRaw(t, ask+"frames")
		if want := "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst frames last"; err != nil || got != want {
			t.Errorf("got %q, %v", got, err)
		}
	})
	t.Run("refused", func(t *testing.T) {
		p := newProxied(t, &Server{})
		p.rawTarget(t, func(c net.Conn, br *bufio.Reader) {
			readHead(br)
			_, _ = io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
		})
		got, err := p.exchangeRaw(t, ask+"GET http://smuggled.example/ HTTP/1.1\r\nHost: s\r\n\r\n")
		if want := "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno"; err != nil || got != want {
			t.Errorf("got %q, %v", got, err)
		}
	})
	t.Run("blocked", func(t *testing.T) {
		p := newProxied(t, &Server{Relay: &relay.Relay{Router: relay.RouterFunc(
			func(context.Context, relay.Request) relay.Decision { return relay.Decision{} })}})
		if got, err := p.exchangeRaw(t, ask); err != nil || !strings.HasPrefix(got, "HTTP/1.1 403 ") {
			t.Errorf("got %q, %v", got, err)
		}
	})
}
