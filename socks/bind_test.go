package socks

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

// A waiter is a far end at which one connection may come in, at 192.0.2.7:4000. It
// must not be dialled.
type waiter struct {
	chain.Dialer
	t    *testing.T
	want string
	come func(ctx context.Context) (net.Conn, string, error)
}

func (w waiter) Await(ctx context.Context, addr string, announce func(string) error) (net.Conn, string, error) {
	if addr != w.want {
		w.t.Errorf("asked to wait for %s, want %s", addr, w.want)
	}
	if err := announce("192.0.2.7:4000"); err != nil {
		return nil, "", err
	}
	return w.come(ctx)
}

// TestBind goes from hop to server, and from there to whoever comes.
func TestBind(t *testing.T) {
	for _, hops := range []int{1, 2} {
		n := testnet.New()
		peer := make(chan net.Conn, 1)
		far := waiter{testnet.NoDial(t), t, "192.0.2.99:0", func(context.Context) (net.Conn, string, error) {
			near, far := testnet.Pipe(0)
			peer <- far
			return near, "192.0.2.99:20", nil
		}}
		listen(t, n, "192.0.2.11", ":1080", serving(t, &Server{Relay: via(far)}))
		through := []chain.Hop{Hop5("192.0.2.11:1080", HopOptions{})}
		if hops == 2 {
			listen(t, n, "192.0.2.10", ":1080", serving(t, &Server{Relay: via(n.Host("192.0.2.10"))}))
			through = append([]chain.Hop{Hop5("192.0.2.10:1080", HopOptions{})}, through...)
		}
		c := newChain(t, n.Host("192.0.2.1"), through...)
		var at string
		conn, from, err := c.Await(t.Context(), "192.0.2.99:0", func(a string) error { at = a; return nil })
		must(t, err)
		if at != "192.0.2.7:4000" || from != "192.0.2.99:20" {
			t.Errorf("announced %s, from %s", at, from)
		}
		go echo(<-peer)
		pingPong(t, conn)
	}
}

// TestBind4 has a SOCKS4 server of a few lines.
func TestBind4(t *testing.T) {
	n := testnet.New()
	listen(t, n, "hop", ":1080", func(c net.Conn) {
		request := make([]byte, 8+3+1)
		if _, err := io.ReadFull(c, request); err != nil || string(request) != "\x04\x02\x00\x14\xc0\x00\x02\x63ann\x00" {
			t.Errorf("asked %q, %v", request, err)
		}
		_, _ = io.WriteString(c, "\x00\x5a\x0f\xa0\xc0\x00\x02\x07")
		_, _ = io.WriteString(c, "\x00\x5a\x00\x14\xc0\x00\x02\x63")
		echo(c)
	})
	c := newChain(t, n.Host("here"), Hop4a("hop:1080", HopOptions{User: "ann"}))
	var at string
	conn, from, err := c.Await(t.Context(), "192.0.2.99:20", func(a string) error { at = a; return nil })
	must(t, err)
	if at != "192.0.2.7:4000" || from != "192.0.2.99:20" {
		t.Errorf("announced %s, from %s", at, from)
	}
	pingPong(t, conn)
	_, _, err = c.Await(t.Context(), "[2001:db8::1]:20", nil)
	wantFailure(t, nil, err, chain.PhaseConnect, syscall.EAFNOSUPPORT)
}

// TestBindErrors: what a hop may say in its two replies.
func TestBindErrors(t *testing.T) {
	const bound = "\x05\x00\x00\x01\xc0\x00\x02\x07\x0f\xa0"
	stop := errors.New("stop")
	for name, test := range map[string]struct {
		says      string
		announced string
		fails     error
		want      error
	}{
		"no such command": {no(7), "", nil, badCommand},
		"no port":         {"\x05\x00\x00\x01\xc0\x00\x02\x07\x00\x00", "", nil, errBound},
		"nobody came":     {bound + no(6), "192.0.2.7:4000", nil, expired},
		"hangs up":        {bound, "192.0.2.7:4000", nil, io.ErrUnexpectedEOF},
		"no address":      {"\x05\x00\x00\x01\x00\x00\x00\x00\x0f\xa0" + no(6), "hop:4000", nil, expired},
		"given up by us":  {bound, "192.0.2.7:4000", stop, stop},
	} {
		c := &scripted{segments: segments([]byte("\x05\x00"+test.says), nil)}
		var at string
		_, _, err := newChain(t, always(c), Hop5("hop:1080", HopOptions{})).Await(t.Context(), "192.0.2.99:20", func(a string) error { at = a; return test.fails })
		wantFailure(t, nil, err, chain.PhaseConnect, test.want)
		if at != test.announced || !c.closed.Load() {
			t.Errorf("%s: announced %q, closed: %t", name, at, c.closed.Load())
		}
	}
}

// TestBindRefused: neither the system's dialer nor one that can't wait opens a port.
func TestBindRefused(t *testing.T) {
	for name, d := range map[string]chain.Dialer{
		"direct": &net.Dialer{}, "silent": testnet.NoDial(t), "a chain of another kind": newChain(t, testnet.NoDial(t), chain.Hop{
			Name: "a", Wrap: func(chain.Dialer) (chain.Dialer, error) { return testnet.NoDial(t), nil },
		}),
	} {
		client, server := testnet.Pipe(0)
		_, err := client.Write([]byte(hello + "\x05\x02\x00\x01\xc0\x00\x02\x63\x00\x14"))
		must(t, err)
		go func() { _ = (&Server{Relay: via(d)}).ServeConn(t.Context(), server) }()
		if got, err := io.ReadAll(client); string(got) != "\x05\x00"+no(7) || err != nil {
			t.Errorf("%s: answered %q, %v", name, got, err)
		}
		must(t, client.Close())
	}
}

// TestBindWaits: the port is announced at once, and nobody coming is told in the
// second answer, when the relay's limit has passed.
func TestBindWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := testnet.Pipe(0)
		r := via(waiter{testnet.NoDial(t), t, "0.0.0.0:0", func(ctx context.Context) (net.Conn, string, error) {
			<-ctx.Done()
			return nil, "", ctx.Err()
		}})
		var failed error
		r.Trace = &relay.Trace{Failed: func(_ relay.Request, d relay.Decision, err error) {
			if failed = err; d.Via != "test" {
				t.Errorf("via %q", d.Via)
			}
		}}
		r.DialLimit = 40 * time.Second
		go func() { _ = (&Server{Relay: r}).ServeConn(t.Context(), server) }()
		_, err := client.Write([]byte(hello + "\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00"))
		must(t, err)
		began := time.Now()
		first := make([]byte, 2+10)
		if _, err := io.ReadFull(client, first); err != nil || string(first) != "\x05\x00\x05\x00\x00\x01\xc0\x00\x02\x07\x0f\xa0" || time.Since(began) != 0 {
			t.Errorf("answered %q, %v after %v", first, err, time.Since(began))
		}
		if got, err := io.ReadAll(client); string(got) != no(6) || err != nil || time.Since(began) != 40*time.Second {
			t.Errorf("then %q, %v after %v", got, err, time.Since(began))
		}
		if !errors.Is(failed, context.DeadlineExceeded) {
			t.Errorf("the trace was told %v", failed)
		}
		must(t, client.Close())
	})
}

// TestBindForTarget waits for the target that the address of the request stands for, and in the
// form that the rules were asked about.
func TestBindForTarget(t *testing.T) {
	for want, d := range map[string]relay.Decision{
		"name.example:0": {Target: "name.example:9"},
		"192.0.2.9:0":    {Target: "name.example:9", Addr: "192.0.2.9:9"},
	} {
		n := testnet.New()
		d.Dialer = waiter{testnet.NoDial(t), t, want, func(context.Context) (net.Conn, string, error) { return nil, "", io.ErrUnexpectedEOF }}
		r := &relay.Relay{Router: relay.RouterFunc(func(context.Context, relay.Request) relay.Decision { return d })}
		listen(t, n, "hop", ":1080", serving(t, &Server{Relay: r}))
		c := newChain(t, n.Host("here"), Hop5("hop:1080", HopOptions{}))
		said := false
		if _, _, err := c.Await(t.Context(), "198.18.0.1:0", func(string) error { said = true; return nil }); err == nil || !said {
			t.Errorf("%s: %v, announced: %v", want, err, said)
		}
	}
}
