package users

import (
	"crypto/rand"
	"crypto/subtle"
	"time"

	"golang.org/x/crypto/argon2"
)

// A Hash is what is kept of a password: Argon2id of it.
type Hash struct {
	Memory  uint32 // KiB
	Time    uint32 // passes
	Threads uint8
	Salt    []byte
	Sum     []byte
}

// NewHash hashes password with a new salt and the parameters that RFC 9106 §4
// recommends second, for where memory is scarce: 64 MiB, 3 passes, 4 lanes.
func NewHash(password string) Hash {
	h := Hash{Memory: 64 << 10, Time: 3, Threads: 4, Salt: make([]byte, 16), Sum: make([]byte, 32)}
	_, _ = rand.Read(h.Salt) // never fails
	h.Sum = h.of(password)
	return h
}

// of hashes password as h was.
func (h *Hash) of(password string) []byte {
	return argon2.IDKey([]byte(password), h.Salt, h.Time, h.Memory, h.Threads, uint32(len(h.Sum))) //nolint:gosec // a few bytes
}

// matches reports whether h is of password. A Hash of nothing matches nothing.
func (h *Hash) matches(password string) bool {
	return len(h.Sum) > 0 && subtle.ConstantTimeCompare(h.of(password), h.Sum) == 1
}

// A Queue bounds how many passwords are hashed at once. Who waits is served in turn.
type Queue struct{ slots chan struct{} }

// NewQueue makes a Queue for n at once.
func NewQueue(n int) *Queue { return &Queue{make(chan struct{}, max(n, 1))} }

// enter waits for a turn, no longer than limit, and reports whether it came.
// Whoever entered leaves.
func (q *Queue) enter(limit time.Duration) bool {
	select {
	case q.slots <- struct{}{}:
		return true
	default:
	}
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case q.slots <- struct{}{}:
		return true
	case <-t.C:
		return false
	}
}

func (q *Queue) leave() { <-q.slots }
