package names

import (
	"container/list"
	"crypto/sha256"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/byway-proxy/byway/relay"
)

// The addresses that stand for names. Nothing on the Internet has them: the first range is for
// benchmarks between two networks (RFC 2544), the second is of that half of the unique local
// addresses that nobody may take for a network of his own (RFC 4193 §3.1).
var (
	StandIns4 = netip.MustParsePrefix("198.18.0.0/15")
	StandIns6 = netip.MustParsePrefix("fc00::/18")
)

const (
	standTTL = time.Minute  // of answers with a stand-in
	holdFor  = 2 * standTTL // how long one is nobody else's after it was last used

	lastPlace    = 1<<17 - 2 // the first and the last address of the range of IPv4 stand for nothing
	mostStandIns = 1 << 16   // as many names as that have one; half of the places, so that a free one is near
	mostAskers   = 8         // of a name that are remembered
)

// StandIns are the addresses that stand for names. A name has one of IPv4 and one of IPv6 that
// go together, and keeps them as long as there is room; then that one goes which was not used
// for longest, but none that has tunnels or was used in the last two minutes.
//
// Nothing of it is kept on disk. A name's place follows from the name, so that an address that a
// program remembers from before a restart leads to the same name again, or nowhere. The zero
// value is ready.
type StandIns struct {
	mu   sync.Mutex
	by   map[string]*standIn
	at   map[uint32]*standIn // by place
	rest list.List           // of *standIn: those without tunnels, the one used last in front
}

// A standIn is a name that has addresses.
type standIn struct {
	name    string
	place   uint32
	used    time.Time
	tunnels int
	resting *list.Element // nil while there are tunnels
	askers  []any         // as of relay.ClientOf
}

// IsStandIn reports whether a is in one of the ranges, whether it stands for something or not.
func IsStandIn(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return StandIns4.Contains(a) || StandIns6.Contains(a)
}

// Give returns the addresses of name, which is in its one form, for who asks. It is not ok if
// all are in use.
func (s *StandIns) Give(name string, client net.Addr) (v4, v6 netip.Addr, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.by[name]
	if one == nil {
		if one = s.add(name); one == nil {
			return v4, v6, false
		}
	}
	one.askedBy(relay.ClientOf(client))
	s.touch(one)
	v4, v6 = addressesOf(one.place)
	return v4, v6, true
}

// Name returns the name that a stands for, which counts as a use of it.
func (s *StandIns) Name(a netip.Addr) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.find(a)
	if one == nil {
		return "", false
	}
	s.touch(one)
	return one.name, true
}

// Asked returns the name that a stands for if the client has asked for that name: what others
// asked for is not told.
func (s *StandIns) Asked(a netip.Addr, client net.Addr) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.find(a)
	if one == nil || !slices.Contains(one.askers, relay.ClientOf(client)) {
		return "", false
	}
	return one.name, true
}

// Hold says that there is one more tunnel to a. Nobody else gets it before [StandIns.Release].
func (s *StandIns) Hold(a netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.find(a)
	if one == nil {
		return
	}
	if one.tunnels++; one.resting != nil {
		s.rest.Remove(one.resting)
		one.resting = nil
	}
}

// Release says that a tunnel that was told to Hold has ended.
func (s *StandIns) Release(a netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.find(a)
	if one == nil || one.tunnels == 0 {
		return
	}
	if one.tunnels--; one.tunnels == 0 {
		one.resting = s.rest.PushFront(one)
	}
	s.touch(one)
}

// Tunnels returns how many tunnels to a there are.
func (s *StandIns) Tunnels(a netip.Addr) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one := s.find(a); one != nil {
		return one.tunnels
	}
	return 0
}

func (s *StandIns) find(a netip.Addr) *standIn {
	place, ok := placeOf(a)
	if !ok {
		return nil
	}
	return s.at[place]
}

func (s *StandIns) touch(one *standIn) {
	one.used = time.Now()
	if one.resting != nil {
		s.rest.MoveToFront(one.resting)
	}
}

// add makes room for name, or returns nil.
func (s *StandIns) add(name string) *standIn {
	if s.by == nil {
		s.by, s.at = make(map[string]*standIn), make(map[uint32]*standIn)
	}
	if len(s.by) >= mostStandIns && !s.drop() {
		return nil
	}
	sum := sha256.Sum256([]byte(name))
	place := binary.BigEndian.Uint32(sum[:]) % lastPlace
	for s.at[place+1] != nil {
		place = (place + 1) % lastPlace
	}
	one := &standIn{name: name, place: place + 1}
	one.resting = s.rest.PushFront(one)
	s.by[name], s.at[one.place] = one, one
	return one
}

// drop takes out what was not used for longest, if that was long enough ago.
func (s *StandIns) drop() bool {
	last := s.rest.Back()
	if last == nil {
		return false
	}
	one := last.Value.(*standIn)
	if time.Since(one.used) < holdFor {
		return false
	}
	s.rest.Remove(last)
	delete(s.by, one.name)
	delete(s.at, one.place)
	return true
}

// askedBy remembers that client asked, in place of the one that did first if there are many.
func (one *standIn) askedBy(client any) {
	if slices.Contains(one.askers, client) {
		return
	}
	if len(one.askers) == mostAskers {
		one.askers = append(one.askers[:0], one.askers[1:]...)
	}
	one.askers = append(one.askers, client)
}

// addressesOf returns those of a place, which is the offset in both ranges.
func addressesOf(place uint32) (v4, v6 netip.Addr) {
	b4, b6 := StandIns4.Addr().As4(), StandIns6.Addr().As16()
	binary.BigEndian.PutUint32(b4[:], binary.BigEndian.Uint32(b4[:])+place)
	binary.BigEndian.PutUint32(b6[12:], place)
	return netip.AddrFrom4(b4), netip.AddrFrom16(b6)
}

// placeOf is its reverse.
func placeOf(a netip.Addr) (place uint32, ok bool) {
	a = a.Unmap().WithZone("")
	switch {
	case StandIns4.Contains(a):
		from, at := StandIns4.Addr().As4(), a.As4()
		place = binary.BigEndian.Uint32(at[:]) - binary.BigEndian.Uint32(from[:])
	case StandIns6.Contains(a):
		b := a.As16()
		place = binary.BigEndian.Uint32(b[12:])
	default:
		return 0, false
	}
	v4, v6 := addressesOf(place)
	return place, a == v4 || a == v6
}
