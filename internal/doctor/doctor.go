package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/byway-proxy/byway/chain"
)

// A Hop is one hop of a course.
type Hop struct {
	chain.Hop
	Scheme string      // that of its URL
	Addr   string      // host:port, or the path of a socket of this machine
	TLS    *tls.Config // of a hop that is reached by TLS, as the hop itself has it; nil for others
	Unix   bool        // Addr is a path
}

// A Course is one way through the hops of a chain or group.
type Course struct {
	Name string // of the chain or group, and of the members of groups that were chosen
	Base chain.Dialer
	Hops []Hop
}

// Options say what is examined. The zero value is good.
type Options struct {
	// Target is host:port to connect to at the end. Without one an egress of byway is
	// asked of itself, and nothing is connected to behind another last hop.
	Target string

	// Throughput moves data with an egress of byway for as long each way; 0 does not.
	Throughput time.Duration

	// Limit bounds each step; 0 means 15 s.
	Limit time.Duration

	// Resolver looks up the name of hop 1, as the system does when it is dialled; nil
	// leaves that out.
	Resolver interface {
		LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	}

	// Country, if not nil, tells the country of an address, or "".
	Country func(netip.Addr) string

	// Progress, if not nil, is told what is being done.
	Progress func(what string)
}

// A Step is one thing that was tried.
type Step struct {
	Name   string        `json:"step"` // name, tcp, tls, auth, connect, exit, udp, names, down or up
	Took   time.Duration `json:"took_ns,omitempty"`
	Detail string        `json:"detail,omitempty"` // for people
	Rate   float64       `json:"bytes_per_second,omitempty"`
	Error  string        `json:"error,omitempty"`
	Left   string        `json:"left_out,omitempty"` // why it was not tried
}

// Failed reports whether the step was tried in vain.
func (s *Step) Failed() bool { return s.Error != "" }

// A HopReport is what was found of one hop.
type HopReport struct {
	Name  string        `json:"name"`
	Kind  string        `json:"kind"` // its scheme
	Addr  string        `json:"address"`
	Steps []Step        `json:"steps"`
	Adds  time.Duration `json:"adds_ns"` // to the time in which a tunnel opens
}

// A Report is what was found of a course.
type Report struct {
	Course  string      `json:"course"`
	Hops    []HopReport `json:"hops"`
	Whole   []Step      `json:"whole"` // of all hops together
	OK      bool        `json:"ok"`
	Verdict string      `json:"verdict"` // one line
	Remedy  string      `json:"remedy,omitempty"`

	failed error // of the first step that failed
}

// Examine examines c. It ends early when ctx does.
func Examine(ctx context.Context, c Course, o Options) *Report {
	if o.Limit <= 0 {
		o.Limit = 15 * time.Second
	}
	e := &examination{Options: o, course: c, base: &witness{Dialer: c.Base}}
	e.report.Course = c.Name
	for k := range c.Hops {
		h := &c.Hops[k]
		e.report.Hops = append(e.report.Hops, HopReport{Name: h.Name, Kind: h.Scheme, Addr: h.Addr})
	}
	for k := range c.Hops {
		if !e.hop(ctx, k) {
			return e.end()
		}
	}
	e.whole(ctx)
	return e.end()
}

// An examination is a report in the making.
type examination struct {
	Options
	course Course
	base   *witness
	report Report
	took   time.Duration // to reach the last hop that was reached
	at     int           // the index of the hop that failed
	step   string        // in which it did
}

func (e *examination) say(format string, args ...any) {
	if e.Progress != nil {
		e.Progress(fmt.Sprintf(format, args...))
	}
}

// add notes a step of hop k.
func (e *examination) add(k int, s Step) { e.report.Hops[k].Steps = append(e.report.Hops[k].Steps, s) }

// fault notes a step of hop k that failed.
func (e *examination) fault(k int, name string, took time.Duration, err error) {
	e.add(k, Step{Name: name, Took: took, Error: reason(err)})
	if e.report.failed == nil {
		e.report.failed, e.at, e.step = err, k, name
	}
}

// reason is what err says, without the place that is told beside it.
func reason(err error) string {
	var at *chain.Error
	if errors.As(err, &at) {
		err = at.Err
	}
	return strings.TrimPrefix(chain.Reason(err), "tls: ") // the step's name is told beside it
}

// hop examines hop k: its name, the way to it, and its TLS. What it does for others is
// seen when the next one is reached. It reports whether there is a point in going on.
func (e *examination) hop(ctx context.Context, k int) bool {
	h := &e.course.Hops[k]
	e.say("hop %d/%d %s", k+1, len(e.course.Hops), h.Name)
	if !e.name(ctx, k) {
		return false
	}
	if h.Unix {
		e.add(k, Step{Name: "tcp", Left: "it is at " + h.Addr + ", a socket of this machine"})
		return true
	}
	conn, took, err := e.reach(ctx, k, "tcp", h.Addr)
	if err != nil {
		e.blame(k, took, err)
		return false
	}
	defer conn.Close() //nolint:errcheck // nothing was written that could be lost
	e.through(k, took)
	e.add(k, Step{Name: "tcp", Took: max(took-e.took, 0), Detail: e.reached(k, conn)})
	e.report.Hops[k].Adds = max(took-e.took, 0)
	e.took = took
	return e.tls(ctx, k, conn)
}

// name looks up the name of hop k where this machine does that.
func (e *examination) name(ctx context.Context, k int) bool {
	h := &e.course.Hops[k]
	host, _, err := net.SplitHostPort(h.Addr)
	_, perr := netip.ParseAddr(host)
	switch {
	case h.Unix, err == nil && perr == nil:
		return true
	case k > 0:
		e.add(k, Step{Name: "name", Left: "resolved by hop " + e.course.Hops[k-1].Name + ", never here"})
		return true
	case e.Resolver == nil:
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, e.Limit)
	defer cancel()
	began := time.Now()
	addrs, err := e.Resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		e.fault(k, "name", time.Since(began), err)
		return false
	}
	detail := "by this system:"
	for _, a := range addrs {
		detail += " " + a.Unmap().String()
	}
	e.add(k, Step{Name: "name", Took: time.Since(began), Detail: detail})
	return true
}

// reach dials by the first k hops, none of which keeps anything afterwards.
func (e *examination) reach(ctx context.Context, k int, network, addr string) (net.Conn, time.Duration, error) {
	d, closing, err := e.first(k)
	if err != nil {
		return nil, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, e.Limit*time.Duration(k+1))
	defer cancel()
	began := time.Now()
	conn, err := d.DialContext(ctx, network, addr)
	took := time.Since(began)
	if err != nil {
		closing()
		return nil, took, err
	}
	return &closer{conn, closing}, took, nil
}

// first returns a dialer by the first k hops.
func (e *examination) first(k int) (d chain.Dialer, closing func(), err error) {
	if k == 0 {
		return e.base, func() {}, nil
	}
	hops := make([]chain.Hop, k)
	for i := range hops {
		hops[i] = e.course.Hops[i].Hop
	}
	c, err := chain.New(e.base, hops...)
	if err != nil {
		return nil, nil, err
	}
	return c, func() { _ = c.Close() }, nil
}

// closer is a conn, and the chain that opened it.
type closer struct {
	net.Conn
	closing func()
}

func (c *closer) Close() error {
	err := c.Conn.Close()
	c.closing()
	return err
}

// blame notes why what stands at k, a hop or the target behind all, was not reached.
func (e *examination) blame(k int, took time.Duration, err error) {
	var at *chain.Error
	switch {
	case k == 0:
		e.fault(0, "tcp", took, err)
	case !errors.As(err, &at) || at.Hop < 1 || at.Hop > k:
		e.fault(k-1, "connect", took, err)
	case at.Hop < k: // it had been good a moment ago
		e.fault(at.Hop-1, stepOf(at.Phase), took, err)
	case at.Phase != chain.PhaseConnect:
		e.fault(k-1, stepOf(at.Phase), took, err)
	case k < len(e.course.Hops) && chain.TargetErrno(err) != 0 && !denied(err):
		e.through(k, 0)
		e.fault(k, "tcp", took, err) // what hop k-1 says of the way to it
	default:
		e.accepted(k - 1)
		e.fault(k-1, "connect", took, err)
	}
}

func stepOf(p chain.Phase) string {
	if p == chain.PhaseDial {
		return "tcp"
	}
	return string(p)
}

// through notes that the hop before k has let something through.
func (e *examination) through(k int, took time.Duration) {
	if k == 0 {
		return
	}
	e.accepted(k - 1)
	if k == len(e.course.Hops) && took > 0 { // else it is the way to the next hop, and told there
		e.add(k-1, Step{Name: "connect", Took: max(took-e.took, 0)})
	}
}

// accepted notes, once, that hop k took the credentials, or asked for none.
func (e *examination) accepted(k int) {
	for _, s := range e.report.Hops[k].Steps {
		if s.Name == "auth" {
			return
		}
	}
	e.add(k, Step{Name: "auth", Detail: "accepted"})
}

// reached tells how hop k was reached.
func (e *examination) reached(k int, conn net.Conn) string {
	if k > 0 {
		return "through " + e.course.Hops[k-1].Name
	}
	if a := conn.RemoteAddr(); a != nil {
		return "at " + a.String()
	}
	return ""
}

// end draws the conclusion.
func (e *examination) end() *Report {
	r := &e.report
	hops := len(e.course.Hops)
	if r.failed == nil {
		r.OK = true
		r.Verdict = fmt.Sprintf("ok: a tunnel through %s opens in %v", plural(hops, "hop"), round(e.took))
		return r
	}
	h := &e.course.Hops[e.at]
	r.Verdict = fmt.Sprintf("hop %d/%d %s: %s: %s", e.at+1, hops, h.Name, e.step, reason(r.failed))
	r.Remedy = remedy(h, e.step, r.failed)
	return r
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func round(d time.Duration) time.Duration {
	if d < 10*time.Millisecond {
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}
