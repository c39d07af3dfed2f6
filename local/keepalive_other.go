//go:build !linux

package local

import "net"

// acceptedConfig leaves keep-alives to net: elsewhere accepted conns may not inherit them.
func acceptedConfig() *net.ListenConfig { return &net.ListenConfig{} }
