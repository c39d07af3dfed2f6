package masque

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

// An Offer says to whom a [Server] offers datagrams (RFC 9221, RFC 9297 §2.1). A server
// tells that it takes them at the start of a session, before any credential, and an
// ordinary website does not take them. Without them, flows go by capsules.
type Offer byte

const (
	// ToFriends offers them to a session that comes, within a minute, from the address and port
	// of one on which [Prove] was called and a flow was asked for: once for each.
	ToFriends Offer = iota

	// ToAll offers them to everybody, strangers too.
	ToAll
)

const (
	// friendFor is how long a session may come back.
	friendFor = time.Minute

	// maxFriends is how many are remembered; beyond, the next have to do without.
	maxFriends = 1 << 12
)

// friends are the addresses from which a session may come back.
type friends struct {
	mu    sync.Mutex
	until map[string]time.Time // by address and port
}

// expect notes that a session may come from a, and reports whether there was room.
func (f *friends) expect(a net.Addr) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if len(f.until) >= maxFriends {
		for a, until := range f.until {
			if now.After(until) {
				delete(f.until, a)
			}
		}
	}
	if len(f.until) >= maxFriends {
		return false
	}
	if f.until == nil {
		f.until = make(map[string]time.Time)
	}
	f.until[a.String()] = now.Add(friendFor)
	return true
}

// take reports whether a session may come from a, which it then has.
func (f *friends) take(a net.Addr) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	from := a.String()
	until, ok := f.until[from]
	delete(f.until, from)
	return ok && time.Now().Before(until)
}

// A visit is a session that came in.
type visit struct {
	friends   *friends
	remote    net.Addr
	datagrams bool // they were offered

	mu     sync.Mutex
	proven bool
}

type visitKey struct{}

func (s *Server) newVisit(ctx context.Context, c *quic.Conn) context.Context {
	return context.WithValue(ctx, visitKey{}, &visit{friends: &s.friends, remote: c.RemoteAddr(), datagrams: offered(ctx)})
}

// offers knows, while a session begins, whether datagrams were offered to it. To ask the session
// itself would wait for its handshake.
type offers struct{ made sync.Map }

type offeredKey struct{}

// tell puts it into the ctx of the session.
func (o *offers) tell(ctx context.Context, c *quic.ClientInfo) (context.Context, error) {
	if _, yes := o.made.LoadAndDelete(c); yes {
		ctx = context.WithValue(ctx, offeredKey{}, true)
	}
	return ctx, nil
}

func offered(ctx context.Context) bool { return ctx.Value(offeredKey{}) != nil }

// visitOf returns the session of a request, or one of nobody.
func visitOf(ctx context.Context) *visit {
	if v, ok := ctx.Value(visitKey{}).(*visit); ok {
		return v
	}
	return &visit{}
}

// Prove notes that r, which a [Server] received, has shown a good credential.
func Prove(r *http.Request) {
	v := visitOf(r.Context())
	v.mu.Lock()
	defer v.mu.Unlock()
	v.proven = true
}

// promise expects the visitor to come back, and reports whether it may be told so.
func (v *visit) promise() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return !v.datagrams && v.proven && v.friends.expect(v.remote)
}

// sorted is a listener that is given the sessions of another.
type sorted struct {
	addr  net.Addr
	conns chan *quic.Conn
	over  chan struct{}
	once  sync.Once
	err   error // why it is over
}

func newSorted(addr net.Addr) *sorted {
	return &sorted{addr: addr, conns: make(chan *quic.Conn), over: make(chan struct{})}
}

func (l *sorted) Accept(ctx context.Context) (*quic.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.over:
		return nil, l.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *sorted) Addr() net.Addr { return l.addr }

func (l *sorted) Close() error { return nil }

// end has Accept return err from now on.
func (l *sorted) end(err error) {
	l.once.Do(func() {
		l.err = err
		close(l.over)
	})
}

// give hands c over, or refuses it when the server is over.
func (l *sorted) give(c *quic.Conn) {
	select {
	case l.conns <- c:
	case <-l.over:
		_ = c.CloseWithError(0x100, "") // H3_NO_ERROR
	}
}
