package socks

import (
	"context"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/byway-proxy/byway/internal/datagram"
	"github.com/byway-proxy/byway/internal/deadline"
	"github.com/byway-proxy/byway/relay"
)

// Flows bounds the UDP flows of the servers that share it. Beyond a bound the
// association's flow that was not used for longest makes room. The zero value is
// ready, and must not be copied; nil bounds each association alone.
type Flows struct {
	PerAssociation int // 0 means 256
	Total          int // 0 means 4096; also of the associations, each of which holds a socket

	live, associations atomic.Int64
	changed            atomic.Pointer[[2]int]
}

// Set changes the bounds while they are in use. Flows that are open stay open.
func (l *Flows) Set(perAssociation, total int) { l.changed.Store(&[2]int{perAssociation, total}) }

// bounds returns those in force.
func (l *Flows) bounds() (perAssociation, total int) {
	perAssociation, total = l.PerAssociation, l.Total
	if now := l.changed.Load(); now != nil {
		perAssociation, total = now[0], now[1]
	}
	if perAssociation <= 0 {
		perAssociation = 256
	}
	if total <= 0 {
		total = 4096
	}
	return perAssociation, total
}

func (l *Flows) perAssociation() int {
	if l == nil {
		return 256
	}
	each, _ := l.bounds()
	return each
}

// take takes a place for a flow, if there is one.
func (l *Flows) take() bool { return l == nil || l.within(&l.live) }

// enter takes a place for an association, if there is one.
func (l *Flows) enter() bool { return l == nil || l.within(&l.associations) }

// leave gives it back.
func (l *Flows) leave() {
	if l != nil {
		l.associations.Add(-1)
	}
}

func (l *Flows) within(n *atomic.Int64) bool {
	_, most := l.bounds()
	total := int64(most)
	if n.Add(1) > total {
		n.Add(-1)
		return false
	}
	return true
}

func (l *Flows) give() {
	if l != nil {
		l.live.Add(-1)
	}
}

// grudge is for how long the datagrams to a target that could not be reached are
// dropped unseen: each would be another dial.
const grudge = time.Second

// maxHeld is how many bytes are held for a target that is not reached yet, or slow.
const maxHeld = 128 << 10

// A serverFlow is what a client sends to one target and gets from there: a
// relay.Pending, and the client's end of what becomes of it.
type serverFlow struct {
	a      *association
	header string // of its datagrams, both ways: the target as the client named it
	addr   string
	ctx    context.Context // ends with it
	cancel context.CancelFunc
	in     datagram.Inbox
	write  deadline.Deadline
	used   atomic.Int64 // when a datagram last moved
}

// epoch is what serverFlow.used counts from.
var epoch = time.Now()

func newServerFlow(a *association, header string, t target) *serverFlow {
	f := &serverFlow{a: a, header: header, addr: t.String(), in: datagram.Inbox{Limit: maxHeld}}
	f.ctx, f.cancel = context.WithCancel(a.ctx)
	f.touch()
	return f
}

func (f *serverFlow) touch() { f.used.Store(int64(time.Since(epoch))) }

// Request returns the association's, with the flow's target.
func (f *serverFlow) Request() relay.Request {
	q := f.a.request
	q.Addr = f.addr
	return q
}

// Accept returns f: there is nobody to be told.
func (f *serverFlow) Accept() (net.Conn, error) { return f, nil }

// Reject says nothing, as the protocol has no words for it.
func (f *serverFlow) Reject(error) error {
	f.in.Close(net.ErrClosed)
	timer := time.NewTimer(grudge)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-f.ctx.Done():
	}
	f.end()
	return nil
}

func (f *serverFlow) Read(p []byte) (int, error) {
	n, _, err := f.in.ReadFrom(p)
	if err != nil && err != io.EOF {
		err = &net.OpError{Op: "read", Net: "udp", Err: err}
	}
	return n, err
}

// AwaitRead waits until Read has something to return: see relay.CopyDatagrams.
func (f *serverFlow) AwaitRead() { f.in.Await() }

// Write sends p to the client as from the target.
func (f *serverFlow) Write(p []byte) (int, error) {
	switch {
	case f.in.Err() != nil:
		return 0, &net.OpError{Op: "write", Net: "udp", Err: net.ErrClosed}
	case f.write.Passed():
		return 0, &net.OpError{Op: "write", Net: "udp", Err: os.ErrDeadlineExceeded}
	}
	n, err := pack(f.header, p, f.a.send)
	if err == nil {
		f.touch()
	}
	return n, err
}

// Close ends the flow.
func (f *serverFlow) Close() error {
	f.end()
	return nil
}

// end ends the flow; f may be nil.
func (f *serverFlow) end() {
	if f == nil {
		return
	}
	f.in.Close(io.EOF) // in good order: datagrams know no other end
	f.write.Set(time.Time{})
	f.cancel()
	f.a.remove(f)
}

func (f *serverFlow) LocalAddr() net.Addr  { return f.a.sock.LocalAddr() }
func (f *serverFlow) RemoteAddr() net.Addr { return f.a.request.Client }

func (f *serverFlow) SetDeadline(t time.Time) error {
	_ = f.SetWriteDeadline(t)
	return f.SetReadDeadline(t)
}

func (f *serverFlow) SetReadDeadline(t time.Time) error { return f.in.SetReadDeadline(t) }

func (f *serverFlow) SetWriteDeadline(t time.Time) error {
	if f.in.Err() == nil {
		f.write.Set(t)
	}
	return nil
}
