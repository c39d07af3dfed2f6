package local

import (
	"net"
	"sync"
	"time"

	"github.com/byway-proxy/byway/chain"
)

// A protocol is what a client speaks.
type protocol int

const (
	speaksHTTP protocol = iota
	speaksSOCKS
	speaksTLS // which only a listener with a certificate takes
)

// protocolOf tells by the first byte. Whatever is none of the others is left to HTTP,
// whose parser is strict and refuses the rest.
func protocolOf(first byte) protocol {
	switch first {
	case 4, 5:
		return speaksSOCKS
	case 22: // a handshake record: RFC 8446 §5.1
		return speaksTLS
	}
	return speaksHTTP
}

// sniffed is how many bytes are read at once: a greeting or the head of a request
// mostly comes whole.
const sniffed = 1024

var sniffers = sync.Pool{New: func() any { return new([sniffed]byte) }}

// sniff waits for the first bytes of c, until the limit. The conn returned reads
// as c from the start. On failure c is still the caller's.
func sniff(c net.Conn, limit time.Duration) (protocol, net.Conn, error) {
	if err := c.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return 0, nil, err
	}
	buf := sniffers.Get().(*[sniffed]byte)
	defer sniffers.Put(buf)
	n, err := c.Read(buf[:])
	if n == 0 {
		return 0, nil, err
	}
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		return 0, nil, err
	}
	return protocolOf(buf[0]), chain.Unread(c, append([]byte(nil), buf[:n]...)), nil
}
