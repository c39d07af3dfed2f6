package front

import (
	"io"
	"net/http"
	"strings"
	"sync"
)

// answer passes on a response.
func (p *Proxy) answer(w http.ResponseWriter, r *http.Request, resp *http.Response, body *replay) {
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		p.upgrade(w, r, resp)
		return
	}
	dropPerConnection(resp.Header)
	h := w.Header()
	for name, values := range resp.Header {
		h[name] = values
	}
	p.via(h, resp.ProtoMajor, resp.ProtoMinor)
	for name := range resp.Trailer {
		h.Add("Trailer", name)
	}
	if !body.done() && r.ProtoMajor == 1 {
		// What is left of the body can't be told from a next request for sure.
		h["Connection"] = []string{"close"}
	}
	w.WriteHeader(resp.StatusCode)
	stream := resp.ContentLength < 0 || strings.HasPrefix(h.Get("Content-Type"), "text/event-stream")
	err := pour(w, resp.Body, stream)
	body.stop(w)
	if err != nil {
		panic(http.ErrAbortHandler) // a response that was cut must not look whole
	}
	for name, values := range resp.Trailer {
		h[http.TrailerPrefix+name] = values
	}
	if len(resp.Trailer) > 0 {
		// Trailers want a chunked body, be it empty.
		_ = http.NewResponseController(w).Flush()
	}
}

var buffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// pour copies body to w. If it streams, what has come is flushed before more is waited for.
func pour(w http.ResponseWriter, body io.Reader, stream bool) error {
	if to, ok := body.(io.WriterTo); ok && !stream {
		_, err := to.WriteTo(w)
		return err
	}
	buf := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buf)
	rc := http.NewResponseController(w)
	if stream {
		_ = rc.Flush() // the head, before the first byte
	}
	for {
		n, err := body.Read(buf[:])
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
			if stream {
				if err := rc.Flush(); err != nil {
					return err
				}
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// upgradeOf returns the protocol that a header asks or says to change to, or "".
func upgradeOf(h http.Header) string {
	if !hasItem(h["Connection"], "upgrade") {
		return ""
	}
	return h.Get("Upgrade")
}

// isTransport reports whether an upgrade is to another way of carrying HTTP itself: requests would pass
// unseen in it, whatever paths and edits say of them.
func isTransport(protocol string) bool {
	name, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(protocol)), "/")
	return name == "h2c" || name == "h2" || name == "http" || name == "tls" || strings.Contains(protocol, ",")
}

// upgrade makes a tunnel of the connection, as the server has agreed to (RFC 9110 §7.8).
func (p *Proxy) upgrade(w http.ResponseWriter, r *http.Request, resp *http.Response) {
	server, ok := resp.Body.(io.ReadWriteCloser)
	asked, got := upgradeOf(r.Header), upgradeOf(resp.Header)
	if !ok || asked == "" || isTransport(asked) || !strings.EqualFold(asked, got) {
		fail(w, http.StatusBadGateway)
		return
	}
	dropPerConnection(resp.Header)
	h := w.Header()
	for name, values := range resp.Header {
		h[name] = values
	}
	h["Connection"], h["Upgrade"] = []string{"Upgrade"}, []string{got}
	p.via(h, resp.ProtoMajor, resp.ProtoMinor)
	w.WriteHeader(http.StatusSwitchingProtocols)
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	if err := buffered.Flush(); err != nil {
		_ = conn.Close()
		return
	}
	p.tunnels.carry(&tunnel{client: conn, ahead: buffered.Reader, server: server})
}
