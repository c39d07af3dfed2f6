package probe

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// doFrame does the steps of HTTP/2.
func (s *session) doFrame(verb, rest string) error {
	switch verb {
	case "h2":
		b, err := settings(rest)
		if err != nil {
			return err
		}
		if err := s.send(append([]byte(preface), frame(frameSettings, 0, 0, b)...)); err != nil {
			return err
		}
		// Frames that come before the greeting is over are answered in an order that
		// is the system's affair: goroutines of the server's write.
		s.in.until(s.target.Quiet, greeted)
		return nil
	case "headers", "data":
		id, flags, text, err := heading(rest)
		if err != nil {
			return err
		}
		if verb == "data" {
			return s.send(frame(frameData, flags&flagEnd, id, []byte(text)))
		}
		return s.send(frame(frameHeaders, flags, id, fields(text)))
	case "frame":
		words := append(strings.Fields(rest), "")
		if len(words) < 4 {
			return fmt.Errorf("a frame is TYPE FLAGS STREAM HEX, not %q", rest)
		}
		var n [3]uint64
		for i := range n {
			v, err := strconv.ParseUint(words[i], 10, 32)
			if err != nil {
				return err
			}
			n[i] = v
		}
		payload, err := hex.DecodeString(strings.Join(words[3:], ""))
		if err != nil {
			return err
		}
		return s.send(frame(uint8(n[0]), uint8(n[1]), uint32(n[2]), payload))
	}
	return fmt.Errorf("no step is called %q", verb)
}

// greeted reports whether b has a server's SETTINGS, its acknowledgement of ours, and what it
// adds to the connection's window.
func greeted(b []byte) bool {
	all := strings.Join(describe(b), "\n")
	return strings.Contains(all, "SETTINGS ack") && strings.Contains(all, "WINDOW_UPDATE")
}

// heading takes "STREAM [end] [more] TEXT" apart; more leaves END_HEADERS out.
func heading(rest string) (id uint32, flags uint8, text string, err error) {
	word, rest, _ := strings.Cut(rest, " ")
	n, err := strconv.ParseUint(word, 10, 32)
	if err != nil {
		return 0, 0, "", err
	}
	flags = flagEndHeaders
	for {
		word, after, _ := strings.Cut(rest, " ")
		if !slices.Contains([]string{"end", "more"}, word) {
			return uint32(n), flags, rest, nil
		}
		if word == "end" {
			flags |= flagEnd
		} else {
			flags &^= flagEndHeaders
		}
		rest = after
	}
}
