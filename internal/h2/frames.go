package h2

import (
	"encoding/binary"
	"fmt"
)

// Frame types (RFC 9113 §6).
const (
	frameData         = 0x0
	frameHeaders      = 0x1
	frameReset        = 0x3
	frameSettings     = 0x4
	framePush         = 0x5
	framePing         = 0x6
	frameGoAway       = 0x7
	frameWindow       = 0x8
	frameContinuation = 0x9
)

// Flags.
const (
	flagEndStream  = 0x1
	flagAck        = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

// Settings (§6.5.2).
const (
	settingTableSize     = 0x1
	settingPush          = 0x2
	settingStreams       = 0x3
	settingInitialWindow = 0x4
	settingFrameSize     = 0x5
	settingHeaderList    = 0x6
)

// A Code says why a stream or a session ended (§7).
type Code uint32

// The codes that are told apart.
const (
	CodeNo              Code = 0x0
	CodeProtocol        Code = 0x1
	CodeFlowControl     Code = 0x3
	CodeFrameSize       Code = 0x6
	CodeRefusedStream   Code = 0x7
	CodeCancel          Code = 0x8
	CodeCompression     Code = 0x9
	CodeConnect         Code = 0xa
	CodeEnhanceYourCalm Code = 0xb
)

var codeNames = [...]string{
	"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED", "FRAME_SIZE_ERROR",
	"REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
}

func (c Code) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return fmt.Sprintf("error code %#x", uint32(c))
}

const (
	preface    = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	headSize   = 9 // of a frame
	maxInt31   = 1<<31 - 1
	baseFrame  = 16 << 10 // what every peer takes (§4.2)
	baseWindow = 1<<16 - 1
)

// A head is that of a frame (§4.1).
type head struct {
	length int
	kind   byte
	flags  byte
	stream uint32
}

func parseHead(b []byte) head {
	return head{
		length: int(b[0])<<16 | int(b[1])<<8 | int(b[2]),
		kind:   b[3], flags: b[4],
		stream: binary.BigEndian.Uint32(b[5:]) & maxInt31,
	}
}

func appendHead(b []byte, length int, kind, flags byte, stream uint32) []byte {
	b = append(b, byte(length>>16), byte(length>>8), byte(length), kind, flags)
	return binary.BigEndian.AppendUint32(b, stream)
}

func appendWindow(b []byte, stream uint32, n int) []byte {
	b = appendHead(b, 4, frameWindow, 0, stream)
	return binary.BigEndian.AppendUint32(b, uint32(n))
}

func appendReset(b []byte, stream uint32, code Code) []byte {
	b = appendHead(b, 4, frameReset, 0, stream)
	return binary.BigEndian.AppendUint32(b, uint32(code))
}

func appendPing(b []byte, flags byte, data uint64) []byte {
	b = appendHead(b, 8, framePing, flags, 0)
	return binary.BigEndian.AppendUint64(b, data)
}

func appendSetting(b []byte, id uint16, value uint32) []byte {
	b = binary.BigEndian.AppendUint16(b, id)
	return binary.BigEndian.AppendUint32(b, value)
}

// appendHeaders splits a block into HEADERS and CONTINUATION (§4.3).
func appendHeaders(b, block []byte, stream uint32) []byte {
	kind := byte(frameHeaders)
	for {
		n := min(len(block), baseFrame)
		flags := byte(0)
		if n == len(block) {
			flags = flagEndHeaders
		}
		b = append(appendHead(b, n, kind, flags, stream), block[:n]...)
		if block = block[n:]; len(block) == 0 {
			return b
		}
		kind = frameContinuation
	}
}
