package chain_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/internal/testnet"
)

// TestProbeCadence counts probes in virtual time.
func TestProbeCadence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.group(chain.GroupOptions{Rand: half, Probe: chain.Probe{Target: "probe:80", Every: 10 * time.Second}}, "a", "b")
		time.Sleep(time.Hour)
		expect(t, "before the first use", w.askedSince(), "")
		w.via(t.Context(), c)
		expect(t, "the first use", w.askedSince(), "a")
		time.Sleep(9 * time.Second) // a is proved by traffic, b is probed within a second
		expect(t, "b's first", w.askedSince(), "b")
		w.via(t.Context(), c)
		w.askedSince()
		for range 5 { // b's are 10 s apart; a is busy
			time.Sleep(5 * time.Second)
			w.via(t.Context(), c)
			time.Sleep(5 * time.Second)
			w.via(t.Context(), c)
			got := w.askedSince()
			if strings.Count(got, "a") != 2 || strings.Count(got, "b") != 1 {
				t.Errorf("in 10 s: %s", got)
			}
		}
		time.Sleep(50 * time.Second)
		got := w.askedSince()
		if a, b := strings.Count(got, "a"), strings.Count(got, "b"); a < 4 || a > 5 || b != 5 {
			t.Errorf("without traffic: %s", got)
		}
		time.Sleep(2 * time.Minute)
		w.askedSince()
		time.Sleep(time.Hour)
		expect(t, "unused", w.askedSince(), "")
		w.via(t.Context(), c)
		time.Sleep(11 * time.Second)
		if got := w.askedSince(); !strings.Contains(got, "b") {
			t.Errorf("used again: %s", got)
		}
		_ = c.Close()
		w.askedSince()
		w.via(t.Context(), c)
		time.Sleep(time.Minute)
		expect(t, "closed", w.askedSince(), "a")
		w.nothingOpen()
	})
}

// TestProbeRevives: with probes, no tunnel pays for the trial.
func TestProbeRevives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.group(chain.GroupOptions{Rand: half, Probe: chain.Probe{Target: "probe:80"}}, "a", "b")
		w.via(t.Context(), c)
		time.Sleep(time.Second)
		w.set("a", fake{silent: true})
		by, _ := w.took(c, 30*time.Second)
		expect(t, "failover", by, "b")
		w.askedSince()
		time.Sleep(999 * ms)
		expect(t, "not yet", w.askedSince(), "")
		time.Sleep(2 * ms)
		expect(t, "a's trial", w.askedSince(), "a")
		by, d := w.took(c, 30*time.Second)
		if by != "b" || d != 0 {
			t.Errorf("%s after %v", by, d)
		}
		time.Sleep(10 * time.Second) // the probe's limit
		if m := member(c, "a"); m.Alive || m.Failures != 1 {
			// That the exit did not answer in time is a doubt alone.
			t.Errorf("a: %+v", m)
		}
		w.set("a", fake{})
		time.Sleep(time.Minute + 10*time.Second)
		expect(t, "revived", w.via(t.Context(), c), "a")
		_ = c.Close()
	})
}

// TestProbeJudges: the probe's own target may be down, and then nobody is dead.
func TestProbeJudges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, test := range []struct {
			a     fake
			alive bool
		}{
			{fake{phase: chain.PhaseConnect, err: syscall.ECONNREFUSED}, true},
			{fake{phase: chain.PhaseAuth, err: errOdd}, false},
			{fake{refuses: true}, false},
		} {
			w := newWorld(t)
			c := w.group(chain.GroupOptions{Rand: half, Probe: chain.Probe{Target: "probe:80"}}, "a", "b")
			w.via(t.Context(), c)
			w.set("a", test.a)
			for range 3 {
				time.Sleep(time.Minute)
				w.set("b", fake{})
			}
			if m := member(c, "a"); m.Alive != test.alive {
				t.Errorf("%+v: %+v", test.a, m)
			}
			_ = c.Close()
		}
	})
}

// TestHTTPProbe probes real servers by way of members on loopback.
func TestHTTPProbe(t *testing.T) {
	var status atomic.Int32
	handler := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.Header.Get("User-Agent") != "" {
			t.Errorf("the probe tells %s %v", r.Method, r.Header)
		}
		rw.WriteHeader(int(status.Load()))
	})
	plain, secure := httptest.NewServer(handler), httptest.NewUnstartedServer(handler)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that fail as they should
	secure.StartTLS()
	defer plain.Close()
	defer secure.Close()
	roots := x509.NewCertPool()
	roots.AddCert(secure.Certificate())
	for _, test := range []struct {
		url    string
		tls    *tls.Config
		expect int
		says   int
		alive  bool
	}{
		{plain.URL, nil, 0, 204, true},
		{plain.URL, nil, 0, 302, true},
		{plain.URL, nil, 0, 500, false},
		{plain.URL + "/check", nil, 204, 204, true},
		{plain.URL, nil, 204, 200, false},
		{secure.URL, &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, 0, 200, true},
		{secure.URL, nil, 0, 200, false},
	} {
		status.Store(int32(test.says))
		direct := func(name string) chain.Hop { // a hop that is no proxy, as far as the test goes
			return chain.Hop{Name: name, Wrap: func(next chain.Dialer) (chain.Dialer, error) { return next, nil }}
		}
		// Traffic starts the probing, and is given up: it proves nobody alive.
		ctx, cancel := context.WithCancel(t.Context())
		base := chain.DialerFunc(func(with context.Context, network, addr string) (net.Conn, error) {
			if addr == "traffic:1" {
				cancel()
				return nil, with.Err()
			}
			return (&net.Dialer{}).DialContext(with, network, addr)
		})
		c, err := chain.New(base, chain.Group("g", chain.GroupOptions{
			Rand:  func() float64 { return 0 },
			Probe: chain.Probe{Target: test.url, Status: test.expect, TLS: test.tls},
		}, chain.Member{Hop: direct("a")}, chain.Member{Hop: direct("b")}))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.DialContext(ctx, "tcp", "traffic:1"); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		m := member(c, "b")
		for end := time.Now().Add(10 * time.Second); (m.Latency == 0 && m.Err == nil || m.Alive != test.alive) && time.Now().Before(end); m = member(c, "b") {
			time.Sleep(ms)
		}
		if m.Alive != test.alive {
			t.Errorf("%s says %d: %+v", test.url, test.says, m)
		}
		_ = c.Close()
	}
}

// TestProbeOfEndlessBody: a server that never stops sending holds up nothing.
func TestProbeOfEndlessBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := chain.DialerFunc(func(context.Context, string, string) (net.Conn, error) {
			near, far := testnet.Pipe(0)
			go func() {
				defer far.Close()
				_, _ = http.ReadRequest(bufio.NewReader(far))
				_, err := far.Write([]byte("HTTP/1.1 200 OK\r\n\r\n"))
				for err == nil {
					_, err = far.Write(make([]byte, 1000))
				}
			}()
			return near, nil
		})
		h := chain.Hop{Name: "a", Wrap: func(next chain.Dialer) (chain.Dialer, error) { return next, nil }}
		c, err := chain.New(base, chain.Group("g", chain.GroupOptions{Rand: half, Probe: chain.Probe{Target: "http://probe/"}}, chain.Member{Hop: h}))
		if err != nil {
			t.Fatal(err)
		}
		conn, err := c.Dial("tcp", "t:1")
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		time.Sleep(70 * time.Second)
		if m := member(c, "a"); !m.Alive || m.Latency == 0 {
			t.Errorf("%+v", m)
		}
		_ = c.Close()
		synctest.Wait()
	})
}
