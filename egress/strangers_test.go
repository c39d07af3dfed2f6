package egress

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/byway-proxy/byway/internal/probe"
	"github.com/byway-proxy/byway/internal/testnet"
)

// countedResolver and countedDialer say how often they were asked, and refuse.
type countedResolver struct{ n *atomic.Int64 }

func (r countedResolver) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	r.n.Add(1)
	return nil, &net.DNSError{Err: "refused", IsNotFound: true}
}

type countedDialer struct{ n *atomic.Int64 }

func (d countedDialer) DialContext(context.Context, string, string) (net.Conn, error) {
	d.n.Add(1)
	return nil, net.ErrClosed
}

// TestProbesReachNobody sends all probes of TestCamouflage, whatever they look like: nothing
// is looked up and nothing dialled, but for those that show a good credential.
func TestProbesReachNobody(t *testing.T) {
	var asked atomic.Int64
	_, addr, token := start(t, &Policy{Resolver: countedResolver{&asked}, Base: countedDialer{&asked}})
	run := func(probes []probe.Probe) {
		slots := make(chan bool, 64)
		var wg sync.WaitGroup
		for _, p := range probes {
			slots <- true
			wg.Go(func() {
				defer func() { <-slots }()
				c, err := net.Dial("tcp", addr)
				if err != nil {
					t.Error(err)
					return
				}
				_, port, _ := net.SplitHostPort(addr)
				rec := probe.Run(c.(*net.TCPConn), probe.Target{
					Vars:  map[string]string{"site": "127.0.0.1", "port": port, "token": token, "echo": "tunnel.example:443"},
					Quiet: 50 * time.Millisecond,
				}, p)
				if rec.Failed != "" {
					t.Errorf("%s: %s", p.Name, rec.Failed)
				}
			})
		}
		wg.Wait()
	}
	var strangers, friends []probe.Probe
	for _, name := range []string{"tls.txt", "http1.txt", "http2.txt"} {
		text, err := os.ReadFile(filepath.Join("../internal/interop/testdata/camouflage", name))
		must(t, err)
		all, err := probe.Parse(string(text))
		must(t, err)
		for _, p := range all {
			if strings.Contains(p.Name, "tunnel/") {
				friends = append(friends, p)
			} else {
				strangers = append(strangers, p)
			}
		}
	}
	if run(strangers); asked.Load() != 0 || len(strangers) < 200 {
		t.Errorf("%d probes of strangers: %d look-ups and dials", len(strangers), asked.Load())
	}
	if run(friends); asked.Load() < int64(len(friends)) || len(friends) == 0 {
		t.Errorf("%d probes with a credential, but %d look-ups: the test sees nothing", len(friends), asked.Load())
	}
}

// A kind is what requests of one sort take.
type kind struct {
	name, method, field, credential string
	took                            []float64 // µs
}

// TestTiming has requests that an egress refuses, and ordinary ones of the same length and with
// the same answer, in turn: what they take tells them not apart. The statistics are logged.
func TestTiming(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	_, addr, token := startWith(t, &Policy{Resolver: forbidden{t}, Base: testnet.NoDial(t)}, func(s *Server) {
		s.Site = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	})
	basic := func(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }
	// Names of HPACK's static table both; what is lacking in one's length goes to its value.
	const proxy, other = "Proxy-Authorization", "Proxy-Authenticate"
	wrong := token[:len(token)-1] + "!"
	for proto, ask := range map[string]func(*testing.T, string) func(*kind) float64{"http/1.1": asker1, "h2": asker2} {
		kinds := []*kind{
			{name: "ordinary", method: "GET", field: other, credential: basic("alice:"+wrong) + "="},
			{name: "CONNECT, nothing shown", method: "CONNECT", field: other, credential: basic("alice:"+wrong) + "="},
			{name: "CONNECT, wrong token", method: "CONNECT", field: proxy, credential: basic("alice:" + wrong)},
			{name: "CONNECT, unknown user", method: "CONNECT", field: proxy, credential: basic("alicf:" + token)},
			{name: "CONNECT, malformed", method: "CONNECT", field: proxy, credential: strings.Replace(basic("alice:"+token), "Y", "!", 1)},
		}
		measure(kinds, ask(t, addr))
		// Between CONNECTs there is no difference but the credential.
		for _, pair := range [][2]*kind{{kinds[0], kinds[2]}, {kinds[1], kinds[2]}, {kinds[3], kinds[2]}, {kinds[4], kinds[2]}, {kinds[0], kinds[1]}} {
			z, w := mannWhitney(pair[0].took, pair[1].took), welch(pair[0].took, pair[1].took)
			t.Logf("%s: %s (median %.1f µs) and %s (%.1f µs): z = %.2f, t = %.2f", proto,
				pair[0].name, median(pair[0].took), pair[1].name, median(pair[1].took), z, w)
			// One in a million by chance, if there is no difference; and one that could be seen over a network.
			apart := math.Abs(median(pair[0].took)/median(pair[1].took) - 1)
			if pair[0].method == pair[1].method && math.Abs(z) > 5 && apart > 0.03 {
				t.Errorf("%s: %s and %s take different times: z = %.2f", proto, pair[0].name, pair[1].name, z)
			}
		}
	}
}

// measure takes 2,000 samples of each kind, in turn and in an order of its own each time.
func measure(kinds []*kind, ask func(*kind) float64) {
	const warm, samples = 200, 2000
	for i := range warm + samples {
		for _, k := range rand.Perm(len(kinds)) {
			if took := ask(kinds[k]); i >= warm {
				kinds[k].took = append(kinds[k].took, took)
			}
		}
	}
}

// asker1 asks on one connection of HTTP/1.1.
func asker1(t *testing.T, addr string) func(*kind) float64 {
	c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}) //nolint:gosec // a test
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	r := bufio.NewReader(c)
	return func(k *kind) float64 {
		target := map[string]string{"GET": "/", "CONNECT": "target.example:443"}[k.method]
		head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: target.example:443\r\n%s: %s\r\n\r\n", k.method, target, k.field, k.credential)
		begun := time.Now()
		_, err := io.WriteString(c, head)
		must(t, err)
		resp, err := http.ReadResponse(r, nil)
		must(t, err)
		took := time.Since(begun)
		_, _ = io.Copy(io.Discard, resp.Body)
		return float64(took.Nanoseconds()) / 1000
	}
}

// asker2 asks on one session of HTTP/2.
func asker2(t *testing.T, addr string) func(*kind) float64 {
	tr := &http.Transport{ForceAttemptHTTP2: true, DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}}).DialContext(ctx, "tcp", addr) //nolint:gosec // a test
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return func(k *kind) float64 {
		r, err := http.NewRequestWithContext(t.Context(), k.method, "https://target.example:443/", nil)
		must(t, err)
		if k.method == http.MethodConnect {
			r.URL.Path = ""
		}
		r.Header.Set(k.field, k.credential)
		begun := time.Now()
		resp, err := tr.RoundTrip(r)
		must(t, err)
		took := time.Since(begun)
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		return float64(took.Nanoseconds()) / 1000
	}
}

func median(x []float64) float64 {
	s := slices.Sorted(slices.Values(x))
	return s[len(s)/2]
}

// mannWhitney returns the standardized U of two samples: normal with deviation 1 if there
// is no difference between them.
func mannWhitney(a, b []float64) float64 {
	type sample struct {
		v     float64
		first bool
	}
	var all []sample
	for _, v := range a {
		all = append(all, sample{v, true})
	}
	for _, v := range b {
		all = append(all, sample{v, false})
	}
	slices.SortFunc(all, func(x, y sample) int { return cmp.Compare(x.v, y.v) })
	var ranks float64
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j].v == all[i].v {
			j++
		}
		for k := i; k < j; k++ {
			if all[k].first {
				ranks += float64(i+j+1) / 2
			}
		}
		i = j
	}
	n, m := float64(len(a)), float64(len(b))
	return (ranks - n*(n+1)/2 - n*m/2) / math.Sqrt(n*m*(n+m+1)/12)
}

// welch returns Welch's t of two samples.
func welch(a, b []float64) float64 {
	moments := func(x []float64) (mean, variance float64) {
		for _, v := range x {
			mean += v / float64(len(x))
		}
		for _, v := range x {
			variance += (v - mean) * (v - mean) / float64(len(x)-1)
		}
		return mean, variance
	}
	ma, va := moments(a)
	mb, vb := moments(b)
	return (ma - mb) / math.Sqrt(va/float64(len(a))+vb/float64(len(b)))
}

// TestStatistics makes sure that the test of times can fail.
func TestStatistics(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same each time
	var a, b, c []float64
	for range 2000 {
		a, b, c = append(a, r.NormFloat64()), append(b, r.NormFloat64()), append(c, r.NormFloat64()+0.25)
	}
	if z, w := mannWhitney(a, b), welch(a, b); math.Abs(z) > 3 || math.Abs(w) > 3 {
		t.Errorf("no difference: z = %v, t = %v", z, w)
	}
	if z, w := mannWhitney(a, c), welch(a, c); z > -5 || w > -5 {
		t.Errorf("a difference: z = %v, t = %v", z, w)
	}
}
