package httpproxy

import (
	"sync"
	"time"
)

// rest holds the clients on HTTP/1 that are between two requests, so that they can be
// told to go then. Its zero value is ready.
type rest struct {
	mu      sync.Mutex
	waiting map[*client]struct{}
	over    bool
}

// begin reports whether c may ask for something more; its read deadline is set.
func (r *rest) begin(c *client) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return false
	}
	if r.waiting == nil {
		r.waiting = make(map[*client]struct{})
	}
	r.waiting[c] = struct{}{}
	return true
}

func (r *rest) end(c *client) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.waiting, c)
}

// close ends the waits for another request, and has none begin.
func (r *rest) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	for c := range r.waiting {
		_ = c.conn.SetReadDeadline(time.Unix(1, 0))
	}
}
