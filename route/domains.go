package route

import (
	"hash/maphash"
	"math/bits"
	"strings"
)

// What an entry of domains is about; bits, as several lines may be about one name.
const (
	exactly   byte = 1 << iota // the name itself
	below                      // all names below it
	exemptly                   // not the name itself, whatever other entries say
	exemptAll                  // and nothing below it
)

// domains is a compact set of domain rules for many of them: the names stand one
// behind the other in a blob, and an open-addressed table of 8 bytes a slot leads
// there by the hash of each suffix. A hit is verified against the name itself, and
// the hash has a key of the process: lists can't be made to collide.
//
// It is built by one goroutine, and then read by any number.
type domains struct {
	seed  maphash.Seed
	slots []uint64 // offset into blob + 1, below 32 bits of the hash; 0 is free
	blob  []byte   // flags, length, name
	count int

	// filter has the bit of each entry's hash, so that most suffixes that are no entry
	// cost no line of the far larger table; nil before trim.
	filter []uint64

	// labels has bit n set if an entry that is about names below it has n labels:
	// suffixes of other lengths need not be looked for.
	labels  uint64
	exempts bool
}

const maxBlob = 1<<32 - 512

// newDomains makes room for about n entries.
func newDomains(n int) *domains {
	size := 16
	if n > 8 {
		size = 1 << bits.Len(uint(n+n/2))
	}
	return &domains{seed: maphash.MakeSeed(), slots: make([]uint64, size)}
}

// add adds a canonical name. It reports false if the set is full.
func (d *domains) add(name []byte, flags byte) bool {
	if 4*d.count >= 3*len(d.slots) {
		d.rehash(2 * len(d.slots))
	}
	h := maphash.Bytes(d.seed, name)
	mask := uint64(len(d.slots) - 1)
	i := h & mask
	for ; d.slots[i] != 0; i = (i + 1) & mask {
		if at := d.match(d.slots[i], h, name); at != nil {
			*at |= flags
			d.note(name, flags)
			return true
		}
	}
	if len(d.blob) > maxBlob {
		return false
	}
	d.slots[i] = h>>32<<32 | uint64(len(d.blob)+1)
	d.blob = append(append(d.blob, flags, byte(len(name))), name...)
	d.count++
	d.note(name, flags)
	return true
}

func (d *domains) note(name []byte, flags byte) {
	d.exempts = d.exempts || flags&(exemptly|exemptAll) != 0
	if flags&(below|exemptAll) != 0 {
		n := 1
		for _, c := range name {
			if c == '.' {
				n++
			}
		}
		d.labels |= 1 << min(n, 63)
	}
}

// match returns the flags of a slot's entry if that is name, whose hash is h.
func (d *domains) match(slot, h uint64, name []byte) *byte {
	if slot>>32 != h>>32 {
		return nil
	}
	at := int(uint32(slot)) - 1
	if n := int(d.blob[at+1]); n != len(name) || string(d.blob[at+2:at+2+n]) != string(name) {
		return nil
	}
	return &d.blob[at]
}

func (d *domains) rehash(size int) {
	old := d.slots
	d.slots = make([]uint64, size)
	mask := uint64(len(d.slots) - 1)
	for _, slot := range old {
		if slot == 0 {
			continue
		}
		at := int(uint32(slot)) - 1
		name := d.blob[at+2 : at+2+int(d.blob[at+1])]
		i := maphash.Bytes(d.seed, name) & mask
		for d.slots[i] != 0 {
			i = (i + 1) & mask
		}
		d.slots[i] = slot
	}
}

// trim ends the building: it gives back what was made in excess.
func (d *domains) trim() {
	d.blob = append(make([]byte, 0, len(d.blob)), d.blob...)
	if size := 1 << bits.Len(uint(d.count+d.count/3+1)); size < len(d.slots) {
		d.rehash(size)
	}
	d.filter = make([]uint64, max(1, 1<<bits.Len(uint(8*d.count))/64))
	for at := 0; at < len(d.blob); at += 2 + int(d.blob[at+1]) {
		word, bit := d.bit(maphash.Bytes(d.seed, d.blob[at+2:at+2+int(d.blob[at+1])]))
		d.filter[word] |= bit
	}
}

func (d *domains) bit(h uint64) (word int, bit uint64) {
	return int(h >> 16 & uint64(len(d.filter)-1)), 1 << (h >> 10 & 63)
}

// has reports whether the canonical name is in the set and not exempt.
func (d *domains) has(name string) bool {
	found, exempt := d.ask(name)
	return found && !exempt
}

// A suffix of the name that is asked for.
type suffix struct {
	hash uint64
	from int
	slot uint64 // the first of its slots; 0 if it is no entry
}

// ask reports whether the canonical name is in the set, and whether an exemption
// stands against it.
func (d *domains) ask(name string) (found, exempt bool) {
	if d == nil || d.count == 0 {
		return false, false
	}
	var room [8]suffix
	for from, n := len(name), 0; from >= 0; {
		// All are hashed and looked for before any is looked at: so the memory is
		// waited for once, and not once for each.
		all := room[:0]
		for from >= 0 && len(all) < len(room) {
			from = strings.LastIndexByte(name[:from], '.')
			n++
			if from < 0 || d.labels&(1<<min(n, 63)) != 0 {
				all = append(all, suffix{hash: maphash.String(d.seed, name[from+1:]), from: from + 1})
			}
		}
		mask := uint64(len(d.slots) - 1)
		for i := range all {
			if h := all[i].hash; d.filter == nil || d.passes(h) {
				all[i].slot = d.slots[h&mask]
			}
		}
		for i := range all {
			if all[i].slot == 0 {
				continue
			}
			f := d.flags(all[i].hash, name[all[i].from:])
			if all[i].from > 0 {
				f &= below | exemptAll
			}
			found = found || f&(exactly|below) != 0 && (f&exactly != 0 || all[i].from > 0)
			exempt = exempt || f&(exemptly|exemptAll) != 0
			if found && !d.exempts {
				return true, false
			}
		}
	}
	return found, exempt
}

func (d *domains) passes(h uint64) bool {
	word, bit := d.bit(h)
	return d.filter[word]&bit != 0
}

// flags returns those of the entry that is name, whose hash is h, or 0.
func (d *domains) flags(h uint64, name string) byte {
	mask := uint64(len(d.slots) - 1)
	for i := h & mask; d.slots[i] != 0; i = (i + 1) & mask {
		slot := d.slots[i]
		if slot>>32 != h>>32 {
			continue
		}
		at := int(uint32(slot)) - 1
		if n := int(d.blob[at+1]); n == len(name) && string(d.blob[at+2:at+2+n]) == name {
			return d.blob[at]
		}
	}
	return 0
}

// size returns the bytes that d holds.
func (d *domains) size() int {
	if d == nil {
		return 0
	}
	return cap(d.blob) + 8*(cap(d.slots)+cap(d.filter))
}
