package hop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"

	"golang.org/x/net/proxy"

	"github.com/byway-proxy/byway/chain"
)

// registered makes a hop of a type that the program registered with
// golang.org/x/net/proxy.
func registered(u *url.URL, o Options) (chain.Hop, error) {
	u = clone(u)
	if o.User != "" {
		u.User = url.UserPassword(o.User, o.Password)
	}
	// Its FromURL says by the way whether it knows the scheme.
	if _, err := proxy.FromURL(u, forward{nobody{}}); err != nil {
		return chain.Hop{}, fmt.Errorf("hop: scheme %q is not known; write socks5, socks4a, socks4, http or https (%w)", u.Scheme, err)
	}
	return chain.Hop{Name: o.Name, Wrap: func(next chain.Dialer) (chain.Dialer, error) {
		d, err := proxy.FromURL(u, forward{next})
		if err != nil {
			return nil, err
		}
		return foreign{d}, nil
	}}, nil
}

func clone(u *url.URL) *url.URL {
	c := *u
	return &c
}

// forward shows a chain's dialer to package proxy. It is a proxy.ContextDialer too.
type forward struct{ chain.Dialer }

func (f forward) Dial(network, addr string) (net.Conn, error) {
	return f.DialContext(context.Background(), network, addr)
}

// nobody dials nothing.
type nobody struct{}

func (nobody) DialContext(context.Context, string, string) (net.Conn, error) {
	return nil, chain.Fail(chain.PhaseDial, fmt.Errorf("not a way to anywhere"))
}

// foreign is a dialer of package proxy as a hop's dialer.
type foreign struct{ proxy.Dialer }

func (f foreign) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if network != "tcp" {
		return nil, chain.Fail(chain.PhaseConnect, unsupported(network))
	}
	if d, ok := f.Dialer.(proxy.ContextDialer); ok {
		return d.DialContext(ctx, network, addr)
	}
	return dialWithout(ctx, f.Dialer, network, addr)
}

// dialWithout gives ctx to a dialer that takes none: when ctx ends first, what
// comes of the dial is closed.
func dialWithout(ctx context.Context, d proxy.Dialer, network, addr string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		conn, err := d.Dial(network, addr)
		done <- result{conn, err}
	}()
	select {
	case r := <-done:
		return r.conn, r.err
	case <-ctx.Done():
		go func() {
			if r := <-done; r.conn != nil {
				_ = r.conn.Close()
			}
		}()
		return nil, context.Cause(ctx)
	}
}

func unsupported(network string) error {
	return &net.OpError{Op: "dial", Net: network, Err: errors.ErrUnsupported}
}

// Register makes byway's schemes that golang.org/x/net/proxy lacks known to it, so
// that its FromURL takes them: socks4, socks4a, http and https. It changes a table
// of that package that is not safe for concurrent use: call it once, early in main.
func Register() {
	for _, scheme := range []string{"socks4", "socks4a", "http", "https"} {
		proxy.RegisterDialerType(scheme, func(u *url.URL, next proxy.Dialer) (proxy.Dialer, error) {
			h, err := FromURL(u, Options{})
			if err != nil {
				return nil, err
			}
			base, ok := next.(chain.Dialer)
			if !ok {
				base = foreign{next}
			}
			return chain.New(base, h)
		})
	}
}
