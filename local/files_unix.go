//go:build unix

package local

import (
	"math"
	"syscall"
)

// openFiles is how many files this process may have open. The Go runtime has raised
// the limit as far as the system lets it.
func openFiles() int {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return 1024
	}
	return int(min(max(r.Cur, 0), math.MaxInt32)) //nolint:gosec // and unconvert: its type differs by system
}
