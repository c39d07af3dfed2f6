package chain

import (
	"errors"
	"sync"
)

// maxPaths is how many chains a course keeps built.
const maxPaths = 64

// paths are the chains that a course has built, the last used of them.
type paths struct {
	mu   sync.Mutex
	all  map[string]*path
	turn uint64
	over bool // closed: none is kept
}

type path struct {
	chain *Chain
	uses  int // dials in progress; closed after the last if gone
	gone  bool
	used  uint64
}

// path returns the chain of the hops of route, which the caller releases.
func (c *course) path(route []uint16) (*path, error) {
	var buf [16]byte
	key := buf[:0]
	for _, i := range route {
		key = append(key, byte(i>>8), byte(i))
	}
	s := &c.paths
	s.mu.Lock()
	if p := s.all[string(key)]; p != nil {
		s.use(p)
		s.mu.Unlock()
		return p, nil
	}
	s.mu.Unlock()
	hops := make([]Hop, len(route))
	for k, i := range route {
		hops[k] = c.hops[i]
	}
	built, err := nest(c.next, hops, func(k int) place { return c.place(k, route) })
	if err != nil {
		return nil, c.at.stamp(err)
	}
	s.mu.Lock()
	p := s.all[string(key)]
	if p != nil { // another built it too
		s.use(p)
		s.mu.Unlock()
		return p, built.Close()
	}
	if s.all == nil {
		s.all = make(map[string]*path)
	}
	p = &path{chain: built, gone: s.over}
	s.use(p)
	if !s.over {
		s.all[string(key)] = p
	}
	var old *path
	if len(s.all) > maxPaths {
		old = s.evict()
	}
	s.mu.Unlock()
	if old != nil {
		_ = old.chain.Close()
	}
	return p, nil
}

// place returns the place of the kth hop of route. In a chain that draws, the
// hops count as drawn; in one that skips, as written.
func (c *course) place(k int, route []uint16) place {
	i := int(route[k])
	at := c.at.nth(i+1, len(c.hops), c.hops[i].Name)
	if _, ok := c.plan.(drawn); ok {
		at = c.at.nth(k+1, len(route), c.hops[i].Name)
	}
	return at.in(&c.scope, i+1)
}

func (s *paths) use(p *path) {
	s.turn++
	p.used = s.turn
	p.uses++
}

// evict removes the path that was not used for longest. It returns it if nobody
// uses it, to be closed.
func (s *paths) evict() *path {
	var (
		old    *path
		oldKey string
	)
	for key, p := range s.all {
		if old == nil || p.used < old.used {
			old, oldKey = p, key
		}
	}
	delete(s.all, oldKey)
	if old.gone = true; old.uses > 0 {
		return nil
	}
	return old
}

func (s *paths) release(p *path) {
	s.mu.Lock()
	p.uses--
	last := p.gone && p.uses == 0
	s.mu.Unlock()
	if last {
		_ = p.chain.Close()
	}
}

func (s *paths) close() error {
	s.mu.Lock()
	s.over = true
	var idle []*path
	for _, p := range s.all {
		if p.gone = true; p.uses == 0 {
			idle = append(idle, p)
		}
	}
	clear(s.all)
	s.mu.Unlock()
	var errs []error
	for _, p := range idle {
		errs = append(errs, p.chain.Close())
	}
	return errors.Join(errs...)
}

func (s *paths) groups() []GroupStatus {
	s.mu.Lock()
	var built []*Chain
	for _, p := range s.all {
		built = append(built, p.chain)
	}
	s.mu.Unlock()
	var all []GroupStatus
	for _, c := range built {
		all = append(all, c.Groups()...)
	}
	return all
}
