//go:build !unix

package local

// openFiles is how many files this process may have open: here, as many as there is
// memory for.
func openFiles() int { return 1 << 16 }
