package users

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// A Status is a user and what the user does.
type Status struct {
	User
	Declared bool  `json:"declared,omitempty"` // by the configuration
	Usage    Usage `json:"usage"`
	Live     int   `json:"live"`  // tunnels
	Flows    int   `json:"flows"` // of datagrams, live
}

// Standing tells in a word or two whether the user may have a tunnel now.
func (s *Status) Standing(now time.Time) string {
	switch u := s.Usage.at(dateOf(now)); {
	case s.Disabled:
		return "disabled"
	case !s.standing(now):
		return "expired"
	case s.Day > 0 && u.Today >= s.Day, s.Month > 0 && u.Month >= s.Month:
		return "over quota"
	}
	return "active"
}

// List returns a snapshot of all users by name.
func (s *Set) List() []Status {
	s.mu.RLock()
	all := slices.Collect(maps.Values(s.members))
	s.mu.RUnlock()
	list := make([]Status, 0, len(all))
	for _, m := range all {
		if st, ok := m.status(); ok {
			list = append(list, st)
		}
	}
	slices.SortFunc(list, func(a, b Status) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return list
}

func (m *member) status() (Status, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.user == nil {
		return Status{}, false
	}
	m.turn()
	return Status{User: *m.user, Declared: m.declared, Usage: m.usage, Live: len(m.tunnels) - m.flows, Flows: m.flows}, true
}

// Limits returns those of a user, and whether there is one of that name.
func (s *Set) Limits(user string) (Limits, bool) {
	s.mu.RLock()
	m := s.members[user]
	s.mu.RUnlock()
	if m == nil {
		return Limits{}, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.user == nil {
		return Limits{}, false
	}
	return m.user.Limits, true
}

// ErrNoStore is the error of a command where there is no store.
var ErrNoStore = errors.New("there is no [store] to keep users in; add one to the configuration")

// Add makes a user of u's name, end and limits, and returns its token, which is kept nowhere.
func (s *Set) Add(u User) (token string, err error) {
	s.admin.Lock()
	defer s.admin.Unlock()
	if s.store == nil {
		return "", ErrNoStore
	}
	if err := u.check(); err != nil {
		return "", err
	}
	s.mu.RLock()
	m := s.members[u.Name]
	s.mu.RUnlock()
	switch {
	case m != nil && m.declared:
		return "", fmt.Errorf("user %q: the configuration has a user of that name; choose another", u.Name)
	case m != nil:
		return "", fmt.Errorf("user %q: there is one already; choose another name, or \"byway user rotate\" for a new token", u.Name)
	}
	if err := s.forget(usagePrefix + u.Name); err != nil { // of one before of that name
		return "", err
	}
	token = NewToken()
	u.Made = time.Now().UTC().Truncate(time.Second)
	u.Tokens = []Token{{Hash: HashOf(token)}}
	return token, s.keep(&u, 0)
}

// SetDisabled makes a stranger of a user, whose tunnels end, or a user again.
func (s *Set) SetDisabled(name string, disabled bool) error {
	_, err := s.change(name, func(u *User) { u.Disabled = disabled })
	return err
}

// Rotate gives a user a new token and returns it. The others are good for overlap still. If that
// is 0 they are not, and the user's tunnels end: whoever has them may have an old token.
func (s *Set) Rotate(name string, overlap time.Duration) (token string, err error) {
	token = NewToken()
	m, err := s.change(name, func(u *User) {
		now := time.Now()
		until := now.Add(overlap).UTC()
		kept := []Token{{Hash: HashOf(token)}}
		for _, t := range u.Tokens {
			if !t.good(now) || overlap <= 0 {
				continue
			}
			if t.Until.IsZero() || until.Before(t.Until) {
				t.Until = until
			}
			kept = append(kept, t)
		}
		u.Tokens = kept
	})
	if err != nil {
		return "", err
	}
	if overlap <= 0 {
		m.cut()
	}
	return token, nil
}

// Remove forgets a user, whose tunnels end.
func (s *Set) Remove(name string) error {
	s.admin.Lock()
	defer s.admin.Unlock()
	if _, err := s.made(name); err != nil {
		return err
	}
	e, err := s.store.Get(userPrefix + name)
	if err == nil {
		err = s.store.Delete(e.Key, e.Revision)
	}
	if err != nil {
		return err
	}
	e.Value = nil
	return errors.Join(s.apply(e), s.forget(usagePrefix+name))
}

// made returns the member of a name, if commands may change it. s.admin is held.
func (s *Set) made(name string) (*member, error) {
	if s.store == nil {
		return nil, ErrNoStore
	}
	s.mu.RLock()
	m := s.members[name]
	s.mu.RUnlock()
	switch {
	case m == nil:
		return nil, fmt.Errorf("user %q: there is none of that name; \"byway user list\" shows all", name)
	case m.declared:
		return nil, fmt.Errorf("user %q: the configuration has it; change it there", name)
	}
	return m, nil
}

// change changes a user of the store.
func (s *Set) change(name string, by func(*User)) (*member, error) {
	s.admin.Lock()
	defer s.admin.Unlock()
	m, err := s.made(name)
	if err != nil {
		return nil, err
	}
	for {
		e, err := s.store.Get(userPrefix + name)
		if err != nil {
			return nil, err
		}
		u := User{}
		if err := json.Unmarshal(e.Value, &u); err != nil {
			return nil, err
		}
		by(&u)
		if err := s.keep(&u, e.Revision); !errors.Is(err, ErrConflict) {
			return m, err
		}
	}
}

// keep puts u into the store, and brings the set up to date.
func (s *Set) keep(u *User, revision uint64) error {
	value, err := json.Marshal(u)
	if err != nil {
		return err
	}
	e := Entry{Key: userPrefix + u.Name, Value: value}
	if e.Revision, err = s.store.Put(e.Key, value, revision); err != nil {
		return err
	}
	return s.apply(e)
}

// forget deletes what is kept by key, if anything is.
func (s *Set) forget(key string) error {
	for {
		e, err := s.store.Get(key)
		if errors.Is(err, ErrMissing) {
			return nil
		}
		if err == nil {
			err = s.store.Delete(key, e.Revision)
		}
		if !errors.Is(err, ErrConflict) {
			return err
		}
	}
}
