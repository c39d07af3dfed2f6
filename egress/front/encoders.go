package front

import (
	"io"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// An encoder writes a content coding.
type encoder interface {
	io.WriteCloser
	Flush() error
	release() // after Close: it may be used for another response
}

// A resetter is what the libraries' writers have in common.
type resetter interface {
	io.WriteCloser
	Flush() error
	Reset(io.Writer)
}

// pools keep encoders, whose tables are large, by their coding. The levels are those
// of which a faster one saves little time and a slower one little space on pages and scripts.
var pools = map[string]*sync.Pool{
	"gzip": {New: func() any {
		w, _ := gzip.NewWriterLevel(io.Discard, 5)
		return w
	}},
	"br": {New: func() any { return brotli.NewWriterLevel(io.Discard, 4) }},
	"zstd": {New: func() any {
		// Clients need not take windows beyond 8 MiB (RFC 9659); memory goes by the window.
		w, _ := zstd.NewWriter(io.Discard, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(512<<10), zstd.WithLowerEncoderMem(true))
		return w
	}},
}

type pooled struct {
	resetter
	pool *sync.Pool
}

func newEncoder(coding string, w io.Writer) encoder {
	pool := pools[coding]
	e := pool.Get().(resetter)
	e.Reset(w)
	return pooled{e, pool}
}

func (p pooled) release() {
	p.Reset(io.Discard) // keep no response alive
	p.pool.Put(p.resetter)
}
