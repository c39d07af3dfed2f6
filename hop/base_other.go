//go:build !linux

package hop

import (
	"fmt"
	"syscall"
)

const canBind = false

func (b Base) control(string, syscall.RawConn) error { return nil }

// Lacks tells why Congestion is not used, or returns nil if it is.
func (b Base) Lacks() error {
	if b.Congestion == "" {
		return nil
	}
	return fmt.Errorf("congestion control %q cannot be chosen on this system", b.Congestion)
}
