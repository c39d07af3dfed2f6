package names

import (
	"context"
	"net"

	"github.com/byway-proxy/byway/chain"
)

// tied is a conn that a ctx closes.
type tied struct {
	net.Conn
	untie func() bool
}

// tie returns conn, which is closed when ctx ends.
func tie(ctx context.Context, conn net.Conn) net.Conn {
	return &tied{Conn: conn, untie: context.AfterFunc(ctx, func() { _ = conn.Close() })}
}

func (t *tied) Close() error {
	t.untie()
	return t.Conn.Close()
}

// CloseWrite is of chain.CloseWriter.
func (t *tied) CloseWrite() error { return chain.CloseWrite(t.Conn) }

// Abort is of chain.Aborter.
func (t *tied) Abort() error {
	t.untie()
	return chain.Abort(t.Conn)
}
