//go:build interop

package interop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// exchangeLimit bounds an exchange. A healthy one takes a fraction of a second.
const exchangeLimit = 20 * time.Second

// exchange is how two ends of a tunnel talk. A leg is one direction's payload; its
// error is the receiver's, which compares each byte.
type exchange struct {
	name   string
	client func(c duplex, o *outcome)
	target func(c duplex, o *outcome)
	oneWay bool // nothing is sent back
}

// outcome has the error of each leg: up is client to target.
type outcome struct{ up, down error }

func (o outcome) String() string { return fmt.Sprintf("up: %v, down: %v", words(o.up), words(o.down)) }

func words(err error) string {
	if err == nil {
		return "whole"
	}
	return err.Error()
}

var exchanges = []exchange{
	{
		// Neither end closes before it has everything: any tunnel must do this.
		name: "by length",
		client: func(c duplex, o *outcome) {
			up, down := payloads()
			_, _ = c.Write(up)
			o.down = readPart(c, down)
		},
		target: func(c duplex, o *outcome) {
			up, down := payloads()
			o.up = readPart(c, up)
			_, _ = c.Write(down)
			_, _ = c.Read(make([]byte, 1)) // the client closes first
		},
	},
	{
		// The target answers when it has seen the client's end.
		name: "client ends first",
		client: func(c duplex, o *outcome) {
			up, down := payloads()
			_, _ = c.Write(up)
			_ = c.CloseWrite()
			o.down = readAll(c, down)
		},
		target: func(c duplex, o *outcome) {
			up, down := payloads()
			o.up = readAll(c, up)
			_, _ = c.Write(down)
		},
	},
	{
		// The client goes on when it has seen the target's end.
		name: "target ends first",
		client: func(c duplex, o *outcome) {
			up, down := payloads()
			o.down = readAll(c, down)
			_, _ = c.Write(up)
			_ = c.CloseWrite()
			_, _ = c.Read(make([]byte, 1)) // until the target has closed
		},
		target: func(c duplex, o *outcome) {
			up, down := payloads()
			_, _ = c.Write(down)
			_ = c.CloseWrite()
			o.up = readAll(c, up)
		},
	},
	{
		// The client has said everything and is gone, which is no reset.
		name:   "client leaves",
		oneWay: true,
		client: func(c duplex, _ *outcome) {
			up, _ := payloads()
			_, _ = c.Write(up)
		},
		target: func(c duplex, o *outcome) {
			up, _ := payloads()
			o.up = readAll(c, up)
		},
	},
	{
		// Both send at once, and each ends when it likes.
		name: "both at once",
		client: func(c duplex, o *outcome) {
			up, down := payloads()
			both(func() { _, _ = c.Write(up); _ = c.CloseWrite() }, func() { o.down = readAll(c, down) })
		},
		target: func(c duplex, o *outcome) {
			up, down := payloads()
			both(func() { _, _ = c.Write(down); _ = c.CloseWrite() }, func() { o.up = readAll(c, up) })
		},
	},
}

func both(f, g func()) {
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	g()
	<-done
}

// run carries out e over a tunnel that dial opens to a target of its own, known as
// host. The error is that of opening the tunnel.
func (e exchange) run(ctx context.Context, dial dialFunc, host string) (o outcome, err error) {
	ctx, cancel := context.WithTimeout(ctx, exchangeLimit)
	defer cancel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return o, err
	}
	defer func() { _ = l.Close() }()
	limit, _ := ctx.Deadline()
	_ = l.(*net.TCPListener).SetDeadline(limit)
	done := make(chan struct{})
	go func() {
		defer close(done)
		o.up = errors.New("nobody came to the target")
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		_ = c.SetDeadline(limit)
		e.target(c.(*net.TCPConn), &o)
	}()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return o, err
	}
	c, err := dial(ctx, net.JoinHostPort(host, port))
	if err != nil {
		_ = l.Close()
		<-done
		return o, err
	}
	_ = c.SetDeadline(limit)
	e.client(c, &o)
	_ = c.Close()
	<-done
	return o, nil
}
