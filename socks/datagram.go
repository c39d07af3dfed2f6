package socks

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"sync"

	"github.com/byway-proxy/byway/internal/datagram"
)

var (
	errFragment = errors.New("a fragment")
	errTooBig   = errors.New("longer than a datagram can be")
)

// maxHeader is the longest header of a datagram (RFC 1928 §7).
const maxHeader = 3 + 1 + 1 + maxName + 2

// maxRead has room for what an IPv6 datagram may hold.
const maxRead = 64 << 10

// packets are buffers for one datagram with its header.
var packets = sync.Pool{New: func() any { return new([maxHeader + maxRead]byte) }}

// parseDatagram takes apart a datagram between a client and a SOCKS server
// (RFC 1928 §7): where to or whence, and what. Fragments are refused, as the RFC
// allows. RSV is not looked at, as in requests. data and the header before it are
// parts of b. What stands in place of a name is a name, or there is an error.
func parseDatagram(b []byte) (header, data []byte, t target, err error) {
	if len(b) < 5 {
		return nil, nil, t, errShort
	}
	if b[2] != 0 {
		return nil, nil, t, errFragment
	}
	n, err := addrLen(b[3:])
	if err != nil {
		return nil, nil, t, err
	}
	if len(b) < 3+n {
		return nil, nil, t, errShort
	}
	if t = takeTarget(b[3 : 3+n]); t.port == 0 {
		return nil, nil, t, errPort
	}
	if !t.ip.IsValid() {
		if err := checkName(t.name); err != nil {
			return nil, nil, t, err
		}
	}
	return b[:3+n], b[3+n:], t, nil
}

// takeTarget takes ATYP, address and port apart. b is as long as addrLen says.
func takeTarget(b []byte) (t target) {
	t.port = binary.BigEndian.Uint16(b[len(b)-2:])
	switch addr := b[1 : len(b)-2]; b[0] {
	case addrIPv4:
		t.ip = netip.AddrFrom4([4]byte(addr))
	case addrIPv6:
		t.ip = netip.AddrFrom16([16]byte(addr)).Unmap()
	default:
		t.name = string(addr[1:])
	}
	return t
}

// appendHeader appends the header of a datagram to or from t.
func (t target) appendHeader(b []byte) []byte { return t.append(append(b, 0, 0, 0)) }

// String returns t as host:port.
func (t target) String() string {
	host := t.name
	if t.ip.IsValid() {
		host = t.ip.String()
	}
	return net.JoinHostPort(host, strconv.Itoa(int(t.port)))
}

// pack puts header before p and hands it to send. It returns what is to be said of
// p's writing.
func pack(header string, p []byte, send func([]byte) error) (int, error) {
	if len(header)+len(p) > datagram.Max {
		return 0, &net.OpError{Op: "write", Net: "udp", Err: errTooBig}
	}
	buf := packets.Get().(*[maxHeader + maxRead]byte)
	defer packets.Put(buf)
	n := copy(buf[:], header)
	n += copy(buf[n:], p)
	if err := send(buf[:n]); err != nil {
		return 0, err
	}
	return len(p), nil
}
