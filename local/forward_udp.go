package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/byway-proxy/byway/internal/datagram"
	"github.com/byway-proxy/byway/internal/deadline"
	"github.com/byway-proxy/byway/internal/sockets"
	"github.com/byway-proxy/byway/relay"
)

const (
	maxFlows = 1024        // of one forward at a time
	deafFor  = time.Second // to a client whose flow could not be opened
)

var errFlows = errors.New("too many flows at once; the datagram of a new client is dropped")

// A packetConn is the part of *net.UDPConn that a forward uses.
type packetConn interface {
	sockets.Datagrams
	LocalAddr() net.Addr
	Close() error
}

// A udpForward carries the datagrams that come to its socket, one flow for each
// client's address, and each of ours that it sends to. A flow lasts until the relay finds it idle.
type udpForward struct {
	socket  packetConn
	key     string                        // of the address, as the file has it
	request atomic.Pointer[relay.Request] // what each is, save for the client
	relay   *relay.Relay

	mu    sync.Mutex
	flows map[sockets.Caller]*udpFlow
	over  bool
	wg    sync.WaitGroup
}

// openUDP listens at the address of forward i of p.
func openUDP(p *plan, i int) (*net.UDPConn, error) {
	f := &p.config.Forwards[i]
	key := fmt.Sprintf("forward[%d].listen", i)
	at, err := net.ResolveUDPAddr("udp", f.Listen)
	if err != nil {
		return nil, p.config.Errorf(key, "cannot be listened on: %w", err)
	}
	if err := within(p.config, at, f.Listen, f.Open, key); err != nil {
		return nil, err
	}
	socket, err := net.ListenUDP("udp", at)
	if err != nil {
		return nil, p.config.Errorf(key, "cannot be listened on: %w", err)
	}
	if at.IP == nil || at.IP.IsUnspecified() {
		sockets.TellAsked(socket)
	}
	return socket, nil
}

func newUDPForward(socket packetConn, q *relay.Request, r *relay.Relay) *udpForward {
	u := &udpForward{socket: socket, relay: r, flows: make(map[sockets.Caller]*udpFlow)}
	u.request.Store(q)
	return u
}

// serve takes datagrams until u is closed. ctx bounds the flows.
func (u *udpForward) serve(ctx context.Context) {
	buf := make([]byte, datagram.Max+1)
	for pause := time.Duration(0); ; {
		n, from, err := sockets.Receive(u.socket, buf)
		switch {
		case err == nil:
			pause = 0
			u.take(ctx, buf[:n], from)
		case errors.Is(err, net.ErrClosed):
			return
		case errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET):
			// News of a client that has gone.
		default:
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			time.Sleep(pause)
		}
	}
}

// take hands a datagram to the flow of its client, a new one if need be.
func (u *udpForward) take(ctx context.Context, b []byte, from sockets.Caller) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f := u.flows[from]
	if f == nil {
		if u.over {
			return
		}
		if len(u.flows) >= maxFlows {
			u.relay.Trace.Bad(u.request.Load().Listener, errFlows)
			return
		}
		f = &udpFlow{of: u, client: from}
		u.flows[from] = f
		u.wg.Go(func() { u.carry(ctx, f) })
	}
	f.in.Put(b, nil) // or drops it, as a socket's buffer does
}

// carry serves a flow to its end.
func (u *udpForward) carry(ctx context.Context, f *udpFlow) {
	q := *u.request.Load()
	q.Client = net.UDPAddrFromAddrPort(f.client.Addr)
	p := &forwarded{conn: f, request: q}
	if err := u.relay.Serve(ctx, p); err != nil && !p.accepted && ctx.Err() == nil {
		// Whoever keeps sending does not make us dial as often.
		wait := time.NewTimer(deafFor)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-ctx.Done():
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.flows, f.client)
}

// Close ends u and its flows: they have no other end to wait for.
func (u *udpForward) Close() error {
	u.mu.Lock()
	u.over = true
	for _, f := range u.flows {
		f.in.Close(io.EOF)
	}
	u.mu.Unlock()
	return u.socket.Close()
}

// A udpFlow is the client's end of a flow, as a conn of one datagram per Read and Write.
type udpFlow struct {
	of     *udpForward
	client sockets.Caller
	in     datagram.Inbox
	by     deadline.Deadline // of writing
}

func (f *udpFlow) Read(p []byte) (int, error) {
	n, _, err := f.in.ReadFrom(p)
	return n, f.opError("read", err)
}

// AwaitRead waits until Read has something to return: see relay.CopyDatagrams.
func (f *udpFlow) AwaitRead() { f.in.Await() }

func (f *udpFlow) Write(p []byte) (int, error) {
	err := f.in.Err()
	if err == io.EOF {
		err = net.ErrClosed
	}
	if err == nil && f.by.Passed() {
		err = os.ErrDeadlineExceeded
	}
	if err != nil {
		return 0, f.opError("write", err)
	}
	return f.client.Answer(f.of.socket, p)
}

func (f *udpFlow) opError(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "udp", Source: f.LocalAddr(), Addr: f.RemoteAddr(), Err: err}
}

func (f *udpFlow) Close() error {
	if !f.in.Close(net.ErrClosed) {
		return f.opError("close", net.ErrClosed)
	}
	f.by.Set(time.Time{}) // its timer is needed no more
	return nil
}

func (f *udpFlow) LocalAddr() net.Addr  { return f.of.socket.LocalAddr() }
func (f *udpFlow) RemoteAddr() net.Addr { return net.UDPAddrFromAddrPort(f.client.Addr) }

func (f *udpFlow) SetDeadline(t time.Time) error {
	f.by.Set(t)
	return f.in.SetReadDeadline(t)
}

func (f *udpFlow) SetReadDeadline(t time.Time) error { return f.in.SetReadDeadline(t) }

func (f *udpFlow) SetWriteDeadline(t time.Time) error {
	f.by.Set(t)
	return nil
}
