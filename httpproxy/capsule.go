package httpproxy

import "encoding/binary"

// Capsule types of draft-ietf-httpbis-connect-tcp, in the variable-length
// integers of RFC 9000 §16. See the package's doc for what they are good for.
const (
	capsuleData  = 0x2028d7f0
	capsuleFinal = 0x2028d7f1

	// capsuleHead is the length of the head that a sender writes: type and
	// length of four bytes each.
	capsuleHead = 8
)

const capsuleField = "Capsule-Protocol" // RFC 9297 §3.4

// wantsCapsules reports whether the field is the structured Boolean true.
func wantsCapsules(values []string) bool {
	return len(values) == 1 && len(values[0]) >= 2 && values[0][:2] == "?1" &&
		(len(values[0]) == 2 || values[0][2] == ';')
}

// putCapsuleHead writes the head of a capsule with n bytes, n < 2³⁰, to b.
func putCapsuleHead(b []byte, kind uint32, n int) {
	binary.BigEndian.PutUint32(b, 2<<30|kind)
	binary.BigEndian.PutUint32(b[4:], 2<<30|uint32(n))
}

// capsules takes the payload of DATA and FINAL_DATA capsules out of a stream. Others
// are skipped (RFC 9297 §3.2). It is an h2.Filter.
type capsules struct {
	head [16]byte // a head that has come in part
	have int
	left uint64 // payload of the present capsule still to come
	kind uint64
	done bool // FINAL_DATA has come to its end
}

// Next returns the next bytes of payload in b, how much of b is done with, and
// whether FINAL_DATA has come to its end.
func (c *capsules) Next(b []byte) (data []byte, used int, end bool) {
	for used < len(b) && !c.done {
		if c.left == 0 {
			c.head[c.have] = b[used]
			c.have++
			used++
			c.parse()
			continue
		}
		k := int(min(c.left, uint64(len(b)-used)))
		data = b[used : used+k]
		used += k
		c.left -= uint64(k)
		ours := c.kind == capsuleData || c.kind == capsuleFinal
		c.done = c.left == 0 && c.kind == capsuleFinal
		if ours {
			return data, used, c.done
		}
	}
	return nil, used, c.done
}

// Whole reports whether no capsule is under way.
func (c *capsules) Whole() bool { return c.done || c.left == 0 && c.have == 0 }

// parse takes in the head once it is complete.
func (c *capsules) parse() {
	kind := 1 << (c.head[0] >> 6)
	if c.have <= kind {
		return
	}
	if c.have < kind+1<<(c.head[kind]>>6) {
		return
	}
	c.kind, c.left = varint(c.head[:kind]), varint(c.head[kind:c.have])
	c.have = 0
	c.done = c.left == 0 && c.kind == capsuleFinal
}

func varint(b []byte) uint64 {
	n := uint64(b[0] & 0x3f)
	for _, c := range b[1:] {
		n = n<<8 | uint64(c)
	}
	return n
}
