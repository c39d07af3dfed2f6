package local

import (
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/socks"
)

// TestExitProcessKilled is TestExitKilled over the kernel's TCP: the first of two exits, each a process
// of its own, is killed under the load of 16 clients. A live tunnel fails at one request at most, and of the
// tunnels that are opened a second later none fails, nor is any refused.
func TestExitProcessKilled(t *testing.T) {
	far := testnet.Listen(t)
	go testnet.Echo(far)
	a, process, _ := startAlone(t)
	b, _, _ := startAlone(t)
	s, err := New(parse(t, fmt.Sprintf(`
[[listen]]
address = "127.0.0.1:0"
[[hop]]
name = "a"
url = "socks5://%s"
[[hop]]
name = "b"
url = "socks5://%s"
[[group]]
name = "exits"
members = ["a", "b"]
[[chain]]
name = "c"
hops = ["exits"]
[[route]]
to = "c"
`, a, b)), testnet.Only(t, &net.Dialer{}, a, b), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	at := started(t, s)
	c, err := chain.New(testnet.Only(t, &net.Dialer{}, at), socks.Hop5(at, socks.HopOptions{Pipeline: socks.On}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	k := &killing{dialer: c, target: far.Addr().String(), killed: make(chan struct{}), later: make(chan struct{})}
	var clients sync.WaitGroup
	var ready sync.WaitGroup
	for range 16 {
		ready.Add(1)
		clients.Go(func() { k.client(t, ready.Done) })
	}
	ready.Wait() // each has a tunnel by a, and leaves it open
	if err := process.Kill(); err != nil {
		t.Fatal(err)
	}
	_, _ = process.Wait()
	close(k.killed)
	time.Sleep(time.Second) // which is the limit that is tested
	close(k.later)
	clients.Wait()
	if k.cut == 0 {
		t.Error("no tunnel went by the exit that was killed")
	}
	t.Logf("%d of 16 live tunnels were cut; %d tunnels failed or were refused within the second", k.cut, k.meanwhile)
}

// A killing is what clients see of an exit's end.
type killing struct {
	dialer        chain.Dialer
	target        string
	killed, later chan struct{} // closed when the exit is, and a second after that

	mu             sync.Mutex
	cut, meanwhile int
}

// client has a tunnel when the exit is killed, opens others until a second later, and some more then.
func (k *killing) client(t *testing.T, ready func()) {
	tunnel, err := k.request(t, nil)
	ready()
	if err != nil {
		t.Errorf("before the kill: %v", err)
		return
	}
	<-k.killed
	if _, err = k.request(t, tunnel); err != nil {
		k.mu.Lock()
		k.cut++
		k.mu.Unlock()
	}
	for over := false; !over; {
		select {
		case <-k.later:
			over = true
		case <-time.After(20 * time.Millisecond): // one after the other, and not as many as there are ports
			if _, err := k.request(t, nil); err != nil {
				k.mu.Lock()
				k.meanwhile++
				k.mu.Unlock()
			}
		}
	}
	for range 10 {
		if _, err := k.request(t, nil); err != nil {
			t.Errorf("a second after the kill: %v", err)
		}
	}
}

// request makes one on a tunnel, or on a new one, which it closes unless the exit lives.
func (k *killing) request(t *testing.T, tunnel net.Conn) (net.Conn, error) {
	if tunnel == nil {
		var err error
		if tunnel, err = k.dialer.DialContext(t.Context(), "tcp", k.target); err != nil {
			return nil, err
		}
	}
	_ = tunnel.(interface{ SetLinger(sec int) error }).SetLinger(0) // no port waits for its time
	err := askEcho(tunnel)
	select {
	case <-k.killed:
		_ = tunnel.Close()
	default:
	}
	return tunnel, err
}
