//go:build interop

package interop

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/quic-go/qpack"
	"github.com/quic-go/quic-go/quicvarint"

	"github.com/byway-proxy/byway/internal/probe"
)

func frame3(kind uint64, b []byte) []byte {
	return append(quicvarint.Append(quicvarint.Append(nil, kind), uint64(len(b))), b...)
}

func fields3(text string) []byte {
	var b bytes.Buffer
	e := qpack.NewEncoder(&b)
	for f := range strings.SplitSeq(text, "; ") {
		name, value, _ := strings.Cut(strings.TrimSpace(f), " ")
		if name != "" {
			_ = e.WriteField(qpack.HeaderField{Name: name, Value: value})
		}
	}
	return b.Bytes()
}

// frames3 tells the frames in b. SETTINGS are sorted: quic-go keeps them in a map.
func frames3(b []byte) (all []string) {
	for len(b) > 0 {
		kind, n, err1 := quicvarint.Parse(b)
		b = b[min(n, len(b)):]
		size, m, err2 := quicvarint.Parse(b)
		b = b[min(m, len(b)):]
		if err1 != nil || err2 != nil || uint64(len(b)) < size {
			return append(all, fmt.Sprintf("frame %d, cut short", kind))
		}
		p := b[:size]
		b = b[size:]
		switch kind {
		case 0:
			all = append(all, probe.Excerpt("DATA", p))
		case 1:
			all = append(all, "HEADERS "+headers3(p))
		case 4:
			var pairs []string
			for len(p) > 0 {
				k, n, _ := quicvarint.Parse(p)
				v, m, _ := quicvarint.Parse(p[n:])
				p = p[n+m:]
				pairs = append(pairs, fmt.Sprintf("%d=%d", k, v))
			}
			slices.Sort(pairs)
			all = append(all, "SETTINGS "+strings.Join(pairs, " "))
		default:
			all = append(all, fmt.Sprintf("frame %d %x", kind, p))
		}
	}
	return all
}

// headers3 tells fields in order of their names: quic-go keeps them in a map.
func headers3(p []byte) string {
	var s []string
	for next := qpack.NewDecoder().Decode(p); ; {
		f, err := next()
		if err != nil {
			if err != io.EOF {
				s = append(s, err.Error())
			}
			slices.Sort(s)
			return strings.Join(s, " ")
		}
		if f.Name == "date" {
			f.Value = "*"
		}
		s = append(s, fmt.Sprintf("%s=%q", f.Name, f.Value))
	}
}
