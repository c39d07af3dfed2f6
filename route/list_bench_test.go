package route

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"strings"
	"testing"
)

const (
	manyNames = 1_000_000
	manyCIDRs = 500_000
)

// bigList is a list of a million names and half a million ranges, a third of them IPv6.
func bigList() []byte {
	rnd := rand.New(rand.NewPCG(5, 6))
	var b bytes.Buffer
	for i := range manyNames {
		fmt.Fprintf(&b, "||%s^\n", benchName(rnd, i))
	}
	for i := range manyCIDRs {
		fmt.Fprintln(&b, benchPrefix(rnd, i))
	}
	return b.Bytes()
}

var tlds = []string{"com", "net", "org", "info", "co.uk", "example", "ru", "xyz", "com.br"}

func benchName(rnd *rand.Rand, i int) string {
	sub := ""
	if i%3 == 0 {
		sub = []string{"ads.", "track.", "cdn.static."}[rnd.IntN(3)]
	}
	return fmt.Sprintf("%s%s%d.%s", sub, []string{"adserver", "metrics", "x", "tracker-"}[rnd.IntN(4)], i, tlds[rnd.IntN(len(tlds))])
}

func benchPrefix(rnd *rand.Rand, i int) netip.Prefix {
	if i%3 == 0 {
		b := [16]byte{0x20 | byte(rnd.IntN(16)), byte(rnd.Uint32()), byte(rnd.Uint32()), byte(rnd.Uint32()), byte(rnd.Uint32()), byte(rnd.Uint32())}
		return netip.PrefixFrom(netip.AddrFrom16(b), 32+rnd.IntN(17)).Masked()
	}
	b := [4]byte{1 + byte(rnd.IntN(222)), byte(rnd.Uint32()), byte(rnd.Uint32()), byte(rnd.Uint32())}
	return netip.PrefixFrom(netip.AddrFrom4(b), 18+rnd.IntN(15)).Masked()
}

// BenchmarkLoad reads the big list; the target is 1.5 s and 64 MB.
func BenchmarkLoad(b *testing.B) {
	data := bigList()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var c *Contents
	cpu := cpuTime()
	for b.Loop() {
		var err error
		if c, err = ParseList(data, ListOptions{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric((cpuTime()-cpu).Seconds()/float64(b.N), "cpu-s/op")
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MB-held")
	if c.Len() != manyNames+manyCIDRs {
		b.Errorf("%d names, %d addresses, %d bad", c.Names, c.Addresses, c.Bad)
	}
	runtime.KeepAlive(c)
}

// BenchmarkLookup asks the big list; the targets are 200 ns for a name and 60 ns for an
// address. Half of those asked for are in it.
func BenchmarkLookup(b *testing.B) {
	c, err := ParseList(bigList(), ListOptions{})
	if err != nil {
		b.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(5, 6))
	const asked = 1 << 14
	hosts := make(map[string][]Target)
	for i := range manyNames {
		name := benchName(rnd, i)
		if i%(manyNames/asked) == 0 {
			hosts["name"] = append(hosts["name"], Target{Name: []string{"www.", "www.other-"}[i%2] + name})
		}
	}
	for i := range asked {
		p := benchPrefix(rnd, 3*i+1)
		hosts["IPv4"] = append(hosts["IPv4"], Target{Addr: p.Addr()})
		hosts["IPv6"] = append(hosts["IPv6"], Target{Addr: benchPrefix(rnd, 3*i).Addr().Next()})
	}
	for name, all := range hosts {
		rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		inOrder(all)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			i, in, cpu := 0, 0, cpuTime()
			for b.Loop() {
				if c.has(&all[i%len(all)]) {
					in++
				}
				i++
			}
			b.ReportMetric(float64(cpuTime()-cpu)/float64(b.N), "cpu-ns/op")
			if i > 1000 && (in == 0 || in == i) {
				b.Errorf("%d of %d are in", in, i)
			}
		})
	}
}

// inOrder puts the names one behind the other in memory: a name that was just
// read from a client is in the cache, unlike the list.
func inOrder(all []Target) {
	var b strings.Builder
	for _, t := range all {
		b.WriteString(t.Name)
	}
	text := b.String()
	for i := range all {
		n := len(all[i].Name)
		all[i].Name, text = text[:n], text[n:]
	}
}
