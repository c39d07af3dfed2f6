package names

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	questionLimit = 5 * time.Second  // for an answer, from whichever server
	failedFor     = 30 * time.Second // a server that failed is asked last
)

// A resolver asks servers, of which the first that works is asked, and keeps the answers.
// All of it is of one identity: another one has a resolver of its own.
type resolver struct {
	servers []*server
	cache   *cache
	ctx     context.Context // ends with Close
	end     context.CancelFunc
	wg      sync.WaitGroup // of flights

	mu      sync.Mutex
	flights map[key]*flight
	over    bool
}

// A server is an upstream and what is known of it.
type server struct {
	upstream
	standing *standing
	failed   time.Time // guarded by the resolver
}

// An upstream is a way to ask one server.
type upstream interface {
	// ask returns the answer to the question k. It ends when ctx does.
	ask(ctx context.Context, k key) (*answer, error)

	// close closes the conns that are kept, once no question is under way.
	close()
}

// A flight is a question that is being asked, for all who ask it at the time.
type flight struct {
	done   chan struct{}
	answer *answer // nil if there is none
}

func newResolver(entries int) *resolver {
	r := &resolver{cache: newCache(entries), flights: make(map[key]*flight)}
	r.ctx, r.end = context.WithCancel(context.Background())
	return r
}

// ask returns the answer to k, or nil if nobody has one.
func (r *resolver) ask(ctx context.Context, k key) *answer {
	f := r.join(k)
	if f == nil {
		return nil
	}
	select {
	case <-f.done:
		return f.answer
	case <-ctx.Done():
		return nil
	}
}

// join returns the flight for k. It is nil when r is closed.
func (r *resolver) join(k key) *flight {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return nil
	}
	f := r.flights[k]
	if f == nil {
		f = &flight{done: make(chan struct{})}
		r.flights[k] = f
		r.wg.Go(func() {
			f.answer = r.find(k)
			r.mu.Lock()
			delete(r.flights, k)
			r.mu.Unlock()
			close(f.done)
		})
	}
	return f
}

// find asks the servers for k, and keeps what they say.
func (r *resolver) find(k key) *answer {
	if a := r.cache.get(k, time.Now()); a != nil { // a flight may have landed just now
		return a
	}
	ctx, cancel := context.WithTimeout(r.ctx, questionLimit)
	defer cancel()
	a := r.askAll(ctx, k)
	if a != nil && !failure(a.rcode) {
		r.cache.put(k, a, time.Now())
		return a
	}
	if a == nil || !a.bogus {
		if old := r.cache.stale(k, time.Now()); old != nil {
			return old
		}
	}
	return a
}

// failure reports whether a server that answers so has no answer.
func failure(rcode int) bool { return rcode != dns.RcodeSuccess && rcode != dns.RcodeNameError }

// askAll asks one server after the other, until one has an answer. Each has its share of the
// time. Where all fail, it returns what the first one said that said anything.
func (r *resolver) askAll(ctx context.Context, k key) (first *answer) {
	order := r.order()
	for i, s := range order {
		a, err := askOne(ctx, s, k, len(order)-i)
		if ctx.Err() != nil && err != nil && r.ctx.Err() != nil {
			return nil // shutting down says nothing of a server
		}
		r.mark(s, err)
		s.tell(a, err)
		switch {
		case err != nil:
		case !failure(a.rcode), a.bogus:
			return a
		case first == nil:
			first = a
		}
	}
	return first
}

func askOne(ctx context.Context, s *server, k key, left int) (*answer, error) {
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(end)/time.Duration(left))
		defer cancel()
	}
	a, err := s.ask(ctx, k)
	if err == nil && a == nil {
		err = errors.New("no answer")
	}
	return a, err
}

// order returns the servers, those last that failed of late.
func (r *resolver) order() []*server {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	var good, bad []*server
	for _, s := range r.servers {
		if !s.failed.IsZero() && now.Sub(s.failed) < failedFor {
			bad = append(bad, s)
		} else {
			good = append(good, s)
		}
	}
	return append(good, bad...)
}

func (r *resolver) mark(s *server, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.failed = time.Time{}
	if err != nil {
		s.failed = time.Now()
	}
}

// tell notes how s fared.
func (s *server) tell(a *answer, err error) {
	if err == nil {
		if err = refused(a); err == nil && failure(a.rcode) && !a.bogus {
			return // it may be right
		}
	}
	s.standing.note(err)
}

// retire lets what is under way come to its end, then closes r. It does not wait.
func (r *resolver) retire(wg *sync.WaitGroup) {
	r.refuse()
	wg.Go(func() {
		r.wg.Wait()
		r.shut()
	})
}

// Close ends what is under way.
func (r *resolver) Close() {
	r.refuse()
	r.end()
	r.wg.Wait()
	r.shut()
}

func (r *resolver) refuse() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
}

func (r *resolver) refused() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.over
}

func (r *resolver) shut() {
	r.end()
	for _, s := range r.servers {
		s.close()
	}
}
