package hop_test

import (
	"crypto/tls"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/internal/doctor"
	"github.com/byway-proxy/byway/internal/testnet"
)

// TestDoctor has each hop of four broken in ten ways, and examined: the verdict names the hop
// and the cause, and the report reads like testdata/doctor.txt.
func TestDoctor(t *testing.T) {
	var report strings.Builder
	for _, scheme := range []string{"socks5", "https", "https h1"} {
		for _, f := range append([]fault{{name: "well", blind: true}}, faults...) {
			if f.cert != nil && scheme == "socks5" {
				continue
			}
			fmt.Fprintf(&report, "%s: %s\n", scheme, f.name)
			for k := 1; k <= 4; k++ {
				n := 4
				if f.blind { // hop k is the exit
					n = k
				}
				t.Run(fmt.Sprintf("%s/%s/%d", scheme, f.name, k), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						r := &row{t: t, n: testnet.New(), scheme: scheme}
						got := r.examine(f, k, n)
						if got.OK != (f.name == "well") || !got.OK && !strings.HasPrefix(got.Verdict, fmt.Sprintf("hop %d/%d ", k, n)) {
							t.Errorf("%s", got.Verdict)
						}
						for _, secret := range []string{"sesame", user} {
							if text := fmt.Sprintf("%+v", got); strings.Contains(text, secret) {
								t.Errorf("%q is told: %s", secret, text)
							}
						}
						fmt.Fprintf(&report, "  %s\n", got.Verdict)
						if got.Remedy != "" {
							fmt.Fprintf(&report, "      %s\n", got.Remedy)
						}
						time.Sleep(time.Minute)
					})
				})
			}
		}
	}
	golden(t, "doctor.txt", report.String())
}

// examine breaks hop k of n by f, and examines them all, up to a target that is there if f is
// none.
func (r *row) examine(f fault, k, n int) *doctor.Report {
	c := doctor.Course{Name: "four", Base: r.n.Host("client")}
	for i, h := range r.broken(f, k, n) {
		one := doctor.Hop{Hop: h, Scheme: strings.Fields(r.scheme)[0], Addr: host(i+1) + ":1080"}
		if one.Scheme == "https" {
			one.TLS = &tls.Config{RootCAs: theCerts().roots, ServerName: host(i + 1)}
		}
		c.Hops = append(c.Hops, one)
	}
	if f.name == "well" {
		l, err := r.n.Host("target.example").Listen(":7")
		if err != nil {
			r.t.Fatal(err)
		}
		r.t.Cleanup(func() { _ = l.Close() })
	}
	return doctor.Examine(r.t.Context(), c, doctor.Options{Target: nowhere})
}
