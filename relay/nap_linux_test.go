package relay_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

// napping opens a tunnel whose client's end is read steadily, in memory, and whose target is a TCP conn.
func (p *parking) napping(addr string) (client net.Conn, target *net.TCPConn) {
	client, near := testnet.Pipe(0)
	far, target := testnet.TCPPair(p.t)
	p.mu.Lock()
	p.targets[addr] = far
	p.mu.Unlock()
	p.serving.Go(func() {
		_ = p.Serve(context.Background(), &named{pending{conn: &forgiving{newSteady(p.t, near)}}, addr})
	})
	p.t.Cleanup(func() {
		_ = client.Close()
		_ = target.Close()
	})
	return client, target
}

// napped waits until n directions rest alone.
func (p *parking) napped(t *testing.T, n int) {
	t.Helper()
	await(t, "a nap", func() bool { return p.Napping() == n })
}

// TestNapEnds: what happens while the target's direction rests is met as if it did not.
func TestNapEnds(t *testing.T) {
	for name, test := range map[string]struct {
		happens func(t *testing.T, p *parking, client net.Conn, target *net.TCPConn)
		want    error
	}{
		"the target speaks": {func(t *testing.T, _ *parking, client net.Conn, target *net.TCPConn) {
			says(t, target, client, "pushed")
			_ = chain.CloseWrite(target)
			_ = chain.CloseWrite(client)
		}, nil},
		"the client speaks": {func(t *testing.T, _ *parking, client net.Conn, target *net.TCPConn) {
			says(t, client, target, "asked")
			says(t, target, client, "answered")
			_ = chain.CloseWrite(client)
			_ = chain.CloseWrite(target)
		}, nil},
		"the target ends first": {func(t *testing.T, _ *parking, client net.Conn, target *net.TCPConn) {
			_ = chain.CloseWrite(target)
			if b, err := io.ReadAll(client); len(b) > 0 || err != nil {
				t.Errorf("the client reads %q, %v", b, err)
			}
			says(t, client, target, "still")
			_ = chain.CloseWrite(client)
		}, nil},
		"the client ends first": {func(t *testing.T, _ *parking, client net.Conn, target *net.TCPConn) {
			_ = chain.CloseWrite(client)
			if b, err := io.ReadAll(target); len(b) > 0 || err != nil {
				t.Errorf("the target reads %q, %v", b, err)
			}
			says(t, target, client, "still")
			_ = chain.CloseWrite(target)
		}, nil},
		"the target resets": {func(_ *testing.T, _ *parking, _ net.Conn, target *net.TCPConn) {
			_ = chain.Abort(target)
		}, syscall.ECONNRESET},
		"the client resets": {func(_ *testing.T, _ *parking, client net.Conn, _ *net.TCPConn) {
			_ = chain.Abort(client)
		}, syscall.ECONNRESET},
		"a kill": {func(_ *testing.T, p *parking, _ net.Conn, _ *net.TCPConn) {
			p.Kill("a:1")
		}, net.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			p := newParking(t, time.Millisecond)
			client, target := p.napping("a:1")
			p.napped(t, 1)
			test.happens(t, p, client, target)
			p.ended(t, "a:1", test.want)
			if n := p.Napping(); n != 0 {
				t.Errorf("%d directions are still known", n)
			}
		})
	}
}

// TestNapAgain: a direction rests after each exchange, and nothing is lost where both meet.
func TestNapAgain(t *testing.T) {
	p := newParking(t, time.Millisecond)
	client, target := p.napping("a:1")
	for i := range 100 {
		switch i % 4 {
		case 0:
			p.napped(t, 1)
		case 1:
			time.Sleep(time.Millisecond) // about to rest
		}
		says(t, target, client, "pushed "+strconv.Itoa(i))
		says(t, client, target, "asked "+strconv.Itoa(i))
	}
	_ = chain.CloseWrite(client)
	_ = chain.CloseWrite(target)
	p.ended(t, "a:1", nil)
}

// TestNapCosts: tunnels of which one end rests have one goroutine each, that of Serve, and no descriptors
// but their own.
func TestNapCosts(t *testing.T) {
	const tunnels = 20
	p := newParking(t, time.Millisecond)
	before := testnet.TakeCensus(t, testnet.Census{})
	for i := range tunnels {
		p.napping(strconv.Itoa(i))
	}
	p.napped(t, tunnels)
	want := testnet.Census{Goroutines: before.Goroutines + tunnels + 1, Files: before.Files + 2*tunnels + 1}
	testnet.CheckCensus(t, want)
}

// TestNapIdleLimit: the limit holds for a tunnel that rests.
func TestNapIdleLimit(t *testing.T) {
	p := newParking(t, time.Millisecond)
	p.SetLimits(relay.Limits{IdleLimit: 50 * time.Millisecond})
	_, target := p.napping("a:1")
	await(t, "the end", func() bool { return len(p.stats("a:1")) == 1 })
	p.ended(t, "a:1", relay.ErrIdle)
	if _, err := target.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the target reads %v", err)
	}
}
