//go:build !unix

package relay

import "net"

type waiter struct{}

func newWaiter(net.Conn) *waiter      { return nil }
func (*waiter) read() ([]byte, error) { return nil, net.ErrClosed }
func (*waiter) release()              {}
