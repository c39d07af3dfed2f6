package httpproxy

import "net"

// maxSendFrame is the longest DATA frame that we send, in bytes. net/http holds a
// buffer as long as the longest frame that the peer takes, up to 512 KiB, for each
// stream and for all its life, and servers on Go take 1 MiB.
const maxSendFrame = 32 << 10

// frameCap is the conn of an HTTP/2 session below the frames. In the SETTINGS
// that the peer begins with it lowers SETTINGS_MAX_FRAME_SIZE (RFC 9113 §6.5.2) to
// maxSendFrame: what a sender may do is not what it must.
type frameCap struct {
	net.Conn
	at   int // bytes of the first frame seen; -1 when it is over
	size int // of the first frame, with its header
	id   uint16
	over bool // the value is known to exceed the cap
}

const (
	frameHeader      = 9
	settingLength    = 6
	frameSettings    = 4
	settingFrameSize = 5
)

func (f *frameCap) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	for i := 0; i < n && f.at >= 0; i++ {
		p[i] = f.step(p[i])
	}
	return n, err
}

// step looks at the next byte of the first frame, and returns what to pass on.
func (f *frameCap) step(b byte) byte {
	at := f.at
	f.at++
	switch {
	case at < 3:
		f.size = f.size<<8 | int(b)
		return b
	case at == 3 && b != frameSettings:
		f.at = -1
		return b
	case at < frameHeader:
		if at == frameHeader-1 && f.size == 0 {
			f.at = -1
		}
		return b
	}
	if at+1 == frameHeader+f.size {
		f.at = -1
	}
	switch i := (at - frameHeader) % settingLength; {
	case i == 0:
		f.id, f.over = uint16(b), false
	case i == 1:
		f.id = f.id<<8 | uint16(b)
	case f.id == settingFrameSize:
		// Big-endian: the first byte that differs from the cap's decides.
		limit := byte(uint32(maxSendFrame) >> (8 * (settingLength - 1 - i)))
		if f.over {
			return limit
		}
		if b > limit {
			f.over = true
			return limit
		}
		if b < limit {
			f.id = 0 // below the cap: leave the rest
		}
	}
	return b
}
