package names

import (
	"container/list"
	"sync"
	"time"
)

const (
	staleFor = 24 * time.Hour   // what is kept beyond its TTL, in case nobody can be asked
	staleTTL = 30 * time.Second // of such an answer, and before somebody is asked again
)

// A cache keeps answers, those in use longest.
type cache struct {
	entries, bytes int // the most of them

	mu   sync.Mutex
	used list.List // of *kept, the latest first
	by   map[key]*list.Element
	size int
}

type kept struct {
	key    key
	answer *answer
	since  time.Time
	ttl    time.Duration
	retry  time.Time // before this, nobody is asked although it is stale
	size   int
}

func newCache(entries int) *cache {
	return &cache{entries: entries, bytes: entries << 10, by: make(map[key]*list.Element)}
}

// get returns the answer that is kept for k, with its TTLs as of now; nil if there is none.
func (c *cache) get(k key, now time.Time) *answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.by[k]
	if e == nil {
		return nil
	}
	one := e.Value.(*kept)
	switch age := now.Sub(one.since); {
	case age < one.ttl:
		c.used.MoveToFront(e)
		return one.answer.older(age, one.ttl-age)
	case now.Before(one.retry) && age < one.ttl+staleFor:
		return one.answer.stale()
	}
	return nil
}

// stale returns what was kept for k, if that was not too long ago, and gives it for a while
// without anybody being asked.
func (c *cache) stale(k key, now time.Time) *answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.by[k]
	if e == nil {
		return nil
	}
	one := e.Value.(*kept)
	if now.Sub(one.since) >= one.ttl+staleFor {
		c.drop(e)
		return nil
	}
	one.retry = now.Add(staleTTL)
	return one.answer.stale()
}

// put keeps a, which came just now, in place of what was kept for k.
func (c *cache) put(k key, a *answer, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.by[k]; e != nil {
		c.drop(e)
	}
	one := &kept{key: k, answer: a, since: now, ttl: a.ttl(k.question()), size: a.size()}
	if one.ttl <= 0 || one.size > c.bytes {
		return
	}
	c.by[k] = c.used.PushFront(one)
	c.size += one.size
	for c.used.Len() > c.entries || c.size > c.bytes {
		c.drop(c.used.Back())
	}
}

// drop takes e out. The lock is held.
func (c *cache) drop(e *list.Element) {
	one := c.used.Remove(e).(*kept)
	delete(c.by, one.key)
	c.size -= one.size
}
