package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/local/lists"
	"github.com/byway-proxy/byway/relay"
)

// A Difference tells people what a reload changed.
type Difference struct {
	Opened, Closed, Kept         int // addresses that are listened on
	NewChains, GoneChains, Chain int // chains and groups that routes may lead to; those that were kept
	Live                         int // tunnels, which go on as they began
}

func (d Difference) String() string {
	return fmt.Sprintf("listeners: %d kept, %d opened, %d closed; chains: %d kept, %d new, %d gone; %d tunnels live on",
		d.Kept, d.Opened, d.Closed, d.Chain, d.NewChains, d.GoneChains, d.Live)
}

// Reload serves c from now on, in place of the configuration before. What is the
// same in both is not touched: open addresses, chains with their spares and sessions, lists,
// users. Live tunnels go on as they began. Each request is decided by one configuration
// as a whole. If anything about c is wrong, or an address of it can't be listened on, nothing has changed;
// errors have their place in the file.
func (s *Server) Reload(ctx context.Context, c *configs.Client) (Difference, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return Difference{}, errStopping
	}
	old := s.now()
	if !reflect.DeepEqual(old.config.Status, c.Status) {
		s.log.Warn("[status] has changed, which takes a restart; all else is reloaded")
	}
	p, err := build(c, s.base, old, s.log)
	if err != nil {
		return Difference{}, err
	}
	o, err := s.open(ctx, p, s.in)
	if err != nil {
		p.close(old)
		return Difference{}, err
	}
	if err := s.moveControl(ctx, p); err != nil {
		o.discard()
		p.close(old)
		return Difference{}, err
	}
	return s.commit(o, old), nil
}

// commit makes the plan of o the one in force. It can't fail. s.mu is held.
func (s *Server) commit(o *opening, old *plan) Difference {
	p, gone := o.p, o.before.without(&o.now)
	if p.config.StandsIn() {
		s.stand.on.Store(true)
	}
	s.plan.Store(p)
	s.limit(p)
	for _, cast := range o.casts {
		cast()
	}
	s.in = &o.now
	if run := s.serving; run != nil {
		run.serve(s, o.now.without(o.before))
		run.keep(s, p.sources)
	}
	left := gone.all()
	for _, c := range left {
		_ = c.Close()
	}
	for _, d := range gone.doors {
		d.role.Load().retire()
	}
	if run := s.serving; run != nil {
		for _, n := range gone.names {
			run.wg.Go(n.finish)
		}
		run.retire(old, p)
	} else {
		old.close(p)
	}
	for _, note := range p.notes {
		s.log.Warn(note)
	}
	d := Difference{Closed: len(left), Live: s.relay.Live()}
	d.Kept = len(o.before.all()) - d.Closed
	d.Opened = len(o.now.all()) - d.Kept
	for name, ch := range p.chains {
		if old.chains[name] == ch {
			d.Chain++
		}
	}
	d.NewChains, d.GoneChains = len(p.chains)-d.Chain, len(old.chains)-d.Chain
	s.log.Info("reloaded", "listeners", len(o.now.all()), "opened", d.Opened, "closed", d.Closed,
		"chains", len(p.chains), "new", d.NewChains, "gone", d.GoneChains, "tunnels", d.Live)
	return d
}

// limit puts the limits of p in force.
func (s *Server) limit(p *plan) {
	t := &p.config.Timeouts
	s.gate.set(p.limits)
	s.flows.Set(int(p.config.Limits.UDPFlowsPerAssociation), int(p.config.Limits.UDPFlows)) //nolint:gosec // configs gives no others
	s.relay.SetLimits(relay.Limits{
		DialLimit: t.Dial, IdleLimit: t.Idle, FlowIdleLimit: t.UDPIdle,
		Limit:       int(p.limits.Tunnels),          //nolint:gosec // less than 2^31
		ClientLimit: int(p.limits.TunnelsPerClient), //nolint:gosec // less than 2^31
	})
}

func (s *Server) chmod(path string, mode fs.FileMode) {
	if err := os.Chmod(path, mode); err != nil {
		s.log.Error("the socket has its old mode", "socket", path, "error", errors.Unwrap(err))
	}
}

// serving is what runs while a server serves. What is added to it is under the lock
// of the server.
type serving struct {
	work      context.Context // of the conns: it outlives that of Serve
	ctx       context.Context // that of Serve
	accepting sync.WaitGroup
	keepers   map[*lists.Source]context.CancelFunc
	leaving   map[*leaver]struct{}
	mu        sync.Mutex // of leaving
	wg        sync.WaitGroup
}

// accept runs f, which ends when what it accepts from is closed.
func (r *serving) accept(f func()) { r.accepting.Go(f) }

// serve serves what comes in by e.
func (r *serving) serve(s *Server, e entrances) {
	for _, d := range e.doors {
		r.accept(func() { s.accept(r.work, d) })
	}
	for _, u := range e.flows {
		r.accept(func() { u.serve(r.work) })
	}
	for _, n := range e.names {
		r.accept(n.serve)
	}
}

// keep keeps the lists of sources fresh, and no others.
func (r *serving) keep(s *Server, sources []*lists.Source) {
	for source, stop := range r.keepers {
		if !slices.Contains(sources, source) {
			stop()
			delete(r.keepers, source)
		}
	}
	for _, source := range sources {
		if r.keepers[source] != nil {
			continue
		}
		ctx, stop := context.WithCancel(r.ctx)
		r.keepers[source] = stop
		r.accept(func() { source.Run(ctx, s.listTrace()) })
	}
}

// A leaver is chains, and the like, that are no more in force.
type leaver struct {
	all   []closer
	timer *time.Timer
}

// patience is how often it is looked whether a leaver is still needed: between a request's
// routing and its dial there is less.
const patience = time.Second

// retire closes the chains of old that now has no more, when nobody dials by them.
func (r *serving) retire(old, now *plan) {
	l := &leaver{all: old.without(now)}
	if l.all == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leaving[l] = struct{}{}
	l.timer = time.AfterFunc(patience, func() { r.leave(l) })
}

// leave closes l, or looks again later.
func (r *serving) leave(l *leaver) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, there := r.leaving[l]; !there {
		return
	}
	for _, c := range l.all {
		if c.Dialing() > 0 {
			l.timer.Reset(patience)
			return
		}
	}
	delete(r.leaving, l)
	r.wg.Go(l.close) // which may wait for what the chain has under way
}

func (l *leaver) close() {
	for _, c := range l.all {
		_ = c.Close()
	}
}

// end closes what is leaving, now.
func (r *serving) end() {
	r.mu.Lock()
	leaving := r.leaving
	r.leaving = nil
	r.mu.Unlock()
	for l := range leaving {
		l.timer.Stop()
		l.close()
	}
	r.wg.Wait()
}
