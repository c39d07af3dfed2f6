package route

import (
	"cmp"
	"encoding/binary"
	"math"
	"math/bits"
	"net/netip"
	"slices"
	"sort"
)

// prefixes is a compact set of addresses: disjoint ranges in order, 8 bytes each for
// IPv4, 16 for IPv6, with an index above, so that a look-up touches two or three lines of
// memory. (A tree of prefixes, bart's, took twice the time for IPv4, and less for IPv6.)
//
// It is built once by [newPrefixes], and then read by any number of goroutines.
type prefixes struct {
	v4     []uint64 // from, to
	index4 index    // by the first 16 bits
	v6     []range6 // of whole /64s
	index6 index    // from base6 on in steps of 1<<shift6
	base6  uint64
	shift6 int

	narrow []narrow6 // the other ranges of IPv6: there are few
}

// range6 has the high halves of addresses.
type range6 struct{ from, to uint64 }

type narrow6 struct{ from, to uint128 }

type uint128 struct{ hi, lo uint64 }

func (a uint128) less(b uint128) bool { return a.hi < b.hi || a.hi == b.hi && a.lo < b.lo }

// An index holds, for each bucket of addresses, the first range that ends there or
// later. It is nil where there are few ranges.
type index []uint32

const few = 8

// between returns where the first range that ends at an address of bucket b or
// later can be, of n ranges.
func (x index) between(b uint64, n int) (lo, hi int) {
	switch {
	case x == nil:
		return 0, n
	case b >= uint64(len(x)-1):
		return n, n
	}
	return int(x[b]), min(n, int(x[b+1])+1)
}

func newIndex(buckets, n int, bucketOf func(i int) uint64) index {
	if n <= few {
		return nil
	}
	x, i := make(index, buckets+1), 0
	for b := range x {
		for i < n && bucketOf(i) < uint64(b) {
			i++
		}
		x[b] = uint32(i)
	}
	return x
}

// A span is a range of addresses of one family, both ends included.
type span struct{ from, to netip.Addr }

func spanOf(p netip.Prefix) span {
	p = p.Masked()
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	to, _ := netip.AddrFromSlice(b)
	return span{p.Addr(), to}
}

func key4(a netip.Addr) uint32 { b := a.As4(); return binary.BigEndian.Uint32(b[:]) }
func key6(a netip.Addr) uint128 {
	b := a.As16()
	return uint128{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// spans collects ranges for [newPrefixes].
type spans struct {
	v4 []uint64 // from, to
	v6 []narrow6
}

func (s *spans) add(a span) {
	if a.from.Is4() {
		s.v4 = append(s.v4, uint64(key4(a.from))<<32|uint64(key4(a.to)))
		return
	}
	s.v6 = append(s.v6, narrow6{key6(a.from), key6(a.to)})
}

func (s *spans) len() int { return len(s.v4) + len(s.v6) }

func newPrefixes(s *spans) *prefixes {
	p := &prefixes{}
	slices.Sort(s.v4)
	for _, r := range s.v4 {
		if n := len(p.v4) - 1; n >= 0 && r>>32 <= p.v4[n]&math.MaxUint32+1 {
			p.v4[n] = p.v4[n]>>32<<32 | max(p.v4[n]&math.MaxUint32, r&math.MaxUint32)
			continue
		}
		p.v4 = append(p.v4, r)
	}
	slices.SortFunc(s.v6, func(a, b narrow6) int {
		return cmp.Or(cmp.Compare(a.from.hi, b.from.hi), cmp.Compare(a.from.lo, b.from.lo))
	})
	for _, r := range s.v6 {
		if r.from.lo != 0 || r.to.lo != math.MaxUint64 {
			if n := len(p.narrow) - 1; n >= 0 && !p.narrow[n].to.less(r.from) {
				if p.narrow[n].to.less(r.to) {
					p.narrow[n].to = r.to
				}
				continue
			}
			p.narrow = append(p.narrow, r)
			continue
		}
		if n := len(p.v6) - 1; n >= 0 && r.from.hi <= p.v6[n].to {
			p.v6[n].to = max(p.v6[n].to, r.to.hi)
			continue
		}
		p.v6 = append(p.v6, range6{r.from.hi, r.to.hi})
	}
	p.v4, p.v6, p.narrow = slices.Clip(p.v4), slices.Clip(p.v6), slices.Clip(p.narrow)
	p.index4 = newIndex(1<<16, len(p.v4), func(i int) uint64 { return p.v4[i] << 32 >> 48 })
	if n := len(p.v6); n > few {
		p.base6 = p.v6[0].from
		const most = 17 // bits of a bucket's number
		p.shift6 = max(0, bits.Len64(p.v6[n-1].to-p.base6)-most)
		p.index6 = newIndex(int(p.bucket6(p.v6[n-1].to))+1, n, func(i int) uint64 { return p.bucket6(p.v6[i].to) })
	}
	return p
}

func (p *prefixes) bucket6(hi uint64) uint64 { return (hi - p.base6) >> p.shift6 }

// has reports whether the set has a, which is canonical.
func (p *prefixes) has(a netip.Addr) bool {
	switch {
	case p == nil:
		return false
	case a.Is4():
		return p.has4(uint64(key4(a)))
	case a.Is6():
		return p.has6(key6(a))
	}
	return false
}

func (p *prefixes) has4(a uint64) bool {
	lo, hi := p.index4.between(a>>16, len(p.v4))
	for lo < hi {
		if m := int(uint(lo+hi) >> 1); p.v4[m]&math.MaxUint32 < a {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo < len(p.v4) && p.v4[lo]>>32 <= a
}

func (p *prefixes) has6(a uint128) bool {
	if len(p.narrow) > 0 {
		i := sort.Search(len(p.narrow), func(i int) bool { return !p.narrow[i].to.less(a) })
		if i < len(p.narrow) && !a.less(p.narrow[i].from) {
			return true
		}
	}
	if a.hi < p.base6 {
		return false
	}
	lo, hi := p.index6.between(p.bucket6(a.hi), len(p.v6))
	for lo < hi {
		if m := int(uint(lo+hi) >> 1); p.v6[m].to < a.hi {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo < len(p.v6) && p.v6[lo].from <= a.hi
}

// size returns the bytes that p holds.
func (p *prefixes) size() int {
	if p == nil {
		return 0
	}
	return 8*cap(p.v4) + 16*cap(p.v6) + 32*cap(p.narrow) + 4*(cap(p.index4)+cap(p.index6))
}
