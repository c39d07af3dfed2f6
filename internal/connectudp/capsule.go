package connectudp

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
)

// MaxPayload is the longest payload of UDP (RFC 9298 §5), in bytes.
const MaxPayload = 65527

// ErrMalformed is the error of a stream that is no sequence of capsules, or has one
// that must not be: the stream is aborted (RFC 9297 §3.3, RFC 9298 §5).
var ErrMalformed = errors.New("malformed capsules")

// datagramCapsule is the type of a capsule with an HTTP datagram (RFC 9297 §3.5).
const datagramCapsule = 0

// A Reader takes payloads of UDP out of a stream of capsules.
type Reader struct {
	br  *bufio.Reader
	buf []byte
}

// NewReader returns a Reader of r.
func NewReader(r io.Reader) *Reader { return &Reader{br: bufio.NewReaderSize(r, 2<<10)} }

// Next returns the next payload, which is valid until the next call. It returns io.EOF
// for an end between two capsules, and [ErrMalformed], or what else the stream says.
func (r *Reader) Next() ([]byte, error) {
	for {
		kind, _, err := r.varint()
		if err != nil {
			return nil, err
		}
		length, _, err := r.varint()
		if err != nil {
			return nil, unexpected(err)
		}
		if kind != datagramCapsule {
			if err := r.skip(length); err != nil {
				return nil, err
			}
			continue
		}
		payload, err := r.datagram(length)
		if err != nil || payload != nil {
			return payload, err
		}
	}
}

// datagram reads a datagram of that length. It returns nil for one of another context.
func (r *Reader) datagram(length uint64) ([]byte, error) {
	if length == 0 {
		return nil, ErrMalformed // it has no context
	}
	b, err := r.br.Peek(1)
	if err != nil {
		return nil, unexpected(err)
	}
	if uint64(1)<<(b[0]>>6) > length {
		return nil, ErrMalformed
	}
	context, n, err := r.varint()
	if err != nil {
		return nil, unexpected(err)
	}
	length -= uint64(n)
	switch {
	case context != 0:
		return nil, r.skip(length)
	case length > MaxPayload:
		return nil, ErrMalformed
	case int(length) > cap(r.buf):
		r.buf = make([]byte, max(int(length), 2<<10))
	}
	r.buf = r.buf[:length]
	if r.buf == nil {
		r.buf = make([]byte, 0, 2<<10)
	}
	_, err = io.ReadFull(r.br, r.buf)
	return r.buf, unexpected(err)
}

// skip passes over n bytes.
func (r *Reader) skip(n uint64) error {
	for n > 0 {
		k, err := r.br.Discard(int(min(n, 1<<20)))
		if n -= uint64(k); err != nil {
			return unexpected(err)
		}
	}
	return nil
}

// varint reads an integer of RFC 9000 §16, and tells how long it was.
func (r *Reader) varint() (v uint64, n int, err error) {
	first, err := r.br.ReadByte()
	if err != nil {
		return 0, 0, err
	}
	v, n = uint64(first&0x3f), 1<<(first>>6)
	for range n - 1 {
		b, err := r.br.ReadByte()
		if err != nil {
			return 0, 0, unexpected(err)
		}
		v = v<<8 | uint64(b)
	}
	return v, n, nil
}

// unexpected is err, met within a capsule.
func unexpected(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return ErrMalformed
	}
	return err
}

// AppendCapsule appends the capsule of payload, which has up to [MaxPayload] bytes.
func AppendCapsule(b, payload []byte) []byte {
	b = append(b, datagramCapsule)
	switch n := 1 + len(payload); {
	case n < 1<<6:
		b = append(b, byte(n))
	case n < 1<<14:
		b = binary.BigEndian.AppendUint16(b, 1<<14|uint16(n))
	default:
		b = binary.BigEndian.AppendUint32(b, 2<<30|uint32(n))
	}
	return AppendDatagram(b, payload)
}

// AppendDatagram appends the HTTP datagram of payload.
func AppendDatagram(b, payload []byte) []byte { return append(append(b, 0), payload...) }

// ParseDatagram returns the payload of an HTTP datagram, and whether it is one of UDP.
func ParseDatagram(b []byte) (payload []byte, ok bool) {
	if len(b) == 0 || len(b) < 1<<(b[0]>>6) {
		return nil, false
	}
	n := 1 << (b[0] >> 6)
	for i, c := range b[:n] {
		if i == 0 {
			c &= 0x3f
		}
		if c != 0 {
			return nil, false // of another context
		}
	}
	return b[n:], true
}
