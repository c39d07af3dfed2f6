package doctor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/dnsask"
	"github.com/byway-proxy/byway/internal/gauge"
)

func (e *examination) note(s Step) { e.report.Whole = append(e.report.Whole, s) }

// whole examines what all hops together do.
func (e *examination) whole(ctx context.Context) {
	last := len(e.course.Hops)
	egress := e.exit(ctx)
	switch {
	case e.report.failed != nil:
		return
	case e.Target != "":
		e.say("the target, by hop %d/%d %s", last, last, e.course.Hops[last-1].Name)
		conn, took, err := e.reach(ctx, last, "tcp", e.Target)
		if err != nil {
			e.blame(last, took, err)
			return
		}
		_ = conn.Close()
		if egress {
			e.note(Step{Name: "target", Took: took, Detail: "connected to"})
			break
		}
		e.through(last, took)
		e.took = took
	case !egress:
		e.add(last-1, Step{Name: "auth", Left: "no target was named, and it is no egress of byway"})
	}
	e.udp(ctx)
	e.names(ctx)
	if egress && e.Throughput > 0 && e.report.failed == nil {
		e.throughput(ctx)
	}
}

// exit asks the last hop of itself, if it is an egress of byway: others know no such
// target. It reports whether it is one.
func (e *examination) exit(ctx context.Context) bool {
	last := len(e.course.Hops)
	h := &e.course.Hops[last-1]
	if h.TLS == nil {
		return false
	}
	e.say("hop %d/%d %s: the exit's own word", last, last, h.Name)
	conn, took, err := e.reach(ctx, last, "tcp", dnsask.Exit)
	if err != nil {
		var at *chain.Error
		if errors.As(err, &at) && (at.Hop != last || at.Phase != chain.PhaseConnect) {
			e.blame(last, took, err)
		}
		return false
	}
	defer conn.Close() //nolint:errcheck // the answer is there, or the error
	asked := time.Now()
	self, err := dnsask.AskSelf(ctx, conn)
	if err != nil {
		return false
	}
	e.through(last, took)
	e.took = took
	trip := time.Since(asked)
	skew := self.Clock.Sub(asked.Add(trip / 2)).Round(100 * time.Millisecond)
	var said []string
	for _, a := range self.Addrs {
		said = append(said, e.place(a))
	}
	if said == nil {
		said = []string{"it does not know its public address, as it is behind a NAT"}
	}
	e.note(Step{Name: "exit", Took: trip, Detail: strings.Join(said, ", ")})
	clock := Step{Name: "clock", Detail: "as here, within " + max(trip/2, 100*time.Millisecond).Round(100*time.Millisecond).String()}
	if skew.Abs() > trip/2+time.Second {
		clock.Detail = fmt.Sprintf("the exit's is %v ahead of the one here", skew)
		if skew < 0 {
			clock.Detail = fmt.Sprintf("the exit's is %v behind the one here", -skew)
		}
	}
	e.note(clock)
	return true
}

// place tells an address and its country.
func (e *examination) place(a netip.Addr) string {
	if e.Country == nil {
		return a.String()
	}
	if country := e.Country(a); country != "" {
		return fmt.Sprintf("%v (%s)", a, country)
	}
	return a.String()
}

// udp opens a flow, which sends nothing.
func (e *examination) udp(ctx context.Context) {
	last := len(e.course.Hops)
	target := e.Target
	if target == "" {
		target = dnsask.Exit
	}
	e.say("UDP")
	for k := range e.course.Hops {
		d, closing, err := e.first(k + 1)
		if err != nil {
			return
		}
		carries := chain.Carries(d, "udp")
		closing()
		if !carries {
			e.note(Step{Name: "udp", Left: fmt.Sprintf("hop %d/%d %s carries none", k+1, last, e.course.Hops[k].Name)})
			return
		}
	}
	conn, took, err := e.reach(ctx, last, "udp", target)
	if err != nil {
		// A chain without UDP is sound; a rule for UDP that leads here is not.
		e.note(Step{Name: "udp", Took: took, Error: chain.Reason(err)})
		return
	}
	_ = conn.Close()
	e.note(Step{Name: "udp", Took: took, Detail: "carried by all hops"})
}

// names has a name that nobody can know sent to the last hop, and looks whether anything left
// this machine but to hop 1.
func (e *examination) names(ctx context.Context) {
	last := len(e.course.Hops)
	e.say("where names go")
	e.base.forget()
	conn, took, err := e.reach(ctx, last, "tcp", strings.ToLower(rand.Text())+".invalid:443")
	if err == nil {
		_ = conn.Close()
	}
	if astray := e.base.besides(e.course.Hops[0].Addr); len(astray) > 0 {
		err := fmt.Errorf("this machine was made to dial %s, besides hop 1", strings.Join(astray, ", "))
		e.note(Step{Name: "names", Took: took, Error: err.Error()})
		if e.report.failed == nil {
			e.report.failed, e.at, e.step = err, 0, "names"
		}
		return
	}
	s := Step{Name: "names", Took: took, Detail: "resolved by " + e.course.Hops[last-1].Name + "; nothing left this machine but to hop 1"}
	if chain.Errno(err) == syscall.EAFNOSUPPORT {
		s.Detail = "not taken by " + e.course.Hops[last-1].Name + " (SOCKS4): requests by name fail; nothing left this machine but to hop 1"
	}
	e.note(s)
}

// throughput moves bytes with the egress, down and then up.
func (e *examination) throughput(ctx context.Context) {
	for _, way := range []struct {
		name    string
		measure func(context.Context, net.Conn, time.Duration) (float64, error)
	}{{"down", gauge.Down}, {"up", gauge.Up}} {
		e.say("throughput, %s", way.name)
		conn, took, err := e.reach(ctx, len(e.course.Hops), "tcp", gauge.Exit)
		if err != nil {
			e.note(Step{Name: way.name, Took: took, Error: chain.Reason(err)})
			continue
		}
		rate, err := way.measure(ctx, conn, e.Throughput)
		_ = conn.Close()
		if err != nil {
			e.note(Step{Name: way.name, Error: chain.Reason(err)})
			continue
		}
		e.note(Step{Name: way.name, Took: e.Throughput, Rate: rate, Detail: fmt.Sprintf("%.1f Mbit/s", rate*8/1e6)})
	}
}

// A witness is the base dialer, and remembers what it was asked for.
type witness struct {
	chain.Dialer

	mu    sync.Mutex
	asked []string
}

func (w *witness) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	w.mu.Lock()
	if !slices.Contains(w.asked, addr) {
		w.asked = append(w.asked, addr)
	}
	w.mu.Unlock()
	return w.Dialer.DialContext(ctx, network, addr)
}

// Carries is of chain.Carrier.
func (w *witness) Carries(network string) bool { return chain.Carries(w.Dialer, network) }

func (w *witness) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = nil
}

// besides returns what was dialled other than addr.
func (w *witness) besides(addr string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.asked), func(a string) bool { return a == addr })
}
