package names

import (
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// A session is one conn to a server, from before it is dialled.
type session struct {
	of     *stream
	cancel context.CancelFunc
	ready  chan struct{} // closed when there is a conn, or none to be had
	over   chan struct{} // closed when nothing is left of it

	writing sync.Mutex

	mu      sync.Mutex
	conn    net.Conn
	raw     net.Conn // what is below conn, or conn
	err     error    // why it ended
	waiting map[uint16]*question
	heard   time.Time // when an answer came last
	idle    *time.Timer
}

// A question waits for its answer.
type question struct {
	key    key
	answer chan *dns.Msg // closed when there is none to come
}

func (n *session) alive() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.err == nil
}

// run dials, and hands answers out until the conn ends.
func (n *session) run(ctx context.Context) {
	defer close(n.over)
	defer n.cancel()
	conn, raw, err := n.of.open(ctx)
	if err == nil {
		defer raw.Close() //nolint:errcheck // waits for whoever is about it
		n.attach(conn, raw)
	} else {
		n.fail(err)
	}
	close(n.ready)
	if err == nil {
		n.fail(n.read(conn))
	}
}

// attach makes conn that of n, unless n has ended meanwhile.
func (n *session) attach(conn, raw net.Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.err != nil {
		_ = raw.Close()
		return
	}
	n.conn, n.raw = conn, raw
	n.idle = time.AfterFunc(idleConn, n.rest)
}

// rest ends n if nobody waits for anything.
func (n *session) rest() {
	n.mu.Lock()
	idle := len(n.waiting) == 0
	n.mu.Unlock()
	if idle { // a question that comes just now is asked again
		n.fail(errSession)
	}
}

// fail ends n. The first reason stays.
func (n *session) fail(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.err != nil {
		return
	}
	n.err = err
	n.cancel()
	for _, q := range n.waiting {
		close(q.answer)
	}
	n.waiting = nil
	if n.raw != nil {
		n.idle.Stop()
		_ = n.raw.Close() // TLS would say goodbye first, and wait for it to be taken
	}
}

func (n *session) ask(ctx context.Context, k key) (*dns.Msg, error) {
	select {
	case <-n.ready:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	id, q, err := n.add(k)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := n.send(ctx, k, id); err != nil {
		n.fail(err)
		return nil, err
	}
	select {
	case m, ok := <-q.answer:
		if !ok {
			return nil, errSession
		}
		return m, nil
	case <-ctx.Done():
		n.give(id, began)
		return nil, ctx.Err()
	}
}

// add takes a place for a question.
func (n *session) add(k key) (uint16, *question, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.err != nil {
		return 0, nil, n.err
	}
	n.idle.Stop()
	id := uint16(rand.Uint32()) //nolint:gosec // any will do, on a conn of our own
	for n.waiting[id] != nil {
		id++
	}
	q := &question{key: k, answer: make(chan *dns.Msg, 1)}
	n.waiting[id] = q
	return id, q, nil
}

// give gives up on a question that was sent at a time. If nothing has come since,
// the conn may be dead without a sign of it.
func (n *session) give(id uint16, sent time.Time) {
	n.mu.Lock()
	n.remove(id)
	silent := !n.heard.After(sent)
	n.mu.Unlock()
	if silent {
		n.fail(errSession)
	}
}

// remove takes a question out. The lock is held.
func (n *session) remove(id uint16) {
	if n.waiting[id] == nil {
		return
	}
	if delete(n.waiting, id); len(n.waiting) == 0 {
		n.idle.Reset(idleConn)
	}
}

// send writes a question. What ctx ends halfway ends the session.
func (n *session) send(ctx context.Context, k key, id uint16) error {
	query, err := k.query(id, n.of.tls != nil)
	if err != nil {
		return err
	}
	packet := append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...) //nolint:gosec // one question
	n.writing.Lock()
	defer n.writing.Unlock()
	stop := context.AfterFunc(ctx, func() { n.fail(ctx.Err()) })
	defer stop()
	_, err = n.conn.Write(packet)
	return err
}

// read hands out answers until the conn ends.
func (n *session) read(conn net.Conn) error {
	var size [2]byte
	for {
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return err
		}
		b := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(conn, b); err != nil {
			return err
		}
		m := new(dns.Msg)
		if err := m.Unpack(b); err != nil {
			return err
		}
		n.hand(m)
	}
}

// hand gives m to the question that it answers; else it comes too late, or from nowhere.
func (n *session) hand(m *dns.Msg) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.heard = time.Now()
	if q := n.waiting[m.Id]; q != nil && q.key.answers(m) {
		q.answer <- m
		n.remove(m.Id)
	}
}
