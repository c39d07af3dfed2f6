package relay_test

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

// early is a pending whose client is told yes before the dial.
type early struct {
	pending
	at time.Time // when it was told so
}

func (p *early) Accept() (net.Conn, error) {
	p.at = time.Now()
	return p.pending.Accept()
}

func (p *early) Request() relay.Request {
	q := p.pending.Request()
	q.EarlyReply = true
	return q
}

// carrying dials a conn whose far end is given, in a time, with first data along.
func carrying(takes time.Duration, fail error) (d chain.Dialer, target net.Conn) {
	near, far := testnet.Pipe(0)
	return chain.DialerFunc(func(ctx context.Context, _, _ string) (net.Conn, error) {
		err := chain.FirstDataOf(ctx).Along(near, func() (bool, error) {
			time.Sleep(takes)
			return true, fail
		})
		if err != nil {
			_ = near.Close()
			return nil, err
		}
		return near, nil
	}), far
}

// TestEarlyReply: the client is told yes at once, what it says first goes along, and
// the rest follows.
func TestEarlyReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, target := carrying(time.Second, nil)
		var opened []time.Duration
		var stats relay.Stats
		r := &relay.Relay{Router: to(d), Trace: &relay.Trace{
			Opened: func(_ relay.Request, _ relay.Decision, took time.Duration) { opened = append(opened, took) },
			Closed: func(_ relay.Request, _ relay.Decision, s relay.Stats) { stats = s },
			Failed: func(_ relay.Request, _ relay.Decision, err error) { t.Errorf("failed: %v", err) },
		}}
		client, near := testnet.Pipe(0)
		p := &early{pending: pending{conn: chain.Unread(near, []byte("ahead "))}}
		began := time.Now()
		done := make(chan error, 1)
		go func() { done <- r.Serve(t.Context(), p) }()
		synctest.Wait()
		_, _ = io.WriteString(client, "first ")
		buf := make([]byte, 100)
		synctest.Wait()
		if n, err := target.Read(buf); err != nil || string(buf[:n]) != "ahead first " {
			t.Errorf("before the answer the target read %q, %v", buf[:n], err)
		}
		time.Sleep(2 * time.Second)
		_, _ = io.WriteString(client, "second")
		_ = chain.CloseWrite(client)
		if got, err := io.ReadAll(target); err != nil || string(got) != "second" {
			t.Errorf("then %q, %v", got, err)
		}
		_, _ = io.WriteString(target, "bye")
		_ = target.Close()
		if got, err := io.ReadAll(client); err != nil || string(got) != "bye" {
			t.Errorf("the client read %q, %v", got, err)
		}
		if err := <-done; err != nil || len(opened) != 1 || opened[0] != time.Second || stats.Up != 18 || stats.Down != 3 || !p.at.Equal(began) {
			t.Errorf("error %v, accepted after %v, opened after %v, %+v", err, p.at.Sub(began), opened, stats)
		}
		_ = client.Close()
	})
}

// TestEarlyReplyIdles: the limit on idling holds as ever, though hops have used the
// client's read deadline.
func TestEarlyReplyIdles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, target := carrying(time.Second, nil)
		defer target.Close()
		r := &relay.Relay{Router: to(d), IdleLimit: time.Minute}
		client, near := testnet.Pipe(0)
		defer client.Close()
		began := time.Now()
		err := r.Serve(t.Context(), &early{pending: pending{conn: near}})
		if took := time.Since(began); !errors.Is(err, relay.ErrIdle) || took != time.Minute+time.Second {
			t.Errorf("after %v: %v", took, err)
		}
	})
}

// TestEarlyReplyFails: after the early yes a failure is a reset for the client, never
// an end in good order, and it is told to the trace.
func TestEarlyReplyFails(t *testing.T) {
	for name, said := range map[string]string{"silent client": "", "client that spoke": "hello"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, target := carrying(time.Second, syscall.ECONNREFUSED)
				defer target.Close()
				var failed error
				r := &relay.Relay{Router: to(d), Trace: &relay.Trace{
					Opened: func(relay.Request, relay.Decision, time.Duration) { t.Error("opened") },
					Failed: func(_ relay.Request, _ relay.Decision, err error) { failed = err },
				}}
				client, near := testnet.Pipe(0)
				defer client.Close()
				_, _ = io.WriteString(client, said)
				p := &early{pending: pending{conn: near}}
				err := r.Serve(t.Context(), p)
				if !errors.Is(err, syscall.ECONNREFUSED) || !errors.Is(failed, syscall.ECONNREFUSED) || p.refused != nil || r.Live() != 0 {
					t.Errorf("error %v, failed %v, refused %v, live %d", err, failed, p.refused, r.Live())
				}
				if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("the client sees %v", err)
				}
			})
		})
	}
}

// TestEarlyReplyOfWhatIsRefused: what takes no dial to know is said in so many words.
func TestEarlyReplyOfWhatIsRefused(t *testing.T) {
	closed := &relay.Relay{Router: to(testnet.NoDial(t))}
	_ = closed.Close()
	for want, r := range map[error]*relay.Relay{relay.ErrBlocked: {}, relay.ErrClosed: closed} {
		near, far := testnet.Pipe(0)
		p := &early{pending: pending{conn: near}}
		if err := r.Serve(t.Context(), p); !errors.Is(err, want) || !errors.Is(p.refused, want) || p.accepted {
			t.Errorf("error %v, refused %v, accepted %v", err, p.refused, p.accepted)
		}
		_ = far.Close()
	}
}

// TestShutdownCutsEarlyReply: a tunnel counts from its early yes on.
func TestShutdownCutsEarlyReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &relay.Relay{Router: to(chain.DialerFunc(func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}))}
		client, near := testnet.Pipe(0)
		defer client.Close()
		done := make(chan error, 1)
		go func() { done <- r.Serve(t.Context(), &early{pending: pending{conn: near}}) }()
		synctest.Wait()
		if r.Live() != 1 {
			t.Errorf("%d live", r.Live())
		}
		_ = r.Close()
		if err := <-done; err == nil {
			t.Error("no error")
		}
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the client sees %v", err)
		}
	})
}

// ahead is a pending whose client has spoken without an answer.
type ahead struct {
	early
	said string
}

func (p *ahead) Request() relay.Request { return p.pending.Request() }

func (p *ahead) Ahead() []byte { return []byte(p.said) }

// TestAheadGoesAlong: what the client has said by itself goes along too, without an
// early yes, and comes once.
func TestAheadGoesAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, target := carrying(time.Second, nil)
		r := &relay.Relay{Router: to(d)}
		client, near := testnet.Pipe(0)
		// Its conn has more ahead than it knows of, as one below may have.
		p := &ahead{early{pending: pending{conn: chain.Unread(near, []byte("ahead more "))}}, "ahead "}
		began := time.Now()
		done := make(chan error, 1)
		go func() { done <- r.Serve(t.Context(), p) }()
		synctest.Wait()
		buf := make([]byte, 100)
		if n, err := target.Read(buf); err != nil || string(buf[:n]) != "ahead " {
			t.Errorf("before the answer the target read %q, %v", buf[:n], err)
		}
		_, _ = io.WriteString(client, "rest")
		_ = chain.CloseWrite(client)
		if got, err := io.ReadAll(target); err != nil || string(got) != "more rest" {
			t.Errorf("then %q, %v", got, err)
		}
		_ = target.Close()
		_ = client.Close()
		if err := <-done; err != nil || p.at.Sub(began) != time.Second {
			t.Errorf("error %v, the client was told after %v", err, p.at.Sub(began))
		}
	})
}

// TestAheadIsRefusedExactly: without an early yes the client gets the true answer.
func TestAheadIsRefusedExactly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, target := carrying(time.Second, syscall.EHOSTUNREACH)
		defer target.Close()
		near, client := testnet.Pipe(0)
		defer client.Close()
		p := &ahead{early{pending: pending{conn: chain.Unread(near, []byte("ahead"))}}, "ahead"}
		_ = (&relay.Relay{Router: to(d)}).Serve(t.Context(), p)
		if !errors.Is(p.refused, syscall.EHOSTUNREACH) || p.accepted {
			t.Errorf("refused %v, accepted %v", p.refused, p.accepted)
		}
	})
}
