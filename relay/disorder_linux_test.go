package relay_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

// A bench of tests: a relay whose tunnels rest soon, between TCP conns.
type parking struct {
	*relay.Relay
	t       testing.TB
	mu      sync.Mutex
	targets map[string]net.Conn // to be dialled, by address
	closed  map[string][]relay.Stats
	serving sync.WaitGroup
}

func newParking(t testing.TB, rest time.Duration) *parking {
	p := &parking{t: t, targets: make(map[string]net.Conn), closed: make(map[string][]relay.Stats)}
	p.Relay = &relay.Relay{
		Router: to(chain.DialerFunc(func(_ context.Context, _, addr string) (net.Conn, error) {
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.targets[addr], nil
		})),
	}
	closed := func(r relay.Request, _ relay.Decision, s relay.Stats) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.closed[r.Addr] = append(p.closed[r.Addr], s)
	}
	p.Trace = &relay.Trace{
		Closed: closed,
		// Killed while it was being opened.
		Failed: func(r relay.Request, d relay.Decision, err error) { closed(r, d, relay.Stats{Err: err}) },
	}
	p.Rest(rest)
	t.Cleanup(func() {
		_ = p.Close()
		p.serving.Wait()
	})
	return p
}

// open opens a tunnel to addr and returns its two ends.
func (p *parking) open(addr string) (client, target *net.TCPConn) {
	client, near := testnet.TCPPair(p.t)
	far, target := testnet.TCPPair(p.t)
	p.mu.Lock()
	p.targets[addr] = far
	p.mu.Unlock()
	p.serving.Go(func() { _ = p.Serve(context.Background(), &named{pending{conn: near}, addr}) })
	p.t.Cleanup(func() {
		_ = client.Close()
		_ = target.Close()
	})
	return client, target
}

// stats returns the stats of each time that the tunnel to addr was closed.
func (p *parking) stats(addr string) []relay.Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed[addr]
}

type named struct {
	pending
	addr string
}

func (n *named) Request() relay.Request { return relay.Request{Network: "tcp", Addr: n.addr} }

// TestDisorder has tunnels that are parked and woken all the time, by news from
// either end or both at once, by ends, half-closes, resets and kills, without any
// order. Every byte is checked, and every tunnel is closed once.
func TestDisorder(t *testing.T) {
	const crowd = 40
	rounds := 30
	if testing.Short() {
		rounds = 3
	}
	before := testnet.TakeCensus(t, testnet.Census{})
	t.Run("run", func(t *testing.T) {
		p := newParking(t, 100*time.Microsecond)
		var wg sync.WaitGroup
		for i := range crowd {
			wg.Go(func() {
				for k := range rounds {
					p.disorder(fmt.Sprintf("%d.%d", i, k), rand.New(rand.NewPCG(uint64(i), uint64(k))))
				}
			})
		}
		wg.Wait()
		if err := p.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if n := p.Live(); n != 0 {
			t.Errorf("%d tunnels live on", n)
		}
		if len(p.closed) != crowd*rounds {
			t.Errorf("%d tunnels of %d were closed", len(p.closed), crowd*rounds)
		}
		if n := p.Parks(); n < crowd*rounds/10 {
			t.Errorf("only %d parks", n)
		} else {
			t.Logf("%d parks", n)
		}
	})
	testnet.CheckCensus(t, before)
}

// disorder is the life of one tunnel.
func (p *parking) disorder(addr string, r *rand.Rand) {
	client, target := p.open(addr)
	var cut atomic.Bool // from outside: either end may miss something
	var wg sync.WaitGroup
	var sent, got [2]int64
	for i, ends := range [2][2]*net.TCPConn{{client, target}, {target, client}} {
		seed := r.Uint64()
		wg.Go(func() { sent[i] = p.say(ends[0], seed, &cut) })
		wg.Go(func() { got[i] = p.hear(ends[1], seed, &cut) })
	}
	switch r.IntN(6) {
	case 0:
		pause(r, 30)
		cut.Store(true)
		p.Kill(addr)
	case 1:
		pause(r, 30)
		cut.Store(true)
		_ = chain.Abort(client)
	case 2:
		pause(r, 30)
		cut.Store(true)
		_ = chain.Abort(target)
	}
	wg.Wait()
	_ = client.Close()
	_ = target.Close()
	for end := time.Now().Add(10 * time.Second); len(p.stats(addr)) == 0; pause(r, 1) {
		if time.Now().After(end) {
			p.t.Errorf("%s: sent %v, got %v, cut %v: not closed", addr, sent, got, cut.Load())
			return
		}
	}
	s := p.stats(addr)
	if len(s) != 1 {
		p.t.Errorf("%s: closed %d times", addr, len(s))
	}
	if cut.Load() {
		return
	}
	if sent != got || s[0].Up != sent[0] || s[0].Down != sent[1] || s[0].Err != nil {
		p.t.Errorf("%s: sent %v, got %v, %+v", addr, sent, got, s[0])
	}
}

// pause lets up to n milliseconds pass. How many does not matter.
func pause(r *rand.Rand, n int) { time.Sleep(time.Duration(r.Int64N(int64(n) * 1e6))) }

// textOf is the bytes that seed decides.
func textOf(seed uint64) *rand.ChaCha8 {
	var key [32]byte
	binary.NativeEndian.PutUint64(key[:], seed)
	return rand.NewChaCha8(key)
}

// say sends bytes that seed decides in bursts, and then an end.
func (p *parking) say(c *net.TCPConn, seed uint64, cut *atomic.Bool) (sent int64) {
	r, text := rand.New(rand.NewPCG(seed, 0)), textOf(seed)
	bulk := r.IntN(100) // the burst that is one, if there are so many
	for i := range r.IntN(12) {
		b := make([]byte, 1+r.IntN(1+r.IntN(1<<(4+r.IntN(12)))))
		if i == bulk {
			b = make([]byte, 600<<10+r.IntN(1<<10))
		}
		_, _ = text.Read(b)
		n, err := c.Write(b)
		sent += int64(n)
		if err != nil {
			if !cut.Load() {
				p.t.Errorf("say: %v", err)
			}
			return sent
		}
		if r.IntN(3) > 0 {
			pause(r, 6)
		}
	}
	if err := c.CloseWrite(); err != nil && !cut.Load() {
		p.t.Errorf("CloseWrite: %v", err)
	}
	return sent
}

// hear reads what say says, and checks it.
func (p *parking) hear(c *net.TCPConn, seed uint64, cut *atomic.Bool) (got int64) {
	text := textOf(seed)
	buf, want := make([]byte, 8<<10), make([]byte, 8<<10)
	for {
		n, err := c.Read(buf)
		_, _ = text.Read(want[:n])
		if !bytes.Equal(buf[:n], want[:n]) {
			p.t.Errorf("bytes %d to %d are not those sent", got, got+int64(n))
			return got
		}
		got += int64(n)
		if err == io.EOF {
			return got
		}
		if err != nil {
			if !cut.Load() || !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, net.ErrClosed) {
				p.t.Errorf("hear: %v", err)
			}
			return got
		}
	}
}
