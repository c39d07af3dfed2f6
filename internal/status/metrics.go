package status

import (
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

func goCollector() prometheus.Collector { return collectors.NewGoCollector() }

func processCollector() prometheus.Collector {
	return collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})
}

func place(hop, of int, name string) string { return fmt.Sprintf("%d/%d %s", hop, of, name) }

// Metrics returns the handler of what Prometheus asks for.
func (b *Board) Metrics() http.Handler {
	return promhttp.HandlerFor(b.registry, promhttp.HandlerOpts{})
}

// collector tells what has a state, when it is asked.
type collector struct{ b *Board }

var (
	openDesc   = prometheus.NewDesc("byway_tunnels_open", "Tunnels that are open now.", []string{"listener", "via"}, nil)
	bytesDesc  = prometheus.NewDesc("byway_bytes_total", "Bytes carried: up from clients, and down to them.", []string{"listener", "via", "direction"}, nil)
	sparesDesc = prometheus.NewDesc("byway_spare_tunnels", "Tunnels kept ready.", []string{"chain"}, nil)
	sessDesc   = prometheus.NewDesc("byway_sessions", "Connections to hops that carry many tunnels.", []string{"chain"}, nil)
	upDesc     = prometheus.NewDesc("byway_member_up", "1 if a member of a group is taken for alive.", []string{"chain", "group", "member"}, nil)
	latDesc    = prometheus.NewDesc("byway_member_latency_seconds", "The smoothed latency of a member; 0 if it is not measured.", []string{"chain", "group", "member"}, nil)
	liveDesc   = prometheus.NewDesc("byway_member_tunnels", "Tunnels and dials of a member.", []string{"chain", "group", "member"}, nil)
	pauseDesc  = prometheus.NewDesc("byway_hop_paused", "1 if a hop is paused.", []string{"hop"}, nil)
)

// Describe is of prometheus.Collector.
func (collector) Describe(c chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{openDesc, bytesDesc, sparesDesc, sessDesc, upDesc, latDesc, liveDesc, pauseDesc} {
		c <- d
	}
}

// Collect is of prometheus.Collector.
func (l collector) Collect(c chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		c <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	l.b.cells.Range(func(key, value any) bool {
		k, one := key.(cellKey), value.(*cell)
		gauge(openDesc, float64(one.open.Load()), k.listener, k.via)
		for direction, n := range map[string]int64{"up": one.meter.Up.Load(), "down": one.meter.Down.Load()} {
			c <- prometheus.MustNewConstMetric(bytesDesc, prometheus.CounterValue, float64(n), k.listener, k.via, direction)
		}
		return true
	})
	paused := make(map[string]bool)
	for _, ch := range l.b.chains() {
		gauge(sparesDesc, float64(ch.Holdings.Spares), ch.Name)
		gauge(sessDesc, float64(ch.Holdings.Sessions), ch.Name)
		pausedIn(ch.Hops, paused)
		told := make(map[[2]string]bool)
		for _, g := range ch.Groups {
			for _, m := range g.Members {
				if told[[2]string{g.Name, m.Name}] { // the same group on another path of a chain that chooses
					continue
				}
				told[[2]string{g.Name, m.Name}] = true
				alive := 0.0
				if m.Alive {
					alive = 1
				}
				gauge(upDesc, alive, ch.Name, g.Name, m.Name)
				gauge(latDesc, m.Latency.Seconds(), ch.Name, g.Name, m.Name)
				gauge(liveDesc, float64(m.Live), ch.Name, g.Name, m.Name)
			}
		}
	}
	for hop, is := range paused {
		v := 0.0
		if is {
			v = 1
		}
		gauge(pauseDesc, v, hop)
	}
}

func pausedIn(hops []HopState, into map[string]bool) {
	for _, h := range hops {
		if h.Within == nil {
			into[h.Name] = h.Paused
		}
		pausedIn(h.Within, into)
	}
}
