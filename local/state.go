package local

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/internal/status"
	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/route"
)

// A Watcher is told what a server does. Any of its fields may be nil.
type Watcher struct {
	Trace    *relay.Trace
	Reloaded func(err error)
	Fetched  func(list string, entries int, err error)
}

// Watch has w told. It comes before [Server.Serve].
func (s *Server) Watch(w Watcher) {
	s.watcher = w
	if w.Trace != nil {
		s.relay.Trace = s.relay.Trace.And(w.Trace)
	}
}

func (s *Server) fetched(list string, c *route.Contents, err error) {
	if s.watcher.Fetched == nil {
		return
	}
	n := 0
	if c != nil {
		n = c.Len()
	}
	s.watcher.Fetched(list, n, err)
}

// Chains is of status.Source.
func (s *Server) Chains() (all []status.ChainState) {
	p := s.now()
	for _, name := range s.Targets() {
		c := p.chains[name]
		if c == nil {
			continue
		}
		st := status.ChainState{Name: name, Groups: c.Groups(), Holdings: c.Holdings()}
		if ch, ok := part(p.config, name).(*configs.Chain); ok && ch.Mode == configs.ModeStrict {
			for _, hop := range ch.Hops {
				st.Hops = append(st.Hops, p.stateOf(hop))
			}
		} else {
			st.Hops = []status.HopState{p.stateOf(name)}
		}
		all = append(all, st)
	}
	return all
}

func (p *plan) stateOf(name string) status.HopState {
	h := status.HopState{Name: name}
	within := func(names []string) {
		for _, n := range names {
			h.Within = append(h.Within, p.stateOf(n))
		}
	}
	switch one := part(p.config, name).(type) {
	case *configs.Hop:
		h.Kind, h.Paused = one.URL.Scheme, p.pauses.of(name).Load()
	case *configs.Chain:
		h.Kind = "chain"
		if one.Mode != configs.ModeStrict {
			h.How = string(one.Mode)
		}
		within(one.Hops)
	case *configs.Group:
		h.Kind, h.How = "group", string(one.Strategy)
		within(one.Members)
	}
	return h
}

// Pause has no more tunnels opened through the hop called name, or lets them be opened again.
// What is open stays open. A reload changes nothing about it.
func (s *Server) Pause(name string, paused bool) error {
	p := s.now()
	if _, ok := part(p.config, name).(*configs.Hop); !ok {
		return fmt.Errorf("there is no hop %q", name)
	}
	if p.pauses.of(name).Swap(paused) != paused {
		s.log.Info("hop", "hop", name, "paused", paused)
	}
	return nil
}

// pauses say which hops are paused, by name. They outlive a plan.
type pauses struct {
	mu sync.Mutex
	by map[string]*atomic.Bool
}

func (p *pauses) of(name string) *atomic.Bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.by == nil {
		p.by = make(map[string]*atomic.Bool)
	}
	if p.by[name] == nil {
		p.by[name] = new(atomic.Bool)
	}
	return p.by[name]
}
