package httpproxy

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

// alone2 is a client on HTTP/2 in a bubble, and the target that its requests go to.
func alone2(t *testing.T, s *Server) (r *raw2, target net.Conn, end func()) {
	client, here := testnet.Pipe(0)
	there, target := testnet.Pipe(0)
	s.Relay = &relay.Relay{IdleLimit: 3 * time.Minute, Router: direct(chain.DialerFunc(
		func(context.Context, string, string) (net.Conn, error) { return there, nil }))}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.ServeConn(t.Context(), here)
	}()
	return newRaw2(t, client), target, func() {
		_ = target.Close()
		_ = client.Close()
		<-done
		_ = s.Close()
	}
}

// TestNoProgress2: what stands still is given up at the relay's idle limit.
func TestNoProgress2(t *testing.T) {
	for name, lines := range map[string][]string{
		"no response": get2("/"), "no body": append([]string{":method PUT"}, get2("/")[1:]...), "half of a response": get2("/half"),
		"a client that does not read": get2("/flood"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, target, end := alone2(t, &Server{})
				defer end()
				go func() {
					switch head := readHead(bufio.NewReader(target)); {
					case strings.Contains(head, "/half"):
						_, _ = io.WriteString(target, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")
					case strings.Contains(head, "/flood"):
						_, _ = io.WriteString(target, "HTTP/1.1 200 OK\r\n\r\n"+strings.Repeat("x", 1<<20))
					}
				}()
				began := time.Now()
				stream := r.send(name != "no body", lines...)
				var f http2.Frame
				for f == nil || f.Header().StreamID != stream || f.Header().Type == http2.FrameData || f.Header().Type == http2.FrameHeaders && time.Since(began) == 0 {
					var err error
					if f, err = r.ReadFrame(); err != nil {
						t.Fatal(err)
					}
					if s, ok := f.(*http2.SettingsFrame); ok && !s.IsAck() {
						_ = r.WriteSettingsAck()
					}
				}
				if d := time.Since(began); d != 3*time.Minute {
					t.Errorf("%v after %v", f, d)
				}
			})
		})
	}
}

// TestClientGoesAway2 makes sure that the target is told at once.
func TestClientGoesAway2(t *testing.T) {
	for name, leave := range map[string]func(r *raw2){
		"reset": func(r *raw2) { _ = r.WriteRSTStream(1, http2.ErrCodeCancel) },
		"close": func(r *raw2) { _ = r.conn.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, target, end := alone2(t, &Server{})
				defer end()
				go func() { _, _ = io.Copy(io.Discard, r.conn) }()
				r.send(true, get2("/")...)
				readHead(bufio.NewReader(target))
				began := time.Now()
				leave(r)
				_, _ = io.Copy(io.Discard, target)
				if d := time.Since(began); d != 0 {
					t.Errorf("the target was told after %v", d)
				}
			})
		})
	}
}
