package httpproxy

import (
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"

	"github.com/byway-proxy/byway/chain"
)

// Padding is NaiveProxy's, of its README's "Padding protocol": a client that can do it puts a field
// "padding" into its CONNECT, whose value is of no meaning but for its length, and a proxy that can
// do it puts one into its 200. From there on each of the first eight writes in either direction is
//
//	length of the payload (2 bytes), length of the padding (1 byte), payload, zeros
//
// and what comes after those is bare.
const (
	paddingField  = "padding"
	paddedFrames  = 8
	paddingHead   = 3
	maxPadding    = 255
	maxPaddedSize = 1<<16 - 1
)

// errNoPadding is the error of a proxy that does not know padding.
var errNoPadding = errors.New("the proxy takes no padding, which is set for it; leave it out, or have the proxy take it")

// paddingText returns a value of the field, least to most characters long. Huffman's code would make
// them longer, so encoders of header fields leave them as they are.
func paddingText(least, most int) string {
	const symbols = "!#$()+<>?@[]^`{}"
	b := make([]byte, least+rand.IntN(most-least+1))
	for i := range b {
		if b[i] = '~'; i < 16 {
			b[i] = symbols[rand.IntN(len(symbols))]
		}
	}
	return string(b)
}

// A padded is a conn whose first frames in either direction are padded. Both ends have to
// be. Its deadlines and its ends are those of the conn below.
type padded struct {
	net.Conn

	writing sync.Mutex
	wrote   int // frames

	reading sync.Mutex
	begun   int // frames
	head    [paddingHead]byte
	have    int // of head
	payload int // of the frame, still to come
	zeros   int // likewise
}

func newPadded(c net.Conn) *padded { return &padded{Conn: c} }

// NetConn returns the conn below. Its bytes are not those of the tunnel.
func (p *padded) NetConn() net.Conn { return p.Conn }

func (p *padded) CloseWrite() error { return chain.CloseWrite(p.Conn) }
func (p *padded) Abort() error      { return chain.Abort(p.Conn) }

func (p *padded) Write(b []byte) (n int, err error) {
	p.writing.Lock()
	defer p.writing.Unlock()
	for len(b) > 0 && p.wrote < paddedFrames {
		k, zeros := min(len(b), maxPaddedSize), rand.IntN(maxPadding+1)
		frame := make([]byte, paddingHead+k+zeros)
		binary.BigEndian.PutUint16(frame, uint16(k))
		frame[2] = byte(zeros)
		copy(frame[paddingHead:], b[:k])
		m, err := p.Conn.Write(frame)
		p.wrote++ // after a part of one nothing can follow
		if m = min(max(m-paddingHead, 0), k); err != nil {
			return n + m, err
		}
		n, b = n+k, b[k:]
	}
	if len(b) == 0 && n > 0 {
		return n, nil
	}
	m, err := p.Conn.Write(b)
	return n + m, err
}

func (p *padded) Read(b []byte) (n int, err error) {
	p.reading.Lock()
	defer p.reading.Unlock()
	if len(b) == 0 {
		return p.Conn.Read(b)
	}
	for p.padding() {
		n, err = p.step(b)
		if n > 0 || err != nil {
			return n, err
		}
	}
	return p.Conn.Read(b)
}

// padding reports whether a padded frame is under way or comes next.
func (p *padded) padding() bool {
	return p.begun < paddedFrames || p.payload > 0 || p.zeros > 0
}

// step reads a part of a frame: of its payload into b, or of what surrounds that.
func (p *padded) step(b []byte) (n int, err error) {
	var scratch [maxPadding]byte
	switch {
	case p.payload > 0:
		n, err = p.Conn.Read(b[:min(len(b), p.payload)])
		p.payload -= n
		return n, p.cut(err, p.payload > 0 || p.zeros > 0)
	case p.zeros > 0:
		n, err = p.Conn.Read(scratch[:p.zeros])
		p.zeros -= n
		return 0, p.cut(err, p.zeros > 0)
	}
	n, err = p.Conn.Read(p.head[p.have:])
	if p.have += n; p.have == paddingHead {
		p.payload, p.zeros = int(binary.BigEndian.Uint16(p.head[:])), int(p.head[2])
		p.have = 0
		p.begun++
	}
	return 0, p.cut(err, p.have > 0 || p.payload > 0 || p.zeros > 0)
}

// cut makes of an end within a frame what it is.
func (p *padded) cut(err error, within bool) error {
	if err == io.EOF && within {
		return io.ErrUnexpectedEOF
	}
	return err
}
