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

// oracle is a dialer that resolves, and must not be dialled.
type oracle struct {
	chain.Dialer
	resolve func(ctx context.Context, host string) (string, error)
}

func (o oracle) Resolve(ctx context.Context, host string) (string, error) {
	return o.resolve(ctx, host)
}

// TestResolveServer: what a client gets for what the far end says.
func TestResolveServer(t *testing.T) {
	request := func(command byte, addr string) string {
		return hello + "\x05" + string([]byte{command}) + "\x00" + addr
	}
	const name, port = "\x03\x0cname.example", "\x00\x00"
	ok := func(addr string) string { return "\x05\x00\x00" + addr + "\x00\x00" }
	answers := func(s string, err error) func(context.Context, string) (string, error) {
		return func(_ context.Context, host string) (string, error) {
			if host != "name.example" && host != "192.0.2.1" && host != "2001:db8::1" {
				t.Errorf("the far end was asked for %q", host)
			}
			return s, err
		}
	}
	never := func(_ context.Context, host string) (string, error) {
		t.Errorf("the far end was asked for %q", host)
		return "", nil
	}
	six := "\x04\x20\x01\x0d\xb8" + string(make([]byte, 11)) + "\x01"
	for what, test := range map[string]struct {
		input  string
		far    func(context.Context, string) (string, error)
		answer string
	}{
		"a name":            {request(0xF0, name+port), answers("192.0.2.1", nil), ok("\x01\xc0\x00\x02\x01")},
		"a name, any port":  {request(0xF0, name+"\x00\x50"), answers("192.0.2.1", nil), ok("\x01\xc0\x00\x02\x01")},
		"a name of IPv6":    {request(0xF0, name+port), answers("2001:db8::1", nil), ok(six)},
		"an address":        {request(0xF0, "\x01\xc0\x00\x02\x01"+port), never, ok("\x01\xc0\x00\x02\x01")},
		"an address's name": {request(0xF1, "\x01\xc0\x00\x02\x01"+port), answers("name.example.", nil), ok(name)},
		"an IPv6 one's":     {request(0xF1, six+port), answers("name.example", nil), ok(name)},
		"in text":           {request(0xF1, "\x03\x09192.0.2.1"+port), answers("name.example", nil), ok(name)},
		"a name's name":     {request(0xF1, name+port), never, no(1)},
		"a bad name":        {request(0xF0, "\x03\x03a/b"+port), never, no(1)},
		"not known":         {request(0xF0, name+port), answers("", syscall.EHOSTUNREACH), no(4)},
		"not allowed":       {request(0xF0, name+port), answers("", syscall.EACCES), no(2)},
		"not supported":     {request(0xF0, name+port), answers("", errors.ErrUnsupported), no(7)},
		"no address":        {request(0xF0, name+port), answers("other.example", nil), no(1)},
		"nothing":           {request(0xF0, name+port), answers("", nil), no(1)},
		"no name":           {request(0xF1, "\x01\xc0\x00\x02\x01"+port), answers("192.0.2.7", nil), no(1)},
		"an evil name":      {request(0xF1, "\x01\xc0\x00\x02\x01"+port), answers("a\x00b", nil), no(1)},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := testnet.Pipe(0)
				s := &Server{Relay: via(oracle{testnet.NoDial(t), test.far})}
				_, err := client.Write([]byte(test.input))
				must(t, err)
				done := make(chan struct{})
				go func() {
					defer close(done)
					_ = s.ServeConn(t.Context(), server)
				}()
				if got, err := io.ReadAll(client); string(got) != "\x05\x00"+test.answer || err != nil {
					t.Errorf("answered %q, %v; want %q", got, err, test.answer)
				}
				must(t, client.Close())
				<-done
				if n := s.Relay.Live(); n != 0 {
					t.Errorf("%d live", n)
				}
			})
		})
	}
}

// TestResolveLimit: a far end that does not answer is given up, and told to the trace.
func TestResolveLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failed error
		client, server := testnet.Pipe(0)
		r := via(oracle{testnet.NoDial(t), func(ctx context.Context, _ string) (string, error) {
			if chain.IdentityOf(ctx).Target != "name.example:1" {
				t.Errorf("for %+v", chain.IdentityOf(ctx))
			}
			<-ctx.Done()
			return "", ctx.Err()
		}})
		r.DialLimit = 7 * time.Second
		r.Trace = &relay.Trace{Failed: func(_ relay.Request, _ relay.Decision, err error) { failed = err }}
		began := time.Now()
		go func() { _ = (&Server{Relay: r}).ServeConn(t.Context(), server) }()
		_, err := client.Write([]byte(hello + "\x05\xf0\x00\x03\x0cname.example\x00\x00"))
		must(t, err)
		if got, err := io.ReadAll(client); string(got) != "\x05\x00"+no(6) || err != nil || time.Since(began) != 7*time.Second {
			t.Errorf("answered %q, %v after %v", got, err, time.Since(began))
		}
		if !errors.Is(failed, context.DeadlineExceeded) {
			t.Errorf("the trace was told %v", failed)
		}
		must(t, client.Close())
	})
}

// TestResolveHop goes from hop to server, through two of them.
func TestResolveHop(t *testing.T) {
	n := testnet.New()
	far := oracle{testnet.NoDial(t), func(_ context.Context, host string) (string, error) {
		return map[string]string{"name.example": "192.0.2.1", "six.example": "2001:db8::1", "192.0.2.1": "name.example", "2001:db8::1": "six.example"}[host], nil
	}}
	listen(t, n, "192.0.2.11", ":1080", serving(t, &Server{Relay: via(n.Host("192.0.2.11"))}))
	listen(t, n, "192.0.2.12", ":1080", serving(t, &Server{Relay: via(far), Users: users(t, map[string]string{"ann": "secret"})}))
	for _, p := range []Pipeline{Auto, On, Off} {
		c := newChain(t, n.Host("192.0.2.1"), Hop5("192.0.2.11:1080", HopOptions{Pipeline: p}),
			Hop5("192.0.2.12:1080", HopOptions{Pipeline: p, User: "ann", Password: "secret"}))
		for host, want := range map[string]string{
			"name.example": "192.0.2.1", "six.example": "2001:db8::1", "192.0.2.1": "name.example", "2001:db8::1": "six.example",
		} {
			if got, err := c.Resolve(t.Context(), host); got != want || err != nil {
				t.Errorf("%s: %q, %v", host, got, err)
			}
		}
		if got, err := c.Resolve(t.Context(), "none.example"); err == nil {
			t.Errorf("none.example: %q", got)
		}
	}
}

// TestResolveHungUp: dante ends the conn in place of a reply. That is taken for no
// knowledge of the command, for a minute; what breaks earlier is not.
func TestResolveHungUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New()
		says := "\x05\x00"
		asked := listen(t, n, "hop", ":1080", func(c net.Conn) {
			_, _ = io.WriteString(c, says)
			_, _ = io.ReadFull(c, make([]byte, len(hello)+len("\x05\xf0\x00\x03\x0cname.example\x00\x00")))
			_ = c.Close()
		})
		c := newChain(t, n.Host("here"), Hop5("hop:1080", HopOptions{Pipeline: On}))
		for _, wait := range []time.Duration{0, 30 * time.Second, 40 * time.Second} {
			time.Sleep(wait)
			_, err := c.Resolve(t.Context(), "name.example")
			wantFailure(t, nil, err, chain.PhaseConnect, errors.ErrUnsupported)
		}
		if got := asked.Load(); got != 2 {
			t.Errorf("asked %d times", got)
		}
		time.Sleep(2 * time.Minute)
		says = ""
		_, err := c.Resolve(t.Context(), "name.example")
		wantFailure(t, nil, err, chain.PhaseAuth, syscall.ECONNRESET)
	})
}

// TestResolveIsLearnt: a hop that does not know the command is asked again an hour later.
func TestResolveIsLearnt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New()
		asked := listen(t, n, "hop", ":1080", func(c net.Conn) {
			_, _ = c.Write([]byte("\x05\x00" + no(7)))
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
		})
		c := newChain(t, n.Host("here"), Hop5("hop:1080", HopOptions{}))
		for want, wait := range []time.Duration{0, time.Minute, time.Hour} {
			time.Sleep(wait)
			_, err := c.Resolve(t.Context(), "name.example")
			wantFailure(t, nil, err, chain.PhaseConnect, errors.ErrUnsupported)
			if got := asked.Load(); int(got) != max(want, 1) {
				t.Errorf("asked %d times after %v", got, wait)
			}
		}
		_, err := c.Resolve(t.Context(), "a/b")
		wantFailure(t, nil, err, chain.PhaseConnect, errName)
	})
}
