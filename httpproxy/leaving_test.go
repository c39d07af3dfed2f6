package httpproxy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

// TestClientGoesAway makes sure that the target is told.
func TestClientGoesAway(t *testing.T) {
	for name, leave := range map[string]func(net.Conn) error{
		"reset": chain.Abort, "close": net.Conn.Close, "half-close": chain.CloseWrite,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, here := testnet.Pipe(0)
				there, target := testnet.Pipe(0)
				s := &Server{Relay: &relay.Relay{Router: direct(chain.DialerFunc(
					func(context.Context, string, string) (net.Conn, error) { return there, nil }))}}
				done := make(chan error, 1)
				go func() { done <- s.ServeConn(t.Context(), here) }()
				_, _ = io.WriteString(client, "GET http://a.example/ HTTP/1.1\r\nHost: a\r\n\r\n")
				readHead(bufio.NewReader(target))
				began := time.Now()
				_ = leave(client)
				_, _ = io.Copy(io.Discard, target)
				if d := time.Since(began); d > 2*deaf || name == "reset" && d > 0 {
					t.Errorf("the target was told after %v", d)
				}
				_ = target.Close()
				if err := <-done; !errors.Is(err, errGone) {
					t.Errorf("error %v", err)
				}
				_ = client.Close()
				_ = s.Close()
			})
		})
	}
}

// TestHalfClosedClientIsServed: a client may end its sending and wait.
func TestHalfClosedClientIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, here := testnet.Pipe(0)
		there, target := testnet.Pipe(0)
		s := &Server{Relay: &relay.Relay{Router: direct(chain.DialerFunc(
			func(context.Context, string, string) (net.Conn, error) { return there, nil }))}}
		go func() { _ = s.ServeConn(t.Context(), here) }()
		_, _ = io.WriteString(client, "GET http://a.example/ HTTP/1.1\r\nHost: a\r\n\r\n")
		_ = chain.CloseWrite(client)
		go func() {
			readHead(bufio.NewReader(target))
			_, _ = io.WriteString(target, "HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\n")
			for range 25 {
				time.Sleep(time.Second)
				_, _ = io.WriteString(target, "x")
			}
			_ = target.Close()
		}()
		got, err := io.ReadAll(client)
		if err != nil || !strings.HasSuffix(string(got), "\r\n\r\n"+strings.Repeat("x", 25)) {
			t.Errorf("got %q, %v", got, err)
		}
		_ = client.Close()
		_ = s.Close()
		synctest.Wait()
	})
}

// TestNoProgress: bodies that stand still are given up at the relay's idle limit.
func TestNoProgress(t *testing.T) {
	for name, raw := range map[string]string{
		"no response":        "GET http://a.example/ HTTP/1.1\r\nHost: a\r\n\r\n",
		"no body":            "POST http://a.example/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab",
		"no upgrade":         "GET http://a.example/ HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
		"half of a response": "GET http://a.example/half HTTP/1.1\r\nHost: a\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, here := testnet.Pipe(0)
				there, target := testnet.Pipe(0)
				s := &Server{Relay: &relay.Relay{IdleLimit: 3 * time.Minute, Router: direct(chain.DialerFunc(
					func(context.Context, string, string) (net.Conn, error) { return there, nil }))}}
				done := make(chan struct{})
				go func() {
					defer close(done)
					_ = s.ServeConn(t.Context(), here)
				}()
				go func() {
					if strings.Contains(readHead(bufio.NewReader(target)), "/half") {
						_, _ = io.WriteString(target, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")
					}
				}()
				began := time.Now()
				_, _ = io.WriteString(client, raw)
				_, _ = io.Copy(io.Discard, target)
				if d := time.Since(began); d != 3*time.Minute {
					t.Errorf("given up after %v", d)
				}
				_ = target.Close()
				_ = client.Close()
				<-done
				_ = s.Close()
			})
		})
	}
}
