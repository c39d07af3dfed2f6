package front_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/byway-proxy/byway/egress/front"
)

func decoded(t *testing.T, coding string, data []byte) string {
	t.Helper()
	var r io.Reader = bytes.NewReader(data)
	var err error
	switch coding {
	case "gzip":
		r, err = gzip.NewReader(r)
	case "br":
		r = brotli.NewReader(r)
	case "zstd":
		var z *zstd.Decoder
		if z, err = zstd.NewReader(r); err == nil {
			defer z.Close()
			r = z
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("%s: %v", coding, err)
	}
	return string(out)
}

func TestCompressed(t *testing.T) {
	long, short := strings.Repeat("lorem ipsum ", 1000), "lorem"
	text := http.Header{"Content-Type": {"text/html"}, "Etag": {`"v1"`}, "Accept-Ranges": {"bytes"}}
	with := func(pairs ...string) http.Header {
		h := text.Clone()
		for i := 0; i < len(pairs); i += 2 {
			h.Set(pairs[i], pairs[i+1])
		}
		return h
	}
	for name, test := range map[string]struct {
		method, accept string
		status         int
		header         http.Header
		body           string
		sized          bool // with Content-Length
		coding         string
		vary           bool
	}{
		"gzip":          {accept: "gzip", header: text, body: long, coding: "gzip", vary: true},
		"sized":         {accept: "gzip", header: text, body: long, sized: true, coding: "gzip", vary: true},
		"ours first":    {accept: "gzip, br, zstd", header: text, body: long, coding: "zstd", vary: true},
		"theirs":        {accept: "zstd;q=0.5, br;q=0.9, gzip;q=0.1", header: text, body: long, coding: "br", vary: true},
		"any":           {accept: "*", header: text, body: long, coding: "zstd", vary: true},
		"any but":       {accept: "*, zstd;q=0", header: text, body: long, coding: "br", vary: true},
		"an error page": {accept: "gzip", status: 404, header: text, body: long, coding: "gzip", vary: true},
		"none asked":    {header: text, body: long, vary: true},
		"refused":       {accept: "gzip;q=0, identity", header: text, body: long, vary: true},
		"nonsense":      {accept: "gzip;q=2", header: text, body: long, vary: true},
		"short":         {accept: "gzip", header: text, body: short, vary: true},
		"short, sized":  {accept: "gzip", header: text, body: short, sized: true, vary: true},
		"nothing":       {accept: "gzip", header: text, vary: true},
		"head":          {method: "HEAD", accept: "gzip", header: with("Content-Length", "5000"), coding: "gzip", vary: true},
		"coded":         {accept: "gzip", header: with("Content-Encoding", "br"), body: long},
		"an image":      {accept: "gzip", header: with("Content-Type", "image/png"), body: long},
		"grpc":          {accept: "gzip", header: with("Content-Type", "application/grpc"), body: long},
		"no-transform":  {accept: "gzip", header: with("Cache-Control", "public, no-transform"), body: long},
		"part":          {accept: "gzip", status: 206, header: with("Content-Range", "bytes 0-9/20"), body: long},
		"no content":    {accept: "gzip", status: 204, header: text},
		"guessed":       {accept: "gzip", header: http.Header{}, body: "<html>" + long, coding: "gzip", vary: true},
	} {
		t.Run(name, func(t *testing.T) {
			h := front.Compressed(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				for k, v := range test.header {
					w.Header()[k] = v
				}
				if test.sized {
					w.Header().Set("Content-Length", strconv.Itoa(len(test.body)))
				}
				if test.status != 0 {
					w.WriteHeader(test.status)
				}
				for chunk := range strings.SplitAfterSeq(test.body, "ipsum") {
					_, _ = io.WriteString(w, chunk)
				}
			}), []string{"zstd", "br", "gzip"})
			method := test.method
			if method == "" {
				method = "GET"
			}
			r := httptest.NewRequest(method, "/", nil)
			if test.accept != "" {
				r.Header.Set("Accept-Encoding", test.accept)
			}
			code, body, header := get(t, h, r)
			if want := max(test.status, 200); code != want {
				t.Errorf("status %d, want %d", code, want)
			}
			coding := header.Get("Content-Encoding")
			if own := test.header.Get("Content-Encoding"); own != "" {
				if coding != own || body != test.body {
					t.Errorf("coded again: %v", header)
				}
				return
			}
			if coding != test.coding || header.Get("Vary") == "Accept-Encoding" != test.vary {
				t.Errorf("coding %q, want %q; %v", coding, test.coding, header)
			}
			if method == "GET" && decoded(t, coding, []byte(body)) != test.body {
				t.Errorf("the body is another: %.40q", body)
			}
			if coding != "" && (header.Get("Content-Length") != "" || header.Get("Accept-Ranges") != "" || test.header.Get("Etag") != "" && header.Get("Etag") != `W/"v1"`) {
				t.Errorf("of the plain form: %v", header)
			}
			if coding == "" && test.header.Get("Etag") != header.Get("Etag") {
				t.Errorf("another validator: %v", header)
			}
		})
	}
}

// TestCompressedFlush sees what was written before a flush, all of it.
func TestCompressedFlush(t *testing.T) {
	for _, coding := range []string{"zstd", "br", "gzip"} {
		next := make(chan bool)
		server := httptest.NewServer(front.Compressed(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			rc := http.NewResponseController(w)
			for range 3 {
				_, _ = io.WriteString(w, "data: x\n\n")
				if err := rc.Flush(); err != nil {
					t.Error(err)
				}
				<-next
			}
		}), []string{coding}))
		r, _ := http.NewRequest("GET", server.URL, nil)
		r.Header.Set("Accept-Encoding", coding)
		resp, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.Header.Get("Content-Encoding"); got != coding {
			t.Errorf("coding %q, want %q", got, coding)
		}
		var body io.Reader
		switch coding {
		case "gzip":
			body, _ = gzip.NewReader(resp.Body)
		case "br":
			body = brotli.NewReader(resp.Body)
		case "zstd":
			z, _ := zstd.NewReader(resp.Body, zstd.WithDecoderConcurrency(1))
			defer z.Close()
			body = z
		}
		event := make([]byte, len("data: x\n\n"))
		for range 3 {
			if _, err := io.ReadFull(body, event); err != nil || string(event) != "data: x\n\n" {
				t.Fatalf("%s: %q, %v", coding, event, err)
			}
			next <- true
		}
		if n, err := io.Copy(io.Discard, body); n != 0 || err != nil {
			t.Errorf("%s: %d bytes more, %v", coding, n, err)
		}
		resp.Body.Close()
		server.Close()
	}
}

// TestCompressedCut does not make a whole response of one that was given up.
func TestCompressedCut(t *testing.T) {
	server := httptest.NewUnstartedServer(front.Compressed(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, strings.Repeat("x", 5000))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}), []string{"gzip"}))
	server.Start()
	defer server.Close()
	r, _ := http.NewRequest("GET", server.URL, nil)
	r.Header.Set("Accept-Encoding", "gzip")
	resp, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("a response that was cut looks whole")
	}
}

func TestCompressed304(t *testing.T) {
	h := front.Compressed(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Etag", `"v1"`)
		w.WriteHeader(304)
	}), []string{"gzip"})
	for held, want := range map[string]string{`W/"v1"`: `W/"v1"`, `"v1"`: `"v1"`, `W/"v1", "v1"`: `"v1"`, "": `"v1"`} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Accept-Encoding", "gzip")
		r.Header.Set("If-None-Match", held)
		if _, _, header := get(t, h, r); header.Get("Etag") != want {
			t.Errorf("who has %s is told %s", held, header.Get("Etag"))
		}
	}
}

// FuzzAccepted has whatever a client says it accepts lead to a coding that is offered, or none, and its
// content be that which was written.
func FuzzAccepted(f *testing.F) {
	for _, seed := range []string{"gzip", "br;q=1.0, *;q=0", "identity;q=0, zstd", ";;,q=", "gzip;Q=0.1;x=y", "x-gzip"} {
		f.Add(seed, "some text")
	}
	f.Fuzz(func(t *testing.T, accept, text string) {
		text = strings.Repeat(text, 100)
		h := front.Compressed(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			_, _ = io.WriteString(w, text)
		}), []string{"br", "gzip"})
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Accept-Encoding"] = []string{accept}
		_, body, header := get(t, h, r)
		coding := header.Get("Content-Encoding")
		if coding != "" && coding != "br" && coding != "gzip" || decoded(t, coding, []byte(body)) != text {
			t.Errorf("%q: coding %q, %q", accept, coding, body)
		}
	})
}

func TestErrorPages(t *testing.T) {
	pages := fstest.MapFS{
		"404.html": {Data: []byte("not here")}, "5xx.html": {Data: []byte("broken")}, "notes.txt": {Data: []byte("x")},
	}
	for _, test := range []struct {
		method string
		status int
		want   string
	}{{"GET", 404, "not here"}, {"GET", 503, "broken"}, {"HEAD", 503, ""}, {"GET", 410, ""}, {"GET", 204, ""}} {
		h, err := front.ErrorPages(front.Edited(front.Status(test.status), nil, []front.Edit{{Do: front.Set, Name: "X-A", Value: "b"}}), pages)
		if err != nil {
			t.Fatal(err)
		}
		code, body, header := get(t, h, httptest.NewRequest(test.method, "/", nil))
		if code != test.status || body != test.want || header.Get("X-A") != "b" {
			t.Errorf("%s, %d: %d %q %v", test.method, test.status, code, body, header)
		}
		if test.status == 503 && header.Get("Content-Length") != "6" {
			t.Errorf("%s: %v", test.method, header)
		}
	}
	own, _ := front.ErrorPages(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "mine", 404) }), pages)
	if _, body, _ := get(t, own, httptest.NewRequest("GET", "/", nil)); body != "mine\n" {
		t.Errorf("an upstream's own page became %q", body)
	}
	if _, err := front.ErrorPages(own, fstest.MapFS{}); err == nil {
		t.Error("no pages at all were taken")
	}
}
