package httpproxy

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/byway-proxy/byway/chain"
)

// drop ends the client's conn so that what it got does not look complete.
func (c *client) drop() {
	c.gone = true
	_ = chain.Abort(c.conn)
}

// responseHead writes status line and fields. reason may be empty.
func responseHead(code int, reason string, fields http.Header) []byte {
	if reason == "" {
		reason = http.StatusText(code)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", code, strings.Map(printable, reason))
	_ = fields.Write(&b) // it replaces line ends in values
	b.WriteString("\r\n")
	return b.Bytes()
}

func printable(r rune) rune {
	if r < ' ' || r == 0x7f {
		return -1
	}
	return r
}

// A framing is how the client learns where a response ends.
type framing int

const (
	noBody     framing = iota // HEAD, 204, 304
	fixed                     // Content-Length
	chunked                   // to HTTP/1.1, where the length is not known
	untilClose                // to HTTP/1.0
)

func (x *exchange) framing(resp *http.Response) framing {
	switch {
	case x.in.Method == http.MethodHead, resp.StatusCode == http.StatusNoContent, resp.StatusCode == http.StatusNotModified:
		return noBody
	case resp.ContentLength >= 0:
		return fixed
	case x.h.minor == 1:
		return chunked
	}
	return untilClose
}

// respond passes a final response on, piece by piece as it comes.
func (x *exchange) respond(resp *http.Response) (again bool, err error) {
	x.answer()
	x.touch()
	fields := responseFields(resp.Header)
	how := x.framing(resp)
	again = x.keepAlive() && how != untilClose
	switch {
	case how == chunked:
		fields.Set("Transfer-Encoding", "chunked")
		if names := trailerNames(resp.Trailer); names != "" {
			fields.Set("Trailer", names)
		}
		fields.Del("Content-Length")
	case how == fixed:
		fields.Set("Content-Length", strconv.FormatInt(resp.ContentLength, 10))
	}
	switch {
	case !again:
		fields.Set("Connection", "close")
	case x.h.minor == 0:
		fields.Set("Connection", "keep-alive")
	}
	if c := x.c; c.s.Via != "" {
		fields.Add("Via", "1.1 "+c.s.Via)
	}
	_, reason, _ := strings.Cut(resp.Status, " ")
	if err := x.c.write(responseHead(resp.StatusCode, reason, fields)); err != nil {
		return false, err
	}
	x.moved.Add(1)
	if how != noBody {
		if err := x.copyBody(resp, how == chunked); err != nil {
			x.c.drop()
			return false, err
		}
	}
	if !again {
		return false, x.c.leave()
	}
	return true, nil
}

// trailerNames lists the trailers that the target has announced.
func trailerNames(trailer http.Header) string {
	var names []string
	for name := range trailer {
		if mayTrail(name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

const (
	pieceSize = 32 << 10
	pieceRoom = 8 // for the size of a chunk, and as much behind for its end
)

var pieces = sync.Pool{New: func() any { return new([pieceRoom + pieceSize + 2]byte) }}

// copyBody sends each piece as soon as it is there, so that a stream of events
// flows. An error means that the response is not complete.
func (x *exchange) copyBody(resp *http.Response, inChunks bool) error {
	buf := pieces.Get().(*[pieceRoom + pieceSize + 2]byte)
	defer pieces.Put(buf)
	for {
		n, err := resp.Body.Read(buf[pieceRoom : pieceRoom+pieceSize])
		if n > 0 {
			x.touch()
			piece := buf[pieceRoom : pieceRoom+n]
			if inChunks {
				piece = asChunk(buf[:], n)
			}
			if err := x.c.write(piece); err != nil {
				return err
			}
			x.moved.Add(1)
			x.touch()
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if !inChunks {
		return nil
	}
	trailer := make(http.Header)
	copyTrailers(trailer, resp.Trailer)
	var end bytes.Buffer
	end.WriteString("0\r\n")
	_ = trailer.Write(&end)
	end.WriteString("\r\n")
	return x.c.write(end.Bytes())
}

// asChunk frames the n bytes that begin at pieceRoom in buf.
func asChunk(buf []byte, n int) []byte {
	head := strconv.FormatUint(uint64(n), 16) + "\r\n"
	from := pieceRoom - len(head)
	copy(buf[from:], head)
	end := pieceRoom + n
	buf[end], buf[end+1] = '\r', '\n'
	return buf[from : end+2]
}
