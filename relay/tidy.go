package relay

import (
	"runtime/debug"
	"time"
)

// When many tunnels were parked, or came to rest with one goroutine, what they had is garbage that Go would
// keep for up to two minutes, as nothing is allocated. It is collected once they have
// calmed, which takes milliseconds, and seldom.
const (
	tidyCrowd = 1024 // tunnels since the last time
	tidyCalm  = time.Second
	tidyPause = time.Minute // from one collection to the next, at least
)

// A tidier collects garbage after crowds. Its zero value is ready. It is guarded by
// the register, but for the collection.
type tidier struct {
	collect func() // for tests; nil means Go's, whose memory goes back to the system
	parked  int
	timer   *time.Timer
	last    time.Time // of collections
}

// note tells of a tunnel that was parked, or rests for the first time.
func (l *register) note() {
	d := &l.tidier
	if d.parked++; d.parked < tidyCrowd {
		return
	}
	after := max(tidyCalm, tidyPause-time.Since(d.last))
	if d.timer == nil {
		d.timer = time.AfterFunc(after, l.tidy)
	} else {
		d.timer.Reset(after)
	}
}

func (l *register) tidy() {
	l.mu.Lock()
	d := &l.tidier
	d.parked, d.last = 0, time.Now()
	collect := d.collect
	l.mu.Unlock()
	if collect == nil {
		collect = debug.FreeOSMemory
	}
	collect()
}
