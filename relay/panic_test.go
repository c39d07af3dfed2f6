package relay_test

import (
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

// faulty is a conn with a fault in what is named.
type faulty struct {
	net.Conn
	in string
}

func (f faulty) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	if f.in == "Read" {
		_ = p[:n][n+len(p)] // out of range
	}
	return n, err
}

func (f faulty) Write(p []byte) (int, error) {
	if f.in == "Write" {
		panic("secret.example:443")
	}
	return f.Conn.Write(p)
}

func (f faulty) CloseWrite() error {
	if f.in == "CloseWrite" {
		panic(errors.New("secret.example:443"))
	}
	return chain.CloseWrite(f.Conn)
}

func (f faulty) Abort() error { return chain.Abort(f.Conn) }

// faultyPending panics when it is told yes, or no.
type faultyPending struct {
	pending
	in string
}

func (f *faultyPending) Accept() (net.Conn, error) {
	if f.in == "Accept" {
		panic("no")
	}
	return f.pending.Accept()
}

func (f *faultyPending) Reject(err error) error {
	if f.in == "Reject" {
		panic("no")
	}
	return f.pending.Reject(err)
}

// TestPanic has everything that a tunnel goes through panic: that tunnel ends with an
// error of what happened, its ends do not look as if they had ended in good order, and nothing
// of it remains in the register.
func TestPanic(t *testing.T) {
	const (
		refused = iota // the client is told so
		cut            // both ends are
		handed         // to the caller goes the panic, and to close the client's end
	)
	for in, outcome := range map[string]int{
		"Route": refused, "Ask": refused, "Dial": refused,
		"client Read": cut, "client Write": cut, "client CloseWrite": cut,
		"Read": cut, "Write": cut, "CloseWrite": cut,
		"Accept": handed, "Reject": handed, "Opened": handed,
	} {
		for _, early := range []bool{false, true} {
			if early && in == "Reject" {
				continue // nobody is left to be told
			}
			t.Run(in, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newScene(in)
					defer s.close()
					err, panicked := s.serve(t.Context(), early)
					var fault *chain.PanicError
					switch {
					case panicked != (outcome == handed):
						t.Errorf("panicked: %v; %v", panicked, err)
					case panicked:
						_ = s.near.Close()
					case !errors.As(err, &fault) || !strings.Contains(string(fault.Stack), "panic_test.go") || strings.Contains(err.Error(), "secret"):
						t.Errorf("error %v", err)
					case strings.Contains(err.Error(), "out of range") != strings.HasSuffix(in, "Read"):
						t.Errorf("the cause: %v", err)
					}
					if n := s.relay.Live(); n != 0 {
						t.Errorf("%d tunnels are left", n)
					}
					if s.told != "opened closed " && s.told != "failed " {
						t.Errorf("the trace was told: %s", s.told)
					}
					if outcome == refused && !early && s.refused == nil {
						t.Error("the client was told nothing")
					}
					if outcome == cut {
						_, up := io.ReadAll(s.target)
						if _, down := io.ReadAll(s.client); up == nil || down == nil {
							t.Errorf("the ends: %v, %v", up, down)
						}
					}
				})
			})
		}
	}
}

// A scene is a relay with a tunnel in which something panics.
type scene struct {
	faultyPending
	relay                     *relay.Relay
	client, near, far, target net.Conn
	told                      string
}

func newScene(in string) *scene {
	s := &scene{}
	s.client, s.near = testnet.Pipe(0)
	s.far, s.target = testnet.Pipe(0)
	conn, far := s.near, s.far
	if what, ok := strings.CutPrefix(in, "client "); ok {
		conn = faulty{conn, what}
	} else {
		far = faulty{far, in}
	}
	s.faultyPending = faultyPending{pending{conn: conn}, in}
	s.relay = &relay.Relay{Router: s.router(in, far), Trace: &relay.Trace{
		Opened: func(relay.Request, relay.Decision, time.Duration) {
			s.told += "opened "
			if in == "Opened" {
				panic("no")
			}
		},
		Failed: func(relay.Request, relay.Decision, error) { s.told += "failed " },
		Closed: func(relay.Request, relay.Decision, relay.Stats) { s.told += "closed " },
	}}
	return s
}

func (s *scene) router(in string, far net.Conn) relay.Router {
	d := relay.Decision{Dialer: chain.DialerFunc(func(context.Context, string, string) (net.Conn, error) {
		switch in {
		case "Dial":
			panic("secret.example:443")
		case "Reject":
			return nil, io.EOF
		}
		return far, nil
	})}
	return relay.RouterFunc(func(context.Context, relay.Request) relay.Decision {
		switch in {
		case "Route":
			panic("secret.example:443")
		case "Ask":
			d.Ask = func(context.Context) relay.Decision { panic("secret.example:443") }
		}
		return d
	})
}

// serve has both ends speak, and end once they have heard.
func (s *scene) serve(ctx context.Context, early bool) (err error, panicked bool) {
	for _, c := range []net.Conn{s.client, s.target} {
		go func() {
			_, _ = io.WriteString(c, "word")
			_, _ = io.ReadFull(c, make([]byte, 4))
			_ = chain.CloseWrite(c)
		}()
	}
	defer func() { panicked = recover() != nil }()
	p := relay.Pending(s)
	if early {
		p = earlyPending{p}
	}
	return s.relay.Serve(ctx, p), false
}

func (s *scene) close() {
	for _, c := range []net.Conn{s.client, s.near, s.far, s.target} {
		_ = c.Close()
	}
}

// earlyPending is told yes before the dial.
type earlyPending struct{ relay.Pending }

func (e earlyPending) Request() relay.Request {
	q := e.Pending.Request()
	q.EarlyReply = true
	return q
}

// TestFlowPanic: a flow of datagrams ends likewise.
func TestFlowPanic(t *testing.T) {
	for _, in := range []string{"Read", "Write"} {
		synctest.Test(t, func(t *testing.T) {
			client, near := testnet.DatagramPipe(0)
			far, target := testnet.DatagramPipe(0)
			defer client.Close()
			defer target.Close()
			_, _ = client.Write([]byte("up"))
			_, _ = target.Write([]byte("down"))
			var fault *chain.PanicError
			if _, _, err := relay.CopyDatagrams(near, faulty{far, in}, time.Minute); !errors.As(err, &fault) {
				t.Errorf("%s: %v", in, err)
			}
		})
	}
}
