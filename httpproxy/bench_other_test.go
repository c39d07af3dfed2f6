//go:build !unix

package httpproxy

import "time"

// cpuTime is not known here.
func cpuTime() time.Duration { return 0 }
