package probe

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http2/hpack"
)

// Types and flags of frames (RFC 9113 §6).
const (
	frameData     = 0
	frameHeaders  = 1
	framePriority = 2
	frameRST      = 3
	frameSettings = 4
	framePush     = 5
	framePing     = 6
	frameGoAway   = 7
	frameWindow   = 8
	frameContinue = 9

	flagEnd        = 1 // END_STREAM; ACK of SETTINGS and PING
	flagEndHeaders = 4
)

// windows stands in place of stream 0 for the connection's WINDOW_UPDATEs. It is no stream's
// number, which has 31 bits.
const windows = 1 << 31

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// frame returns a frame as it is sent.
func frame(kind, flags uint8, stream uint32, payload []byte) []byte {
	n := len(payload)
	b := []byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags}
	b = binary.BigEndian.AppendUint32(b, stream)
	return append(b, payload...)
}

// fields encodes "name value; name value" without the dynamic table, so that frames can be
// left out or repeated.
func fields(text string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	e.SetMaxDynamicTableSize(0)
	for _, f := range strings.Split(text, "; ") {
		name, value, _ := strings.Cut(strings.TrimSpace(f), " ")
		if name != "" {
			_ = e.WriteField(hpack.HeaderField{Name: name, Value: value}) // a bytes.Buffer takes all
		}
	}
	return b.Bytes()
}

// settings encodes "ID=VALUE ID=VALUE".
func settings(text string) ([]byte, error) {
	var b []byte
	for _, pair := range strings.Fields(text) {
		id, value, _ := strings.Cut(pair, "=")
		n, err1 := strconv.ParseUint(id, 10, 16)
		v, err2 := strconv.ParseUint(value, 10, 32)
		if err1 != nil || err2 != nil {
			return nil, fmt.Errorf("%q is no setting", pair)
		}
		b = binary.BigEndian.AppendUint16(b, uint16(n))
		b = binary.BigEndian.AppendUint32(b, uint32(v))
	}
	return b, nil
}

// describe tells the frames in b, each as a line. Frames of one stream stay in order. Those of
// different streams have none, nor has a WINDOW_UPDATE of the connection, so they are told apart.
// Lengths of HEADERS are left out, as Date makes them vary.
func describe(b []byte) []string {
	var streams []uint32
	lines := make(map[uint32][]string)
	dec := hpack.NewDecoder(4096, nil)
	var block []byte
	for len(b) > 0 {
		if len(b) < 9 {
			streams, lines[0] = note(streams, 0), append(lines[0], fmt.Sprintf("%d bytes that are no frame", len(b)))
			break
		}
		n := int(b[0])<<16 | int(b[1])<<8 | int(b[2])
		kind, flags, id := b[3], b[4], binary.BigEndian.Uint32(b[5:9])
		if len(b) < 9+n {
			streams, lines[id] = note(streams, id), append(lines[id], fmt.Sprintf("frame %d, cut short", kind))
			break
		}
		payload := b[9 : 9+n]
		b = b[9+n:]
		var text string
		if kind == frameHeaders || kind == frameContinue {
			block = append(block, payload...)
			if flags&flagEndHeaders == 0 {
				continue
			}
			text = "HEADERS" + flagText(flags) + " " + fieldText(dec, block)
			block = nil
		} else {
			text = frameText(kind, flags, payload)
		}
		if kind == frameWindow && id == 0 {
			id = windows
		}
		streams, lines[id] = note(streams, id), append(lines[id], text)
	}
	var all []string
	slices.Sort(streams)
	for _, id := range streams {
		for _, l := range lines[id] {
			all = append(all, fmt.Sprintf("[%d] %s", id&^windows, l))
		}
	}
	return all
}

func note(streams []uint32, id uint32) []uint32 {
	if slices.Contains(streams, id) {
		return streams
	}
	return append(streams, id)
}

func flagText(flags uint8) string {
	if flags&flagEnd != 0 {
		return " end"
	}
	return ""
}

func frameText(kind, flags uint8, p []byte) string {
	switch {
	case kind == frameData:
		return fmt.Sprintf("DATA%s %d %s", flagText(flags), len(p), excerpt(p))
	case kind == frameRST && len(p) == 4:
		return fmt.Sprintf("RST_STREAM %d", binary.BigEndian.Uint32(p))
	case kind == frameSettings && flags&flagEnd != 0:
		return "SETTINGS ack"
	case kind == frameSettings && len(p)%6 == 0:
		s := "SETTINGS"
		for ; len(p) > 0; p = p[6:] {
			s += fmt.Sprintf(" %d=%d", binary.BigEndian.Uint16(p), binary.BigEndian.Uint32(p[2:]))
		}
		return s
	case kind == frameGoAway && len(p) >= 8:
		return fmt.Sprintf("GOAWAY last=%d code=%d %q", binary.BigEndian.Uint32(p), binary.BigEndian.Uint32(p[4:]), p[8:])
	case kind == frameWindow && len(p) == 4:
		return fmt.Sprintf("WINDOW_UPDATE %d", binary.BigEndian.Uint32(p))
	case kind == framePing:
		return "PING" + strings.Replace(flagText(flags), "end", "ack", 1) + " " + hex.EncodeToString(p)
	}
	return fmt.Sprintf("frame %d flags=%d %s", kind, flags, hex.EncodeToString(p))
}

func fieldText(dec *hpack.Decoder, block []byte) string {
	list, err := dec.DecodeFull(block)
	if err != nil {
		return err.Error()
	}
	var s []string
	for _, f := range list {
		switch f.Name {
		case "date":
			f.Value = "*"
		case "alt-svc":
			f.Value = port.ReplaceAllString(f.Value, `h3=":*"`)
		}
		s = append(s, fmt.Sprintf("%s=%q", f.Name, f.Value))
	}
	return strings.Join(s, " ")
}
