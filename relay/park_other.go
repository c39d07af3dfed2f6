//go:build !linux

package relay

import "net"

// Elsewhere tunnels are not parked: those that idle keep their goroutines.
type (
	lot   struct{}
	place struct{}
)

func (*lot) len() int { return 0 }

func parkable(net.Conn) bool            { return false }
func (t *tunnel) park(*pair) bool       { return false }
func (t *tunnel) cut(error)             {}
func (l *register) take(*tunnel) bool   { return false }
func (l *register) nap(*direction) bool { return false }
func (l *register) forget(*pair)        {}
