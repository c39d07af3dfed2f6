//go:build interop

package interop

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// TestConformance has h2spec and testssl look at the egress and at Caddy at once.
func TestConformance(t *testing.T) {
	l := newLookalikes(t, "conformance", selfSigned, domain, byAddress)
	t.Run("h2spec", func(t *testing.T) {
		t.Parallel()
		compareH2spec(t, l)
	})
	for _, section := range [][]string{{"-p", "-S", "-h"}, {"-s", "-f", "-P"}, {"-U"}} {
		t.Run("testssl "+section[0], func(t *testing.T) {
			t.Parallel()
			compareTestssl(t, l, section)
		})
	}
}

// compareH2spec runs all of h2spec, the strict cases too: each has to end at the egress as it ends
// at Caddy. What ends now so and now so at Caddy (a race of its goroutines) may do so here.
func compareH2spec(t *testing.T, l *lookalikes) {
	var ours, caddys map[string]string
	both(func() { ours = h2spec(t, l.on) }, func() { caddys = h2spec(t, l.caddy) })
	passed := 0
	for name, verdict := range ours {
		for tries := 0; verdict != caddys[name] && tries < 100; tries++ {
			caddys[name] = h2spec(t, l.caddy, name)[name]
		}
		if verdict != caddys[name] {
			t.Errorf("%s: %s, and never so at Caddy", name, verdict)
		}
		if verdict == "passed" {
			passed++
		}
	}
	if len(ours) < 140 || len(ours) != len(caddys) {
		t.Errorf("%d cases, at Caddy %d", len(ours), len(caddys))
	}
	t.Logf("%d of %d cases passed, as at Caddy", passed, len(ours))
}

// h2spec runs cases, or all, and returns how each ended, by name as "http2/8.1.2.6/2".
func h2spec(t *testing.T, addr string, cases ...string) map[string]string {
	file := filepath.Join(t.TempDir(), "report.xml")
	host, port, _ := net.SplitHostPort(addr)
	r := client(t, nil, nil, "h2spec", append([]string{"-h", host, "-p", port, "-t", "-k", "-S", "-o", "2", "-j", file}, cases...)...)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Errorf("status %d: %v: %s", r.code, err, r.stderr)
		return nil
	}
	verdicts := make(map[string]string)
	if err := readH2spec(data, verdicts, cases); err != nil {
		t.Error(err)
	}
	return verdicts
}

// readH2spec reads a JUnit report, of all cases or of the one that was asked for.
func readH2spec(data []byte, verdicts map[string]string, cases []string) error {
	var report struct {
		Suites []struct {
			Package string `xml:"package,attr"`
			Cases   []struct {
				Failure *struct{} `xml:"failure"`
				Error   *struct{} `xml:"error"`
				Skipped *struct{} `xml:"skipped"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(data, &report); err != nil {
		return err
	}
	for _, s := range report.Suites {
		for i, c := range s.Cases {
			verdict := "passed"
			switch {
			case c.Failure != nil:
				verdict = "failed"
			case c.Error != nil:
				verdict = "erred"
			case c.Skipped != nil:
				verdict = "skipped"
			}
			name := fmt.Sprintf("%s/%d", s.Package, i+1)
			if len(cases) == 1 {
				name = cases[0]
			}
			verdicts[name] = verdict
		}
	}
	return nil
}

// A finding is one of testssl's.
type finding struct{ ID, Severity, Finding string }

// severities in the order of how bad they are.
var severities = []string{"OK", "INFO", "LOW", "WARN", "MEDIUM", "HIGH", "CRITICAL", "FATAL"}

// compareTestssl runs a part of testssl: nothing that it finds may be worse than at Caddy.
func compareTestssl(t *testing.T, l *lookalikes, section []string) {
	dir := t.TempDir()
	found := make(map[string][]finding)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, addr := range []string{l.on, l.caddy} {
		file := filepath.Join(dir, "testssl-"+addr+".json")
		wg.Go(func() {
			_, port, _ := net.SplitHostPort(addr)
			r := client(t, nil, nil, "testssl", append(section, "--quiet", "--warnings", "off", "--color", "0", "--fast", "--nodns", "none",
				"--ip", byAddress, "--jsonfile", file, net.JoinHostPort(domain, port))...)
			data, err := os.ReadFile(file)
			if err != nil {
				t.Errorf("status %d: %v: %s", r.code, err, r.stderr)
				return
			}
			var all []finding
			if err := json.Unmarshal(data, &all); err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			found[addr] = all
		})
	}
	wg.Wait()
	caddys := make(map[string]finding)
	for _, f := range found[l.caddy] {
		caddys[f.ID] = f
	}
	for _, f := range found[l.on] {
		c, ok := caddys[f.ID]
		if !ok {
			t.Errorf("%s: %s (%s), and nothing of that at Caddy", f.ID, f.Severity, f.Finding)
		} else if slices.Index(severities, f.Severity) > slices.Index(severities, c.Severity) {
			t.Errorf("%s: %s (%s), at Caddy %s (%s)", f.ID, f.Severity, f.Finding, c.Severity, c.Finding)
		}
	}
	if n := len(found[l.on]); n < 10 || n != len(caddys) {
		t.Errorf("%d findings, at Caddy %d", n, len(caddys))
	}
}
