//go:build peers

package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/byway-proxy/byway/internal/netlab"
	"github.com/byway-proxy/byway/internal/testnet"
)

var (
	rounds = flag.Int("rounds", 5, "how often each contender is measured")
	idle   = flag.Int("idle", 3000, "how many idle tunnels")
)

const (
	bulkTime  = 300 * time.Millisecond
	churnTime = 500 * time.Millisecond
	settle    = 150 * time.Millisecond // for a proxy to end what a load began
	openTime  = 3 * time.Second        // of the idle tunnels
	idleTime  = 5 * time.Second
)

// running is a contender that has been started.
type running struct {
	contender
	procs []*exec.Cmd
	way   way
}

var workColumns = []Column{
	{"down Gbit/s", false},
	{"up Gbit/s", false},
	{"cpu s/GB", true},
	{"tunnels/s", false},
	{"p50 ms", true},
	{"p99 ms", true},
	{"cpu µs a tunnel", true},
	{"KiB idle", true},
	{"fds idle", true},
}

// TestPeersPlain measures one SOCKS5 listener that goes direct.
func TestPeersPlain(t *testing.T) { measure(t, "One SOCKS5 listener that goes direct", plain) }

// TestPeersTLS measures a SOCKS5 listener, a TLS hop and its far end, both ends together.
func TestPeersTLS(t *testing.T) {
	measure(t, "A SOCKS5 listener and a TLS hop, both ends", tunnels)
}

func measure(t *testing.T, title string, all []contender) {
	tab := &Table{Title: title, Columns: workColumns}
	dialer := &net.Dialer{}
	tab.Row("no proxy", Reference)
	runs := []running{{contender: contender{name: "no proxy"}, way: way{dialer.DialContext, "", newOrigin(t, listen(t))}}}
	for _, c := range all {
		path := c.path(t, tab)
		if path == "" {
			continue
		}
		addr := testnet.Reserved(t)
		// An origin of its own: ports are not used up by the others.
		r := running{contender: c, way: way{dialer.DialContext, addr, newOrigin(t, listen(t))}}
		for _, argv := range c.setUp(t, path, addr) {
			r.procs = append(r.procs, start(t, argv))
		}
		listening(t, func() (net.Conn, error) { return dialer.Dial("tcp", addr) }, c.name)
		tab.Row(c.name, c.kind)
		t.Logf("%s: idle tunnels", c.name)
		r.idle(t, tab)
		runs = append(runs, r)
	}
	for i := range *rounds {
		t.Logf("round %d of %d", i+1, *rounds)
		for _, r := range runs {
			r.round(t, tab)
		}
	}
	fmt.Println(tab)
}

// idle measures tunnels in which nothing moves, of a process that has done nothing else.
func (r running) idle(t testing.TB, tab *Table) {
	// The far end may come up later than the listener.
	listening(t, func() (net.Conn, error) { c, _, err := r.way.exchange(); return c, err }, r.name+"'s tunnel")
	time.Sleep(settle)
	before := used(t, r.procs)
	held, err := r.way.hold(*idle, openTime)
	if err != nil {
		tab.Note("%s failed to open some of the idle tunnels: %v.", r.name, reason(err))
	}
	if len(held) < *idle {
		tab.Note("%s had %d idle tunnels, not %d: no more could be opened in %v.", r.name, len(held), *idle, openTime)
	}
	time.Sleep(idleTime)
	after := used(t, r.procs)
	for _, c := range held {
		_ = c.Close()
	}
	if n := float64(len(held)); n > 0 {
		tab.Put(r.name, "KiB idle", (after.kib-before.kib)/n)
		tab.Put(r.name, "fds idle", float64(after.fds-before.fds)/n)
	}
	time.Sleep(settle)
}

func (r running) round(t testing.TB, tab *Table) {
	var moved int64
	var cost time.Duration
	for _, d := range []struct {
		direction byte
		column    string
	}{{down, "down Gbit/s"}, {up, "up Gbit/s"}} {
		var from, to usage
		n, took, err := r.way.bulk(d.direction, bulkTime, func() { from = used(t, r.procs) }, func() { to = used(t, r.procs) })
		if err != nil {
			tab.Note("%s, %s: %v.", r.name, d.column, err)
			return
		}
		tab.Put(r.name, d.column, float64(n)*8/1e9/took.Seconds())
		moved, cost = moved+n, cost+to.cpu-from.cpu
	}
	time.Sleep(settle)
	before := used(t, r.procs)
	began := time.Now()
	opened, failed, err := r.way.churn(churnTime)
	took := time.Since(began)
	time.Sleep(settle)
	after := used(t, r.procs)
	if failed > 0 {
		tab.Note("%s failed to open some tunnels: %v.", r.name, reason(err))
	}
	if len(opened) == 0 {
		return
	}
	tab.Put(r.name, "tunnels/s", float64(len(opened))/took.Seconds())
	tab.Put(r.name, "p50 ms", ms(opened[len(opened)/2]))
	tab.Put(r.name, "p99 ms", ms(opened[len(opened)*99/100]))
	if len(r.procs) > 0 {
		tab.Put(r.name, "cpu s/GB", cost.Seconds()/float64(moved)*1e9)
		tab.Put(r.name, "cpu µs a tunnel", float64((after.cpu-before.cpu).Microseconds())/float64(len(opened)))
	}
}

// reason returns what is alike in all errors of a cause, without their ports.
func reason(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// TestPeersFirstByte measures the time from a dial to the first byte of the answer, by a
// listener on the client's host and three hops, over four legs of 25 ms each way.
// The hops are byway's SOCKS5, in this process.
func TestPeersFirstByte(t *testing.T) {
	lab := netlab.New(t)
	hosts := []*netlab.Host{lab.Host()}
	for i := range 4 {
		hosts = append(hosts, lab.Host())
		lab.Link(hosts[i], hosts[i+1], 25*time.Millisecond)
	}
	lab.Route()
	client, target := hosts[0], hosts[4]
	on := func(h *netlab.Host, port uint16) net.Listener {
		l, err := h.Listen(port)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	var hops []string
	for _, h := range hosts[1:4] {
		socksServer(t, on(h, 1080), h)
		hops = append(hops, h.Addr(1080))
	}
	o := newOrigin(t, on(target, 7))
	column := Column{"ms to the first byte", true}
	tab := &Table{Title: "The first byte through three SOCKS5 hops, 4 × 50 ms", Columns: []Column{column}}
	tab.Row("no proxy", Reference)
	runs := []running{{contender: contender{name: "no proxy"}, way: way{client.DialContext, "", o}}}
	for i, c := range chains(hops) {
		path := c.path(t, tab)
		if path == "" {
			continue
		}
		addr := fmt.Sprintf("127.0.0.1:%d", 2000+i)
		for _, argv := range c.setUp(t, path, addr) {
			start(t, append([]string{find("ip"), "netns", "exec", client.Namespace()}, argv...))
		}
		listening(t, func() (net.Conn, error) { return client.DialContext(context.Background(), "tcp", addr) }, c.name)
		tab.Row(c.name, c.kind)
		runs = append(runs, running{contender: c, way: way{client.DialContext, addr, o}})
	}
	for i := range learn + *rounds {
		t.Logf("round %d of %d, of which the first %d are not counted", i+1, learn+*rounds, learn)
		// Nobody's first tunnel for a while is counted. It is what a spare is made for.
		var wg sync.WaitGroup
		for _, r := range runs {
			wg.Go(func() { r.firstByte() })
		}
		wg.Wait()
		time.Sleep(500 * time.Millisecond) // as a person would
		for _, r := range runs {
			if i < learn {
				continue
			}
			if took, err := r.firstByte(); err != nil {
				tab.Note("%s: %v.", r.name, err)
			} else {
				tab.Put(r.name, column.Name, ms(took))
			}
		}
	}
	fmt.Println(tab)
}

// learn is for how many rounds nothing is counted: a chain finds out what its hops can do.
const learn = 3

func (r running) firstByte() (time.Duration, error) {
	c, took, err := r.way.exchange()
	if err == nil {
		_ = c.Close()
	}
	return took, err
}
