package users

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"
)

const (
	// storeEvery is how long usage waits to be stored.
	storeEvery = time.Second

	// storeShare of a day's usage, and storeFloor at least, is not waited with; twice as much
	// is not moved before it is stored.
	storeShare = 256
	storeFloor = 512 << 10

	// storing is how many users' usage is stored at a time: a store brings them to disk together.
	storing = 64
)

// account is what a member has used.
type account struct {
	usage Usage
	until time.Time // of usage's date

	base          Usage  // what is stored
	usageRevision uint64 // of that
	unstored      int64  // bytes
	noted         bool   // that there are such
}

// count adds bytes to m's usage. m.mu is held.
func (m *member) count(up bool, n int64) error {
	m.turn()
	if m.spent() {
		return ErrQuota // what was to come is not counted: it does not move
	}
	if up {
		m.usage.Up += n
	} else {
		m.usage.Down += n
	}
	m.usage.Today += n
	m.usage.Month += n
	m.unstored += n
	m.set.books.note(m)
	return nil
}

// turn turns the page when the day is over. m.mu is held.
func (m *member) turn() {
	if now := time.Now(); !now.Before(m.until) {
		m.usage = m.usage.at(dateOf(now))
		m.until = endOf(now)
	}
}

// spent reports whether the quota is used up. m.mu is held.
func (m *member) spent() bool {
	m.turn()
	u := m.user
	return u != nil && (u.Day > 0 && m.usage.Today >= u.Day || u.Month > 0 && m.usage.Month >= u.Month)
}

// late reports whether so much is not stored that it is more than so many shares. m.mu is held.
func (m *member) late(shares int64) bool {
	return m.unstored > shares*max(storeFloor, m.usage.Today/storeShare)
}

// settle waits until enough of m's usage is stored, as long as the store does.
func (m *member) settle(ctx context.Context) error {
	b := &m.set.books
	for {
		m.mu.Lock()
		late := m.late(2)
		m.mu.Unlock()
		if !late {
			return nil
		}
		round := b.current()
		m.mu.Lock()
		late = m.late(2)
		m.mu.Unlock()
		if round == nil || !late {
			return nil
		}
		select {
		case <-round:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// books brings usage to the store. Without a store it does nothing.
type books struct {
	set    *Set
	failed func(error)
	wake   chan struct{} // there is something to store
	hurry  chan struct{} // at once

	mu    sync.Mutex
	noted []*member
	round chan struct{} // closed when what is under way has been stored; nil if the store fails
}

func (b *books) start(s *Set, failed func(error)) {
	if failed == nil {
		failed = func(error) {}
	}
	*b = books{set: s, failed: failed, wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1), round: make(chan struct{})}
}

// note notes that there is something of m to store. m.mu is held.
func (b *books) note(m *member) {
	if b.set.store == nil {
		m.unstored = 0
		return
	}
	if !m.noted {
		m.noted = true
		b.mu.Lock()
		b.noted = append(b.noted, m)
		b.mu.Unlock()
		poke(b.wake)
	}
	if m.late(1) {
		poke(b.hurry)
	}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// current returns what is closed when the next round is over, or nil if the store fails.
func (b *books) current() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.round
}

// keep stores until ctx ends.
func (b *books) keep(ctx context.Context) {
	for {
		select {
		case <-b.wake:
		case <-ctx.Done():
			return
		}
		pause := time.NewTimer(storeEvery)
		select {
		case <-b.hurry:
		case <-pause.C:
		case <-ctx.Done():
		}
		pause.Stop()
		if err := b.storeAll(); err != nil {
			b.failed(err)
			select { // what there is stays noted
			case <-time.After(storeEvery):
			case <-ctx.Done():
			}
		}
	}
}

// storeAll stores all that is noted.
func (b *books) storeAll() error {
	b.mu.Lock()
	all := b.noted
	b.noted = nil
	b.mu.Unlock()
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	room := make(chan struct{}, storing)
	for i, m := range all {
		room <- struct{}{}
		wg.Go(func() {
			errs[i] = m.storeUsage()
			<-room
		})
	}
	wg.Wait()
	err := errors.Join(errs...)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.round != nil {
		close(b.round)
		b.round = nil
	}
	if err == nil {
		b.round = make(chan struct{})
	}
	return err
}

// storeUsage stores what m has used since it last was. After an error it is still noted.
func (m *member) storeUsage() error {
	m.mu.Lock()
	now, base, revision, gone := m.usage, m.base, m.usageRevision, m.user == nil
	m.noted = false
	m.mu.Unlock()
	if gone {
		return nil
	}
	kept, revision, err := m.set.write(m.name, base, base, now, revision)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		m.set.books.note(m)
		return err
	}
	// What others have stored of the user counts here, too.
	m.usage = kept.plus(now, m.usage)
	m.base, m.usageRevision = kept, revision
	m.unstored -= now.Up + now.Down - base.Up - base.Down
	return nil
}

// write adds what came to pass between before and now to what is stored of a user, which
// was kept at a revision.
func (s *Set) write(name string, kept, before, now Usage, revision uint64) (Usage, uint64, error) {
	for {
		next := kept.plus(before, now)
		value, err := json.Marshal(next)
		if err != nil {
			return kept, revision, err
		}
		r, err := s.store.Put(usagePrefix+name, value, revision)
		if err == nil {
			return next, r, nil
		}
		if !errors.Is(err, ErrConflict) {
			return kept, revision, err
		}
		if kept, revision, err = s.stored(name); err != nil {
			return kept, revision, err
		}
	}
}

// stored returns what is stored of a user's usage.
func (s *Set) stored(name string) (u Usage, revision uint64, err error) {
	if s.store == nil {
		return u, 0, nil
	}
	e, err := s.store.Get(usagePrefix + name)
	if errors.Is(err, ErrMissing) {
		return u, 0, nil
	}
	if err == nil {
		err = json.Unmarshal(e.Value, &u)
	}
	return u, e.Revision, err
}

// Close stores what is not stored yet, and closes the store. Live tunnels go on.
func (s *Set) Close() error {
	if s.store == nil {
		return nil
	}
	s.stop()
	s.done.Wait()
	return errors.Join(s.books.storeAll(), s.store.Close())
}
