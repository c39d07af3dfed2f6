package front

import (
	"fmt"
	"io/fs"
	"net/http"
	"strconv"
)

// ErrorPages shows, with the errors that h makes of its own (no upstream's), the page that
// pages has for the status: "404.html", else "4xx.html", else "error.html". They
// are read once.
func ErrorPages(h http.Handler, pages fs.FS) (http.Handler, error) {
	all := make(map[string][]byte)
	files, err := fs.Glob(pages, "*.html")
	if err != nil {
		return nil, err
	}
	for _, name := range files {
		if all[name], err = fs.ReadFile(pages, name); err != nil {
			return nil, err
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("there is no page in it")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(&paged{w, r.Method == http.MethodHead, all}, r)
	}), nil
}

// A paged knows the pages of errors.
type paged struct {
	http.ResponseWriter
	head  bool
	pages map[string][]byte
}

// Unwrap is for [http.ResponseController], and for fail.
func (p *paged) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// fail answers with an error of our own: its page if there are some, else nothing, as
// Caddy does.
func fail(w http.ResponseWriter, status int) {
	for at := w; at != nil; {
		if p, ok := at.(*paged); ok {
			p.fail(w, status)
			return
		}
		u, ok := at.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		at = u.Unwrap()
	}
	w.WriteHeader(status)
}

// fail writes the page to w, which is p or around it.
func (p *paged) fail(w http.ResponseWriter, status int) {
	code := strconv.Itoa(status)
	for _, name := range []string{code + ".html", code[:1] + "xx.html", "error.html"} {
		page, ok := p.pages[name]
		if !ok || status < 400 {
			continue
		}
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Length", strconv.Itoa(len(page)))
		h.Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		if !p.head {
			_, _ = w.Write(page)
		}
		return
	}
	w.WriteHeader(status)
}
