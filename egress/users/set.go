package users

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"
)

// MinToken is the least length of a token. Tokens are meant to be made by
// [NewToken], and are compared by a fast hash: a short one could be guessed.
const MinToken = 16

// maxCredential bounds the part of a field's value that is looked at.
const maxCredential = 1024

// nobody is decoded where there is nothing to decode, so that it takes as long: as much as
// a user and a token of [NewToken].
const nobody = "bm9ib2R5OjAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAw"

// A Set is who may use an egress now, and what they do. Those of the configuration are
// declared, and those of a [Store] were made by commands; a name stands for one of them. Its
// zero value knows nobody. All methods are safe for concurrent use.
type Set struct {
	key   [32]byte // of the MACs by which credentials are found
	store Store    // nil if there is none
	line  *Line

	admin sync.Mutex // held over a change to the users of the store

	mu      sync.RWMutex
	members map[string]*member
	basic   map[mac]*credential
	bearer  map[mac]*credential
	removed map[string]uint64 // at which revision of the store

	books books
	stop  context.CancelFunc // of what keeps up with the store
	done  sync.WaitGroup
}

type mac [sha256.Size]byte

// credential is a token of a member's, in one of the forms that it is shown in.
type credential struct {
	member *member
	user   *User
	token  Token
}

// Options are those of [Open].
type Options struct {
	// Store keeps users and usage, and is closed with the Set. Without one there are only
	// those declared, and usage is that since the start.
	Store Store

	// Line shares the egress's line fairly between users; nil leaves that to the system.
	Line *Line

	// Failed is told when usage can't be stored. It may be nil.
	Failed func(error)
}

// New returns a set of users without limits, of whom tokens has one each, by name. There
// must be one.
func New(tokens map[string]string) (*Set, error) {
	declared := make([]User, 0, len(tokens))
	for name, token := range tokens {
		if err := CheckToken(name, token); err != nil {
			return nil, err
		}
		declared = append(declared, User{Name: name, Tokens: []Token{{Hash: HashOf(token)}}})
	}
	return Open(declared, Options{})
}

// CheckToken tells what is wrong with a user's name and token that were not made here.
func CheckToken(name, token string) error {
	switch {
	case name == "" || strings.Contains(name, ":") || !clean(name):
		return fmt.Errorf("user %q: the name is empty or has a colon", name)
	case len(token) < MinToken || !clean(token):
		return fmt.Errorf("user %q: the token is shorter than %d characters; let \"byway egress init\" make one", name, MinToken)
	case len(name)+1+len(token) > maxCredential*3/4:
		return fmt.Errorf("user %q: name and token are too long", name)
	}
	return nil
}

// ErrNobody is the error of a set without users: without a credential nobody may pass, and an
// open proxy it must not be.
var ErrNobody = errors.New("no users: without a credential nobody may pass, and an open proxy it must not be")

// Open returns the set of those declared and those in the store, of whom there must be one.
// It owns the store, also if it fails.
func Open(declared []User, o Options) (*Set, error) {
	s, err := open(declared, o)
	if err == nil && len(s.members) == 0 {
		err = ErrNobody
	}
	if err != nil && s != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, err
}

// OpenStore is Open for commands that act on a store while nobody serves: there may be no users.
func OpenStore(declared []User, store Store) (*Set, error) {
	s, err := open(declared, Options{Store: store})
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func open(declared []User, o Options) (*Set, error) {
	s := &Set{
		store: o.Store, line: o.Line,
		members: make(map[string]*member), basic: make(map[mac]*credential), bearer: make(map[mac]*credential), removed: make(map[string]uint64),
	}
	s.books.start(s, o.Failed)
	_, _ = rand.Read(s.key[:]) // never fails
	if s.store == nil {
		return s, s.Declare(declared)
	}
	var ctx context.Context
	ctx, s.stop = context.WithCancel(context.Background())
	changes := s.store.Watch(ctx, userPrefix)
	s.done.Go(func() {
		for e := range changes {
			_ = s.apply(e) // what can't be read changes nothing
		}
	})
	s.done.Go(func() { s.books.keep(ctx) })
	all, err := s.store.List(userPrefix)
	for _, e := range all {
		if err == nil {
			err = s.apply(e)
		}
	}
	if err != nil {
		return s, err
	}
	return s, s.Declare(declared)
}

// Keys of a store.
const (
	userPrefix  = "user/"
	usagePrefix = "usage/"
)

// apply brings the set up to date with an entry of the store, unless it knows better.
func (s *Set) apply(e Entry) error {
	name := strings.TrimPrefix(e.Key, userPrefix)
	var u *User
	if e.Value != nil {
		u = &User{}
		if err := json.Unmarshal(e.Value, u); err != nil {
			return fmt.Errorf("the store's %s cannot be read: %w", e.Key, err)
		}
		u.Name = name
	}
	return s.put(name, u, e.Revision, false)
}

// Declare replaces the users of the configuration. Those that are as they were are not
// touched; the tunnels of those that are gone end. After an error nothing has changed.
func (s *Set) Declare(declared []User) error {
	s.mu.RLock()
	gone := make(map[string]bool)
	for name, m := range s.members {
		if m.declared {
			gone[name] = true
		}
	}
	for _, u := range declared {
		if m := s.members[u.Name]; m != nil && !m.declared {
			s.mu.RUnlock()
			return fmt.Errorf("user %q: \"byway user add\" has made a user of that name; choose another, or \"byway user remove\" that one", u.Name)
		}
		delete(gone, u.Name)
	}
	s.mu.RUnlock()
	for _, u := range declared {
		if err := s.put(u.Name, &u, 0, true); err != nil {
			return err
		}
	}
	for name := range gone {
		if err := s.put(name, nil, 0, true); err != nil {
			return err
		}
	}
	return nil
}

// put makes u, nil for nobody, the user of a name.
func (s *Set) put(name string, u *User, revision uint64, declared bool) error {
	s.mu.RLock()
	m := s.members[name]
	s.mu.RUnlock()
	if m == nil && u != nil {
		usage, usageRevision, err := s.stored(name)
		if err != nil {
			return err
		}
		m = &member{set: s, name: name, declared: declared, account: account{usage: usage, base: usage, usageRevision: usageRevision}}
	}
	if m == nil {
		return nil
	}
	s.mu.Lock()
	switch now := s.members[name]; {
	case now != nil:
		m = now
	case u != nil:
		s.members[name] = m
	}
	if m.declared != declared || revision < max(m.revision, s.removed[name]) || u != nil && !declared && revision == s.removed[name] {
		s.mu.Unlock()
		return nil // news that have been overtaken
	}
	m.revision = revision
	for _, known := range []map[mac]*credential{s.basic, s.bearer} {
		maps.DeleteFunc(known, func(_ mac, c *credential) bool { return c.member == m })
	}
	if u == nil {
		delete(s.members, name)
		if !declared {
			s.removed[name] = revision
		}
	} else {
		for _, t := range u.Tokens {
			c := &credential{m, u, t}
			s.basic[s.mac("basic", name, t.Hash)] = c
			s.bearer[s.mac("bearer", "", t.Hash)] = c
		}
	}
	over := m.become(u) // within the lock, so that what comes later stays
	s.mu.Unlock()
	end(over)
	return nil
}

// NewToken returns a fresh token of 192 random bits.
func NewToken() string {
	b := make([]byte, 24)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// Verify returns the user whose credential fields holds: the values of a
// request's Proxy-Authorization fields, of which there must be exactly one, Basic
// (RFC 7617) or Bearer (RFC 6750). The work is the same for a good, wrong,
// unknown, malformed or missing one, and for that of a user who is disabled: hashes of
// blocks of one size, and one look-up by a MAC that nobody outside can compute, whatever
// the number of users.
func (s *Set) Verify(fields []string) (user string, ok bool) {
	var value string
	if len(fields) == 1 && len(fields[0]) <= maxCredential {
		value = fields[0]
	}
	scheme, rest, _ := strings.Cut(value, " ")
	rest = strings.Trim(rest, " ")
	coded, isBasic := nobody, strings.EqualFold(scheme, "basic")
	if isBasic {
		coded = rest
	}
	raw, sound := decode(coded)
	name, token, _ := strings.Cut(string(raw), ":")
	kind := "none"
	switch {
	case isBasic && sound:
		kind = "basic"
	case strings.EqualFold(scheme, "bearer"):
		kind, name, token = "bearer", "", rest
	}
	if !clean(token) {
		kind = "none" // lest padding be a part of it
	}
	got := s.mac(kind, name, HashOf(token))
	s.mu.RLock()
	known := s.basic
	if kind == "bearer" {
		known = s.bearer
	}
	c := known[got]
	s.mu.RUnlock()
	if c == nil {
		c = stranger
	}
	now := time.Now()
	if ok = c.token.good(now) && c.user.standing(now); !ok {
		return "", false
	}
	return c.user.Name, true
}

// stranger has the credentials that are not known.
var stranger = &credential{user: &User{Disabled: true}}

// mac hashes a block of one size, whatever is in it.
func (s *Set) mac(kind, name string, h Hash) (sum mac) {
	var block [16 + len(Hash{}) + maxCredential]byte
	copy(block[:16], kind)
	subtle.ConstantTimeCopy(1, block[16:16+len(h)], h[:])
	copy(block[16+len(h):], name)
	m := hmac.New(sha256.New, s.key[:])
	_, _ = m.Write(block[:])
	m.Sum(sum[:0])
	return sum
}
