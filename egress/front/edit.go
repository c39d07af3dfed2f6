package front

import (
	"net/http"
	"net/textproto"
)

// An Edit changes one field of a header.
type Edit struct {
	Do    EditKind
	Name  string
	Value string
}

// An EditKind is what an [Edit] does.
type EditKind int

// The kinds of [Edit]. Set is to replace.
const (
	Set EditKind = iota
	Add
	Remove
)

// Edited does the edits of request to what h sees, and those of response to the final
// responses of h. "Host" among those of request is the host that h sees.
func Edited(h http.Handler, request, response []Edit) http.Handler {
	if len(request)+len(response) == 0 {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(request) > 0 {
			out := *r
			out.Header = r.Header.Clone()
			apply(request, out.Header)
			if host := out.Header["Host"]; len(host) > 0 {
				out.Host = host[0]
				delete(out.Header, "Host")
			}
			r = &out
		}
		if len(response) > 0 {
			header := w.Header()
			hw := &hooked{ResponseWriter: w, before: func(int) { apply(response, header) }}
			h.ServeHTTP(hw, r)
			if !hw.wrote {
				hw.before(http.StatusOK) // what net/http makes of a handler that says nothing
			}
			return
		}
		h.ServeHTTP(w, r)
	})
}

func apply(edits []Edit, h http.Header) {
	for _, e := range edits {
		name := textproto.CanonicalMIMEHeaderKey(e.Name)
		switch e.Do {
		case Set:
			h[name] = []string{e.Value}
		case Add:
			h[name] = append(h[name][:len(h[name]):len(h[name])], e.Value)
		case Remove:
			delete(h, name)
		}
	}
}
