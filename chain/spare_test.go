package chain_test

import (
	"context"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
)

// sparing is a hop that prepares TCP conns to l.
type sparing struct {
	t     *testing.T
	l     net.Listener
	begin chan struct{} // nothing is prepared before it is closed

	mu   sync.Mutex
	near []net.Conn // what was prepared
	far  []net.Conn
	used []net.Conn
}

func (p *sparing) Prepare(ctx context.Context) (net.Conn, error) {
	if chain.FirstDataOf(ctx) != nil {
		p.t.Error("what prepares a spare may send first data")
	}
	<-p.begin
	p.mu.Lock()
	defer p.mu.Unlock()
	near, err := net.Dial("tcp", p.l.Addr().String())
	if err != nil {
		return nil, err
	}
	far, err := p.l.Accept()
	p.near, p.far = append(p.near, near), append(p.far, far)
	return near, err
}

func (p *sparing) DialOver(_ context.Context, conn net.Conn, _, _ string) (net.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used = append(p.used, conn)
	return conn, nil
}

func (p *sparing) DialContext(context.Context, string, string) (net.Conn, error) {
	near, _ := testnet.Pipe(0)
	return near, nil
}

// firstSpare waits until there is one.
func (p *sparing) firstSpare() (near, far net.Conn) {
	for {
		p.mu.Lock()
		if len(p.near) > 0 {
			defer p.mu.Unlock()
			return p.near[0], p.far[0]
		}
		p.mu.Unlock()
		runtime.Gosched()
	}
}

// TestSpareIsLookedAt: a conn of the system's that has ended, was reset, or says
// something unasked is no spare any more.
func TestSpareIsLookedAt(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Quiet knows nothing there")
	}
	for name, meanwhile := range map[string]func(net.Conn){
		"ended":  func(c net.Conn) { _ = chain.CloseWrite(c) },
		"reset":  func(c net.Conn) { _ = chain.Abort(c) },
		"speaks": func(c net.Conn) { _, _ = io.WriteString(c, "?") },
	} {
		t.Run(name, func(t *testing.T) {
			p := &sparing{t: t, l: testnet.Listen(t), begin: make(chan struct{})}
			h := chain.Hop{Name: "h", Wrap: func(chain.Dialer) (chain.Dialer, error) { return p, nil }}
			c := firstChain(t, chain.Spare(h, chain.SpareOptions{Max: 1}))
			ctx := chain.WithFirstData(t.Context(), chain.NewFirstData(nil, []byte("x")))
			dial := func() {
				conn, err := c.DialContext(ctx, "tcp", "target:443")
				if err != nil {
					t.Fatal(err)
				}
				_ = conn.Close()
			}
			dial()
			close(p.begin)
			near, far := p.firstSpare()
			meanwhile(far)
			for chain.Quiet(near) {
				runtime.Gosched()
			}
			dial()
			_ = c.Close()
			for i, far := range p.far {
				_ = far.Close()
				_ = p.near[i].Close()
			}
			for _, used := range p.used {
				if used == near {
					t.Error("it was used")
				}
			}
		})
	}
}
