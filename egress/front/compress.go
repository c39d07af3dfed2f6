package front

import (
	"net/http"
	"strconv"
	"strings"
)

// leastCompressed is the size in bytes below which compressing costs more than it saves.
const leastCompressed = 512

// Compressed compresses what h answers for clients that accept it, by the first of
// codings ("zstd", "br", "gzip") that is as welcome as any. It leaves alone what is short, coded
// already, partial, not to be transformed (RFC 9110 §7.7), or of a type that is compressed by itself.
// A flush of h passes, with all that was written before it.
func Compressed(h http.Handler, codings []string) http.Handler {
	if len(codings) == 0 {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &compressor{
			ResponseWriter: w,
			coding:         accepted(r.Header["Accept-Encoding"], codings),
			head:           r.Method == http.MethodHead,
			held:           r.Header["If-None-Match"],
		}
		h.ServeHTTP(c, r) // if it panics the client must not see a proper end
		c.finish()
	})
}

// A compressor is a ResponseWriter that begins with the decision whether to compress.
type compressor struct {
	http.ResponseWriter
	coding string   // accepted, or ""
	head   bool     // answers a HEAD
	held   []string // If-None-Match

	status  int    // of the final header, once h has said it
	decided bool   // the header has left
	start   []byte // what was written before that
	enc     encoder
}

func (c *compressor) WriteHeader(status int) {
	if c.status != 0 {
		return
	}
	if status < 200 {
		c.ResponseWriter.WriteHeader(status)
		return
	}
	c.status = status
	switch size, fits := c.fits(); {
	case status == http.StatusNotModified:
		c.weaken304()
		c.decide(false)
	case !fits || c.coding == "":
		c.decide(false)
	case size >= 0:
		c.decide(size >= leastCompressed)
	case c.head:
		c.decide(true) // as the GET, most likely
	}
}

// fits reports whether the response may be compressed, and its size if that is known, else -1.
func (c *compressor) fits() (size int64, ok bool) {
	h := c.Header()
	size, err := strconv.ParseInt(h.Get("Content-Length"), 10, 64)
	if err != nil {
		size = -1
	}
	switch {
	case c.status >= 300 && c.status < 400, c.status == http.StatusNoContent, c.status == http.StatusResetContent,
		c.status == http.StatusPartialContent, h.Get("Content-Range") != "":
		return size, false
	case h.Get("Content-Encoding") != "" && h.Get("Content-Encoding") != "identity":
		return size, false
	case hasItem(h["Cache-Control"], "no-transform"), !compressible(h.Get("Content-Type")):
		return size, false
	}
	if !hasItem(h["Vary"], "Accept-Encoding") && !hasItem(h["Vary"], "*") {
		h.Add("Vary", "Accept-Encoding") // of the plain form, too (RFC 9110 §12.5.5)
	}
	return size, true
}

// weaken304 makes the validator of a 304 that of the compressed form, if that is what the client has.
func (c *compressor) weaken304() {
	if tag := c.Header().Get("Etag"); strings.HasPrefix(tag, `"`) && hasItem(c.held, "W/"+tag) && !hasItem(c.held, tag) {
		c.Header().Set("Etag", "W/"+tag)
	}
}

// decide sends the header on.
func (c *compressor) decide(compress bool) {
	c.decided = true
	h := c.Header()
	if compress {
		h.Del("Content-Length")
		h.Del("Accept-Ranges") // ranges would be those of another form
		h.Set("Content-Encoding", c.coding)
		if tag := h.Get("Etag"); strings.HasPrefix(tag, `"`) {
			h.Set("Etag", "W/"+tag) // other bytes (RFC 9110 §8.8.1)
		}
		if !c.head {
			c.enc = newEncoder(c.coding, c.ResponseWriter)
		}
	}
	c.ResponseWriter.WriteHeader(c.status)
}

func (c *compressor) Write(p []byte) (int, error) {
	if c.status == 0 {
		if c.Header().Get("Content-Type") == "" && c.Header().Get("Content-Encoding") == "" {
			c.Header().Set("Content-Type", http.DetectContentType(p)) // net/http would see the compressed form
		}
		c.WriteHeader(http.StatusOK)
	}
	if !c.decided {
		c.start = append(c.start, p...)
		if len(c.start) < leastCompressed {
			return len(p), nil
		}
		c.decide(true)
		return len(p), c.writeStart()
	}
	return c.write(p)
}

func (c *compressor) write(p []byte) (int, error) {
	if c.enc != nil {
		return c.enc.Write(p)
	}
	return c.ResponseWriter.Write(p)
}

func (c *compressor) writeStart() error {
	start := c.start
	c.start = nil
	if len(start) == 0 {
		return nil
	}
	_, err := c.write(start)
	return err
}

// FlushError is for [http.ResponseController]. It decides for compression: a
// response that is flushed goes on.
func (c *compressor) FlushError() error {
	if c.status == 0 {
		c.WriteHeader(http.StatusOK)
	}
	if !c.decided {
		c.decide(true)
		if err := c.writeStart(); err != nil {
			return err
		}
	}
	if c.enc != nil {
		if err := c.enc.Flush(); err != nil {
			return err
		}
	}
	return http.NewResponseController(c.ResponseWriter).Flush()
}

// Unwrap is for [http.ResponseController].
func (c *compressor) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// finish ends a response that went well.
func (c *compressor) finish() {
	if c.status != 0 && !c.decided {
		if len(c.start) > 0 || c.Header().Get("Content-Length") == "" {
			c.Header().Set("Content-Length", strconv.Itoa(len(c.start)))
		}
		c.decide(false)
		_ = c.writeStart()
	}
	if c.enc != nil {
		_ = c.enc.Close()
		c.enc.release()
	}
}

// compressible reports whether content of a media type gets shorter.
func compressible(mediaType string) bool {
	t, _, _ := strings.Cut(mediaType, ";")
	t = strings.ToLower(strings.TrimSpace(t))
	if strings.HasPrefix(t, "text/") || strings.HasSuffix(t, "+json") || strings.HasSuffix(t, "+xml") {
		return true
	}
	switch t {
	case "application/json", "application/javascript", "application/x-javascript", "application/xml", "application/wasm",
		"application/x-ndjson", "application/graphql-response", "application/toml", "application/yaml",
		"application/vnd.ms-fontobject", "font/ttf", "font/otf", "image/bmp", "image/x-icon", "image/vnd.microsoft.icon":
		return true
	}
	return false
}

// hasItem reports whether a field that is a list has an item, whatever its case.
func hasItem(field []string, item string) bool {
	for _, line := range field {
		for s := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(s), item) {
				return true
			}
		}
	}
	return false
}
