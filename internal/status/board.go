package status

import (
	"cmp"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/relay"
)

// A Source is asked for what has a state. Its methods are called while it serves.
type Source interface {
	// Chains tells of the chains and groups that a rule may lead to, in the order of the file.
	Chains() []ChainState
}

// A ChainState tells how a chain is.
type ChainState struct {
	Name     string
	Hops     []HopState
	Groups   []chain.GroupStatus
	Holdings chain.Holdings
}

// A HopState is a hop of a chain, or a group or chain in place of one.
type HopState struct {
	Name   string
	Kind   string     // a scheme, "group" or "chain"
	How    string     // of a group its strategy, of a chain its mode
	Paused bool       // of a hop
	Within []HopState // members, or hops
}

// A Board collects what happens. Make one by [New].
type Board struct {
	registry *prometheus.Registry
	source   Source
	began    time.Time

	opened  *prometheus.CounterVec
	failed  *prometheus.CounterVec
	blocked *prometheus.CounterVec
	bad     *prometheus.CounterVec
	took    *prometheus.HistogramVec
	reloads *prometheus.CounterVec
	fetches *prometheus.CounterVec
	entries *prometheus.GaugeVec

	cells sync.Map // of *cell by cellKey

	mu       sync.Mutex
	failures []Failure // the last ones, the newest at the end
	history  []Sample  // one a second
	last     Sample    // totals at the last tick
}

// cellKey is what tunnels are counted by.
type cellKey struct{ listener, via string }

// A cell counts the tunnels of a listener and a chain. It is asked for with each tunnel, and so
// holds what else would be looked up.
type cell struct {
	meter  relay.Meter
	open   atomic.Int64
	total  atomic.Int64
	failed atomic.Int64
	micros atomic.Int64 // that opening took, of all together
	opened prometheus.Counter
	took   prometheus.Observer
}

// A Failure is a tunnel that was not opened.
type Failure struct {
	At    time.Time `json:"at"`
	Via   string    `json:"via"`
	Hop   string    `json:"hop,omitempty"` // "2/3 paris"
	Phase string    `json:"phase,omitempty"`
	Text  string    `json:"text"`
}

// maxFailures bounds those that are kept.
const maxFailures = 50

// New returns a board of source, which may be nil. version is of the program.
func New(source Source, version string) *Board {
	b := &Board{registry: prometheus.NewRegistry(), source: source, began: time.Now()}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		b.registry.MustRegister(v)
		return v
	}
	b.opened = counter("byway_tunnels_opened_total", "Tunnels that reached their target.", "listener", "via")
	b.failed = counter("byway_tunnels_failed_total", "Tunnels that did not, by the hop at fault, its phase and the cause.", "via", "hop", "phase", "cause")
	b.blocked = counter("byway_requests_blocked_total", "Requests that a rule blocked, by its place in the file.", "listener", "rule")
	b.bad = counter("byway_bad_clients_total", "Clients that did not come as far as a request.", "listener")
	b.reloads = counter("byway_reloads_total", "Reloads of the configuration.", "outcome")
	b.fetches = counter("byway_list_fetches_total", "Fetches of lists from URLs.", "list", "outcome")
	b.entries = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "byway_list_entries", Help: "Entries of a list that is fetched."}, []string{"list"})
	b.took = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "byway_tunnel_open_seconds", Help: "From the request to a target that is reached.",
		Buckets: []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
	}, []string{"via"})
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "byway_build_info", Help: "1, with the version as a label."}, []string{"version"})
	build.WithLabelValues(version).Set(1)
	b.registry.MustRegister(b.entries, b.took, build, collector{b}, goCollector(), processCollector())
	return b
}

// cell returns the one of a tunnel.
func (b *Board) cell(r *relay.Request, d *relay.Decision) *cell {
	key := cellKey{r.Listener, d.Via}
	if c, ok := b.cells.Load(key); ok {
		return c.(*cell)
	}
	c := &cell{opened: b.opened.WithLabelValues(r.Listener, d.Via), took: b.took.WithLabelValues(d.Via)}
	got, _ := b.cells.LoadOrStore(key, c)
	return got.(*cell)
}

// Trace returns what tells b of a relay.
func (b *Board) Trace() *relay.Trace {
	return &relay.Trace{
		Meter: func(r relay.Request, d relay.Decision) *relay.Meter { return &b.cell(&r, &d).meter },
		Opened: func(r relay.Request, d relay.Decision, took time.Duration) {
			c := b.cell(&r, &d)
			c.open.Add(1)
			c.total.Add(1)
			c.micros.Add(took.Microseconds())
			c.opened.Inc()
			c.took.Observe(took.Seconds())
		},
		Closed:    func(r relay.Request, d relay.Decision, _ relay.Stats) { b.cell(&r, &d).open.Add(-1) },
		Failed:    func(r relay.Request, d relay.Decision, err error) { b.fail(&r, &d, err) },
		BadClient: func(listener string, _ error) { b.bad.WithLabelValues(listener).Inc() },
	}
}

func (b *Board) fail(r *relay.Request, d *relay.Decision, err error) {
	if errors.Is(err, relay.ErrBlocked) {
		b.blocked.WithLabelValues(r.Listener, d.Rule).Inc()
		return
	}
	b.cell(r, d).failed.Add(1)
	f := Failure{At: time.Now(), Via: d.Via, Text: chain.Reason(err)}
	hop := ""
	var e *chain.Error
	if errors.As(err, &e) && e.Hop > 0 {
		hop, f.Phase = e.Name, string(e.Phase)
		f.Hop = place(e.Hop, e.Hops, e.Name)
		f.Text = chain.Reason(e.Err)
	}
	b.failed.WithLabelValues(d.Via, hop, f.Phase, causeOf(err)).Inc()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures = append(b.failures, f)
	if len(b.failures) > 2*maxFailures {
		b.failures = slices.Delete(b.failures, 0, maxFailures)
	}
}

// causeOf is a word for the cause of err, of a list that is complete.
func causeOf(err error) string {
	switch chain.Errno(err) {
	case syscall.ECONNREFUSED:
		return "refused"
	case syscall.ENETUNREACH, syscall.EHOSTUNREACH:
		return "unreachable"
	case syscall.ETIMEDOUT:
		return "timed out"
	case syscall.ECONNRESET:
		return "reset"
	case syscall.EACCES:
		return "denied"
	case syscall.EAFNOSUPPORT, syscall.EOPNOTSUPP:
		return "unsupported"
	case syscall.EMFILE:
		return "limit"
	}
	if errors.Is(err, chain.ErrPaused) {
		return "paused"
	}
	return "other"
}

// Reloaded notes a reload.
func (b *Board) Reloaded(err error) { b.reloads.WithLabelValues(outcome(err)).Inc() }

// Fetched notes that a list was fetched, and how many entries it has then, or why not.
func (b *Board) Fetched(list string, entries int, err error) {
	b.fetches.WithLabelValues(list, outcome(err)).Inc()
	if err == nil {
		b.entries.WithLabelValues(list).Set(float64(entries))
	}
}

func outcome(err error) string {
	if err != nil {
		return "failed"
	}
	return "done"
}

// chains asks the source.
func (b *Board) chains() []ChainState {
	if b.source == nil {
		return nil
	}
	return b.source.Chains()
}

// sums adds up the cells, by chain.
func (b *Board) sums() (all map[string]*Sample, total Sample) {
	all = make(map[string]*Sample)
	b.cells.Range(func(key, value any) bool {
		k, c := key.(cellKey), value.(*cell)
		s := all[k.via]
		if s == nil {
			s = new(Sample)
			all[k.via] = s
		}
		one := Sample{
			Open: c.open.Load(), Opened: c.total.Load(), Failed: c.failed.Load(), Micros: c.micros.Load(),
			Up: c.meter.Up.Load(), Down: c.meter.Down.Load(),
		}
		s.add(&one)
		total.add(&one)
		return true
	})
	return all, total
}

// A Sample is counts at a moment, or within a second.
type Sample struct {
	Open   int64 `json:"open"`
	Opened int64 `json:"opened"`
	Failed int64 `json:"failed"`
	Up     int64 `json:"up"`
	Down   int64 `json:"down"`
	Micros int64 `json:"micros"` // that opening took, of all Opened together
}

func (s *Sample) add(o *Sample) {
	s.Open += o.Open
	s.Opened += o.Opened
	s.Failed += o.Failed
	s.Up += o.Up
	s.Down += o.Down
	s.Micros += o.Micros
}

// since returns what was added to s since before; what is open is as it is.
func (s Sample) since(before Sample) Sample {
	return Sample{s.Open, s.Opened - before.Opened, s.Failed - before.Failed, s.Up - before.Up, s.Down - before.Down, s.Micros - before.Micros}
}

// sorted returns the keys of m in order.
func sorted[V any](m map[string]V) []string {
	var all []string
	for k := range m {
		all = append(all, k)
	}
	slices.SortFunc(all, cmp.Compare)
	return all
}
