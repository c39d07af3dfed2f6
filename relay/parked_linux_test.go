package relay_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
	"github.com/byway-proxy/byway/relay"
)

// await waits for ok, for 10 s at most.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// parked opens a tunnel, and waits until it is parked.
func (p *parking) parked(t *testing.T, addr string) (client, target *net.TCPConn) {
	t.Helper()
	client, target = p.open(addr)
	await(t, "parked", func() bool { return p.Parked() == 1 })
	return client, target
}

// ended waits for the end of the one tunnel to addr, and for its error.
func (p *parking) ended(t *testing.T, addr string, want error) relay.Stats {
	t.Helper()
	await(t, "the end", func() bool { return p.Live() == 0 })
	s := p.stats(addr)
	if len(s) != 1 || !errors.Is(s[0].Err, want) {
		t.Fatalf("closed %+v, want one with %v", s, want)
	}
	return s[0]
}

func says(t *testing.T, from, to net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(from, text); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(to, got); err != nil || string(got) != text {
		t.Fatalf("read %q, %v", got, err)
	}
}

func isReset(t *testing.T, conns ...net.Conn) {
	t.Helper()
	for _, c := range conns {
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("an end of a tunnel that was cut read %v", err)
		}
	}
}

// TestParkedHoldsTwoDescriptors: a parked tunnel costs two descriptors, and no goroutine. All
// tunnels together cost one of each, for as long as one is parked.
func TestParkedHoldsTwoDescriptors(t *testing.T) {
	const tunnels = 20
	p := newParking(t, time.Millisecond)
	before := testnet.TakeCensus(t, testnet.Census{})
	var ends []*net.TCPConn
	for i := range tunnels {
		client, target := p.open(strconv.Itoa(i))
		ends = append(ends, client, target)
	}
	await(t, "parked", func() bool { return p.Parked() == tunnels })
	p.serving.Wait() // Serve came back
	want := testnet.Census{Goroutines: before.Goroutines + 1, Files: before.Files + 4*tunnels + 1}
	now := testnet.TakeCensus(t, want) // goroutines that have nothing left to do may not be gone
	if now != want {
		t.Errorf("before: %+v, with %d parked tunnels and their clients and targets: %+v", before, tunnels, now)
	}
	if n := p.Live(); n != tunnels {
		t.Errorf("%d live", n)
	}
	for i := 0; i < len(ends); i += 2 {
		says(t, ends[i], ends[i+1], "up")
		says(t, ends[i+1], ends[i], "down")
	}
	for _, c := range ends {
		_ = c.Close()
	}
	await(t, "the end", func() bool { return p.Live() == 0 })
	testnet.CheckCensus(t, before)
	for i := range tunnels {
		if s := p.stats(strconv.Itoa(i)); len(s) != 1 || s[0].Up != 2 || s[0].Down != 4 || s[0].Err != nil {
			t.Errorf("%+v", s)
		}
	}
}

// TestParkedHalfClosed parks a tunnel whose client has ended, time and again.
func TestParkedHalfClosed(t *testing.T) {
	p := newParking(t, time.Millisecond)
	client, target := p.parked(t, "t")
	_ = client.CloseWrite()
	if _, err := target.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("the target read %v", err)
	}
	for range 25 {
		await(t, "parked", func() bool { return p.Parked() == 1 })
		says(t, target, client, "more")
	}
	_ = target.Close()
	if s := p.ended(t, "t", nil); s.Down != 100 || s.Up != 0 {
		t.Errorf("%+v", s)
	}
}

// TestParkedBroken has an end that had said all, so that nothing is to be read from it,
// reset its connection.
func TestParkedBroken(t *testing.T) {
	p := newParking(t, time.Millisecond)
	client, target := p.parked(t, "t")
	_ = client.CloseWrite()
	_, _ = target.Read(make([]byte, 1))
	await(t, "parked", func() bool { return p.Parked() == 1 })
	_ = chain.Abort(client)
	p.ended(t, "t", syscall.EPIPE) // as Linux says for a connection that the peer had ended
	await(t, "the target's end", func() bool {
		_, err := target.Write([]byte("x"))
		return err != nil
	})
}

func TestParkedReset(t *testing.T) {
	p := newParking(t, time.Millisecond)
	client, target := p.parked(t, "t")
	_ = chain.Abort(target)
	isReset(t, client)
	p.ended(t, "t", syscall.ECONNRESET)
}

func TestParkedIdleLimit(t *testing.T) {
	p := newParking(t, time.Millisecond)
	p.IdleLimit = 200 * time.Millisecond
	client, target := p.parked(t, "t")
	for range 3 {
		says(t, client, target, "x") // begins the limit anew
		await(t, "parked", func() bool { return p.Parked() == 1 })
	}
	isReset(t, client, target)
	if s := p.ended(t, "t", relay.ErrIdle); s.Up != 3 {
		t.Errorf("%+v", s)
	}
}

func TestParkedIsCut(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for name, cut := range map[string]func(p *parking){
		"kill":     func(p *parking) { p.Kill("t") },
		"close":    func(p *parking) { _ = p.Close() },
		"shutdown": func(p *parking) { _ = p.Shutdown(over) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newParking(t, time.Millisecond)
			client, target := p.parked(t, "t")
			cut(p)
			isReset(t, client, target)
			p.ended(t, "t", net.ErrClosed)
		})
	}
}

// TestShutdownWaitsForParked lets a parked tunnel end by itself.
func TestShutdownWaitsForParked(t *testing.T) {
	p := newParking(t, time.Millisecond)
	client, target := p.parked(t, "t")
	done := make(chan error, 1)
	go func() { done <- p.Shutdown(t.Context()) }()
	says(t, client, target, "last words")
	_ = client.Close()
	_ = target.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	p.ended(t, "t", nil)
}

// TestParkedStarved has no descriptor left when a tunnel has news: they wait.
func TestParkedStarved(t *testing.T) {
	p := newParking(t, time.Millisecond)
	client, target := p.parked(t, "t")
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	low := limit
	low.Cur = 3
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	_, err := io.WriteString(client, strings.Repeat("news", 1000))
	await(t, "taken out", func() bool { return p.Parked() == 0 })
	if _, e := os.Open("/dev/null"); !errors.Is(e, syscall.EMFILE) {
		t.Errorf("there are descriptors left: %v", e)
	}
	if e := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); e != nil || err != nil {
		t.Fatal(e, err)
	}
	got := make([]byte, 4000)
	if _, err := io.ReadFull(target, got); err != nil || string(got) != strings.Repeat("news", 1000) {
		t.Errorf("the target read %v", err)
	}
	_ = client.Close()
	_ = target.Close()
	p.ended(t, "t", nil)
}

// TestParkedConforms runs the suite through tunnels that are parked whenever they may.
func TestParkedConforms(t *testing.T) {
	p := newParking(t, 100*time.Microsecond)
	testnet.TestConn(t, func(t *testing.T) (net.Conn, net.Conn) { return p.open(t.Name()) })
	if p.Parks() == 0 {
		t.Error("none was parked")
	}
}

func TestRestAmong(t *testing.T) {
	for carried, want := range map[int]time.Duration{
		0: time.Second, 64: time.Second, 128: time.Second / 2, 640: 100 * time.Millisecond, 1 << 40: 100 * time.Millisecond,
	} {
		if got := relay.RestAmong(carried); got != want {
			t.Errorf("of %d: %v, want %v", carried, got, want)
		}
	}
}
