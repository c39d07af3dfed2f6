package users

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"
)

const (
	remembered = 5 * time.Minute // how long a success is
	mostKept   = 1024            // successes at a time
)

// A Set knows the hashes of users. It is safe for concurrent use.
type Set struct {
	hashes map[string]Hash
	queue  *Queue
	limit  time.Duration

	plain  Plain
	others map[string]struct{} // who is in plain

	secret [32]byte // of the digests below
	costs  []*Hash  // what the login of a user may cost; nil stands for plain

	mu    sync.Mutex
	known map[digest]time.Time // of a user and the right password: until when
}

type digest = [sha256.Size]byte

// Plain knows the passwords of those users of whom there is no hash.
type Plain interface {
	Valid(user, password string) bool
}

// New makes a Set of the hashes given by user. Its Valid waits for its turn in queue
// no longer than limit, which is more than zero. plain, if not nil, is asked about the others.
func New(hashes map[string]Hash, queue *Queue, limit time.Duration, plain Plain, others ...string) *Set {
	s := &Set{hashes: hashes, queue: queue, limit: limit, plain: plain}
	s.others, s.known = make(map[string]struct{}), make(map[digest]time.Time)
	_, _ = rand.Read(s.secret[:]) // never fails
	for _, name := range others {
		s.others[name] = struct{}{}
		s.costs = append(s.costs, nil)
	}
	for _, h := range hashes {
		s.costs = append(s.costs, &h)
	}
	return s
}

// Valid reports whether user exists and has that password. To refuse a name that does
// not exist costs what some user's wrong password does, always the same one's for
// that name. It also reports false if its turn to hash does not come in time.
func (s *Set) Valid(user, password string) bool {
	h, exists := s.hashes[user]
	if _, other := s.others[user]; other {
		return s.plain.Valid(user, password)
	}
	if !exists {
		cost := s.costOf(user)
		if cost == nil {
			return s.plain != nil && s.plain.Valid(user, password)
		}
		h = *cost
	}
	key := s.digest(user, password)
	if s.knows(key) {
		return true
	}
	if !s.queue.enter(s.limit) {
		return false
	}
	defer s.queue.leave()
	if s.knows(key) { // a browser opens several conns at once
		return true
	}
	if !h.matches(password) || !exists {
		return false
	}
	s.learn(key)
	return true
}

// costOf returns what the login of somebody who does not exist costs.
func (s *Set) costOf(user string) *Hash {
	if len(s.costs) == 0 {
		return nil
	}
	d := s.digest("", user)
	return s.costs[binary.BigEndian.Uint64(d[:])%uint64(len(s.costs))]
}

// digest stands for a user and a password, and is of no use to those without the
// secret of this process.
func (s *Set) digest(user, password string) (d digest) {
	m := hmac.New(sha256.New, s.secret[:])
	_, _ = m.Write(binary.BigEndian.AppendUint64(nil, uint64(len(user))))
	_, _ = m.Write([]byte(user))
	_, _ = m.Write([]byte(password))
	m.Sum(d[:0])
	return d
}

// knows reports whether the credentials that key stands for were right of late.
func (s *Set) knows(key digest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Before(s.known[key])
}

func (s *Set) learn(key digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if len(s.known) >= mostKept {
		var first digest
		least := now.Add(2 * remembered)
		for k, until := range s.known {
			if until.Before(least) {
				first, least = k, until
			}
		}
		delete(s.known, first)
	}
	s.known[key] = now.Add(remembered)
}
