package socks

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/byway-proxy/byway/chain"
)

var (
	errGarbage  = errors.New("an answer that is not SOCKS")
	errMethod   = errors.New("the hop refuses the authentication method offered")
	errRejected = errors.New("rejected")
)

// dialer5 is the dialer of a SOCKS5 hop.
type dialer5 struct {
	dialer
	user, password string
	pipeline       Pipeline
	learnt         *learning

	mu      sync.Mutex      // orders finding's beginnings before closed
	closed  context.Context // done when closed
	close   context.CancelFunc
	finding sync.WaitGroup
}

func (d *dialer5) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if network == "udp" {
		return d.associate(ctx, addr)
	}
	t, err := d.target(network, addr)
	if err != nil {
		return nil, err
	}
	var a attempt
	first := d.firstData(ctx)
	switch d.pipeline {
	case On:
		a = d.try(ctx, t, pipelined, first, nil)
	case Off:
		a = d.try(ctx, t, serial, first, nil)
	default:
		a = d.auto(ctx, t, first)
	}
	if a.err == nil {
		d.find(ctx)
	}
	return a.conn, a.err
}

// A manner is a way to do the handshake.
type manner bool

const (
	serial    manner = false
	pipelined manner = true
)

// An attempt is one conn's way through the handshake.
type attempt struct {
	manner  manner
	conn    net.Conn // nil, or err is nil
	err     error
	reached bool      // the hop was dialled, err is about the handshake
	spent   bool      // first data went along, and may have been passed on
	due     time.Time // when the hop had had the time for a reply that it did not give
}

// definite reports whether the hop gave an answer by which the handshake ends.
func (a *attempt) definite() bool {
	return a.conn != nil || a.reached && isRefusal(a.err)
}

// carried reports whether the request was understood, so far as one can tell.
func (a *attempt) carried() bool {
	var code ReplyCode
	return a.conn != nil || a.reached && errors.As(a.err, &code)
}

// try dials the hop and does the handshake in manner m. It tells due, which may
// be nil, how long the next reply may take before it is overdue, each time that
// it begins to wait for one.
func (d *dialer5) try(ctx context.Context, t target, m manner, first *chain.FirstData, due func(time.Duration)) attempt {
	a := attempt{manner: m}
	began := time.Now()
	conn, err := d.reach(ctx)
	if err != nil {
		a.err = err
		return a
	}
	a.reached = true
	await := func(took time.Duration) {
		limit := max(4*took, 250*time.Millisecond)
		a.due = time.Now().Add(limit)
		if due != nil {
			due(limit)
		}
	}
	// What it took to reach the hop was a round trip at least.
	a.conn, a.err = d.shake(ctx, conn, chain.PhaseAuth, func(x *exchange) error {
		await(time.Since(began))
		return d.speak(x, t, m, first, await)
	})
	a.spent = first.Spent()
	return a
}

// Prepare dials the hop, greets it and authenticates. It is of [chain.Preparer].
func (d *dialer5) Prepare(ctx context.Context) (net.Conn, error) {
	conn, err := d.reach(ctx)
	if err != nil {
		return nil, err
	}
	return d.shake(ctx, conn, chain.PhaseAuth, func(x *exchange) error {
		x.out = append(x.out, version5, 1, d.method())
		return d.authenticate(x, serial, func(time.Duration) {})
	})
}

// DialOver makes the request on a conn of Prepare.
func (d *dialer5) DialOver(ctx context.Context, conn net.Conn, network, addr string) (net.Conn, error) {
	t, err := d.target(network, addr)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	first := d.firstData(ctx)
	conn, err = d.shake(ctx, conn, chain.PhaseConnect, func(x *exchange) error {
		x.out = t.append(append(x.out, version5, commandConnect, 0))
		return along(x, first, func() error { return readReply(x) })
	})
	if err == nil {
		d.find(ctx)
	}
	return conn, err
}

func (d *dialer5) method() byte {
	if d.user != "" {
		return methodPassword
	}
	return methodNone
}

// speak is the client's part of RFC 1928.
func (d *dialer5) speak(x *exchange, t target, m manner, first *chain.FirstData, await func(time.Duration)) error {
	x.out = append(x.out, version5, 1, d.method())
	if m == pipelined {
		x.out = t.append(append(d.appendAuth(x.out), version5, commandConnect, 0))
		return along(x, first, func() error {
			if err := d.authenticate(x, m, await); err != nil {
				return err
			}
			x.phase = chain.PhaseConnect
			return readReply(x)
		})
	}
	if err := d.authenticate(x, m, await); err != nil {
		return err
	}
	x.phase = chain.PhaseConnect
	x.out = t.append(append(x.out, version5, commandConnect, 0))
	return along(x, first, func() error { return readReply(x) })
}

// authenticate reads the answers up to the end of the authentication.
func (d *dialer5) authenticate(x *exchange, m manner, await func(time.Duration)) error {
	wrote := time.Now()
	choice, err := x.ask(2)
	if err != nil {
		return err
	}
	switch {
	case choice[0] != version5:
		return errGarbage
	case choice[1] == methodRefused:
		return errMethod
	case choice[1] != d.method():
		return errGarbage
	}
	await(time.Since(wrote))
	if d.user != "" {
		if m == serial {
			x.out = d.appendAuth(x.out)
		}
		status, err := x.ask(2)
		switch {
		case err != nil:
			return err
		case status[0] != authVersion:
			return errGarbage
		case status[1] != 0:
			return errRejected
		}
	}
	return nil
}

// appendAuth appends the message of RFC 1929 §2, if there is a user.
func (d *dialer5) appendAuth(b []byte) []byte {
	if d.user == "" {
		return b
	}
	b = append(append(b, authVersion, byte(len(d.user))), d.user...)
	return append(append(b, byte(len(d.password))), d.password...)
}

// readReply reads the reply to a request (RFC 1928 §6), whose address it drops.
func readReply(x *exchange) error {
	_, err := readBound(x)
	return err
}

// readBound reads a reply and returns its address, a name unchecked. A failure
// needs no more than the code: some servers send nothing after it.
func readBound(x *exchange) (target, error) {
	head, err := x.ask(2)
	switch {
	case err != nil:
		return target{}, err
	case head[0] != version5:
		return target{}, errGarbage
	case ReplyCode(head[1]) != succeeded:
		return target{}, ReplyCode(head[1])
	}
	head, err = x.next(3)
	if err != nil {
		return target{}, err
	}
	x.r -= 2 // ATYP and the byte after it
	n, err := addrLen(head[1:])
	if err != nil {
		return target{}, errGarbage
	}
	addr, err := x.next(n)
	if err != nil {
		return target{}, err
	}
	return takeTarget(addr), nil
}
