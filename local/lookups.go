package local

import (
	"container/list"
	"context"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"github.com/byway-proxy/byway/chain"
)

const (
	lookupFor   = time.Minute // what a look-up came to is used; its own TTL does not come along
	mostLookups = 4096
)

// lookups has names resolved for rules through a chain, and keeps for a while what it was
// told: for the identity that asked, so that none can tell by the time it takes what another
// looked up.
type lookups struct {
	*chain.Chain
	via string
	log *slog.Logger

	mu      sync.Mutex
	used    list.List // of *lookup, the latest first
	by      map[lookupKey]*list.Element
	failing bool
}

type lookupKey struct{ identity, host string }

type lookup struct {
	key   lookupKey
	addr  string
	until time.Time
}

// lookup returns what rules look names up by through the chain called via.
func (p *plan) lookup(via string, ch *chain.Chain, log *slog.Logger) *lookups {
	l := p.lookups[via]
	if l == nil {
		if p.lookups == nil {
			p.lookups = make(map[string]*lookups)
		}
		l = &lookups{Chain: ch, via: via, log: log}
		p.lookups[via] = l
	}
	return l
}

// Resolve is of chain.Resolver.
func (l *lookups) Resolve(ctx context.Context, host string) (string, error) {
	k := lookupKey{chain.IdentityOf(ctx).Key, host}
	if addr, ok := l.known(k); ok {
		return addr, nil
	}
	addr, err := l.Chain.Resolve(ctx, host)
	if err == nil {
		l.keep(k, addr)
	}
	l.tell(ctx, err)
	return addr, err
}

func (l *lookups) known(k lookupKey) (string, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.by[k]
	if e == nil {
		return "", false
	}
	one := e.Value.(*lookup)
	if !time.Now().Before(one.until) {
		l.drop(e)
		return "", false
	}
	l.used.MoveToFront(e)
	return one.addr, true
}

func (l *lookups) keep(k lookupKey, addr string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.by[k]; e != nil {
		l.drop(e)
	}
	if l.by == nil {
		l.by = make(map[lookupKey]*list.Element)
	}
	l.by[k] = l.used.PushFront(&lookup{k, addr, time.Now().Add(lookupFor)})
	if l.used.Len() > mostLookups {
		l.drop(l.used.Back())
	}
}

// drop takes e out. The lock is held.
func (l *lookups) drop(e *list.Element) { delete(l.by, l.used.Remove(e).(*lookup).key) }

// tell logs when look-ups begin to fail, and when they work again. That there is no such name is
// an answer; that nobody waited for one says nothing.
func (l *lookups) tell(ctx context.Context, err error) {
	if err != nil && context.Cause(ctx) == context.Canceled {
		return
	}
	failed := err != nil && chain.TargetErrno(err) != syscall.EHOSTUNREACH
	l.mu.Lock()
	news := l.failing != failed
	l.failing = failed
	l.mu.Unlock()
	switch {
	case news && failed:
		l.log.Warn("look-ups for rules fail, so what depends on them is blocked", "via", l.via, "error", chain.Reason(err))
	case news:
		l.log.Info("look-ups for rules work again", "via", l.via)
	}
}
