package h1_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/byway-proxy/byway/egress/front/h1"
	"github.com/byway-proxy/byway/internal/testnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A server answers what a func says, on conns of memory, one after the other.
type server struct {
	serve func(conn int, c net.Conn, in *bufio.Reader)

	mu    sync.Mutex
	conns int
	run   sync.WaitGroup
}

func (s *server) dial(context.Context) (net.Conn, error) {
	near, far := testnet.Pipe(0)
	s.mu.Lock()
	s.conns++
	n := s.conns
	s.mu.Unlock()
	s.run.Go(func() {
		defer far.Close()
		s.serve(n, far, bufio.NewReader(far))
	})
	return near, nil
}

// dialled returns how many conns there were.
func (s *server) dialled() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns
}

// clientOf returns a client of s, until the test ends.
func clientOf(t testing.TB, s *server) *h1.Client {
	c := &h1.Client{Dial: s.dial, MaxIdle: 4}
	t.Cleanup(func() {
		c.Close()
		s.run.Wait()
	})
	return c
}

// always answers every request on a conn with the same bytes, after its body.
func always(answer string) *server {
	return &server{serve: func(_ int, c net.Conn, in *bufio.Reader) {
		for {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(c, answer)
		}
	}}
}

func request(method, body string) *http.Request {
	var r *http.Request
	if body == "" {
		r, _ = http.NewRequest(method, "http://a.example/", nil)
	} else {
		r, _ = http.NewRequest(method, "http://a.example/", strings.NewReader(body))
	}
	return r
}
