package hop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

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
	if _, err := proxy.FromURL(u, &bound{next: nobody{}}); err != nil {
		return chain.Hop{}, fmt.Errorf("hop: scheme %q is not known; write socks5, socks4a, socks4, http, https, h3 or ssh (%w)", u.Scheme, err)
	}
	return chain.Hop{Name: o.Name, Wrap: func(next chain.Dialer) (chain.Dialer, error) {
		return foreign{u, next}, nil
	}}, nil
}

func clone(u *url.URL) *url.URL {
	c := *u
	return &c
}

// nobody dials nothing.
type nobody struct{}

func (nobody) DialContext(context.Context, string, string) (net.Conn, error) {
	return nil, chain.Fail(chain.PhaseDial, fmt.Errorf("not a way to anywhere"))
}

// foreign is a type of package proxy as a hop's dialer.
type foreign struct {
	u    *url.URL
	next chain.Dialer
}

// DialContext makes a dialer for this dial alone: those that know no context are
// bound to ctx by the conn that they get to work with.
func (f foreign) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if network != "tcp" {
		return nil, chain.Fail(chain.PhaseConnect, unsupported(network))
	}
	b := &bound{ctx: ctx, next: f.next}
	d, err := proxy.FromURL(f.u, b)
	if err != nil {
		return nil, err
	}
	if d, ok := d.(proxy.ContextDialer); ok {
		return d.DialContext(ctx, network, addr)
	}
	stop := context.AfterFunc(ctx, b.interrupt)
	conn, err := d.Dial(network, addr)
	if !stop() {
		if conn != nil {
			_ = conn.Close()
		}
		return nil, context.Cause(ctx)
	}
	return conn, err
}

// bound is the way to a hop for one dial, which ends with ctx.
type bound struct {
	ctx  context.Context // of the dial that b lives for
	next chain.Dialer

	mu   sync.Mutex
	conn net.Conn
	over bool
}

func (b *bound) Dial(network, addr string) (net.Conn, error) {
	return b.DialContext(b.ctx, network, addr)
}

func (b *bound) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := b.next.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		_ = conn.Close()
		return nil, context.Cause(b.ctx)
	}
	b.conn = conn
	return conn, nil
}

// interrupt makes reads and writes of the handshake fail.
func (b *bound) interrupt() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
	if b.conn != nil {
		_ = b.conn.SetDeadline(time.Unix(1, 0))
	}
}

func unsupported(network string) error {
	return &net.OpError{Op: "dial", Net: network, Err: errors.ErrUnsupported}
}

// Register makes byway's schemes that golang.org/x/net/proxy lacks known to it, so
// that its FromURL takes them: socks4, socks4a, http, https and h3. It changes a table
// of that package that is not safe for concurrent use: call it once, early in main.
func Register() {
	for _, scheme := range []string{"socks4", "socks4a", "http", "https", "h3"} {
		proxy.RegisterDialerType(scheme, func(u *url.URL, next proxy.Dialer) (proxy.Dialer, error) {
			h, err := FromURL(u, Options{})
			if err != nil {
				return nil, err
			}
			base, ok := next.(chain.Dialer)
			if !ok {
				base = contextless{next}
			}
			return chain.New(base, h)
		})
	}
}

// contextless is a proxy.Dialer that somebody gave as the way to a hop.
type contextless struct{ proxy.Dialer }

func (c contextless) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	return c.Dial(network, addr)
}
