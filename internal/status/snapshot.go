package status

import (
	"context"
	"slices"
	"time"

	"github.com/byway-proxy/byway/chain"
)

// keep is how many seconds the plots go back.
const keep = 300

// Run takes a sample each second until ctx ends.
func (b *Board) Run(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			b.tick()
		}
	}
}

func (b *Board) tick() {
	_, total := b.sums()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.history = append(b.history, total.since(b.last))
	b.last = total
	if len(b.history) > 2*keep {
		b.history = slices.Delete(b.history, 0, len(b.history)-keep)
	}
}

// A Snapshot is what a page is told, each second.
type Snapshot struct {
	At       time.Time `json:"at"`
	Uptime   int64     `json:"uptime"` // seconds
	Total    Sample    `json:"total"`
	History  []Sample  `json:"history"` // by second, the newest last
	Ways     []Way     `json:"ways"`
	Failures []Failure `json:"failures"` // the newest first
}

// A Way is a chain, "direct", or what else tunnels went by.
type Way struct {
	Name     string `json:"name"`
	Total    Sample `json:"total"`
	Hops     []Hop  `json:"hops,omitempty"`
	Spares   int    `json:"spares"`
	Sessions int    `json:"sessions"`
}

// A Hop is one of a way, or a group of which one is taken.
type Hop struct {
	Name    string  `json:"name"`
	Kind    string  `json:"kind"`
	How     string  `json:"how,omitempty"`
	Paused  bool    `json:"paused,omitempty"`
	Judged  bool    `json:"judged,omitempty"` // whether there is a health
	Alive   bool    `json:"alive"`
	Latency float64 `json:"latency,omitempty"` // milliseconds; 0 if not measured
	Live    int     `json:"live,omitempty"`
	Retry   string  `json:"retry,omitempty"` // when it is tried again, if it is not alive
	Error   string  `json:"error,omitempty"`
	Within  []Hop   `json:"within,omitempty"`
}

// Snapshot tells how all is. first has it tell all of the history, else the last second.
func (b *Board) Snapshot(first bool) Snapshot {
	sums, total := b.sums()
	s := Snapshot{At: time.Now(), Uptime: int64(time.Since(b.began).Seconds()), Total: total}
	for _, c := range b.chains() {
		s.Ways = append(s.Ways, wayOf(&c, sums[c.Name]))
		delete(sums, c.Name)
	}
	for _, name := range sorted(sums) {
		if name != "block" {
			s.Ways = append(s.Ways, Way{Name: name, Total: *sums[name]})
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s.History = append([]Sample{}, b.history[max(0, len(b.history)-keep):]...) // in JSON, none is no null
	if !first {
		s.History = s.History[max(0, len(s.History)-1):]
	}
	s.Failures = slices.Clone(b.failures[max(0, len(b.failures)-maxFailures):])
	slices.Reverse(s.Failures)
	return s
}

func wayOf(c *ChainState, total *Sample) Way {
	w := Way{Name: c.Name, Spares: c.Holdings.Spares, Sessions: c.Holdings.Sessions}
	if total != nil {
		w.Total = *total
	}
	health := make(map[string]chain.MemberStatus) // by name of the member
	for _, g := range c.Groups {
		for _, m := range g.Members {
			if old, ok := health[m.Name]; !ok || old.Alive {
				health[m.Name] = m
			}
		}
	}
	w.Hops = hopsOf(c.Hops, health)
	return w
}

func hopsOf(states []HopState, health map[string]chain.MemberStatus) []Hop {
	var all []Hop
	for _, s := range states {
		h := Hop{Name: s.Name, Kind: s.Kind, How: s.How, Paused: s.Paused, Alive: true, Within: hopsOf(s.Within, health)}
		if m, ok := health[s.Name]; ok {
			h.Judged, h.Alive, h.Live = true, m.Alive, m.Live
			h.Latency = float64(m.Latency.Microseconds()) / 1000
			if !m.Alive {
				h.Retry = m.Retry.Format(time.RFC3339)
				h.Error = chain.Reason(m.Err)
			}
		}
		all = append(all, h)
	}
	return all
}
