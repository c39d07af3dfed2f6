//go:build !unix

package sockets

import (
	"context"
	"errors"
	"io/fs"
	"net"
)

// Listen is for systems whose sockets have a mode.
func Listen(context.Context, string, fs.FileMode) (net.Listener, error) {
	return nil, errors.ErrUnsupported
}
