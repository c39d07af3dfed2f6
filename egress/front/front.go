// Package front is the website of an egress: what everybody without a credential
// sees. It knows nothing of tunnels, and is of use without any.
//
// It is made of handlers, each around the next: the [Persona], [Sites] by host, [Paths] by path,
// then [ErrorPages], [Compressed] and [Edited] around what answers, a [Directory], a [Proxy], a [Redirect]
// or a [Status].
package front

import "net/http"

func notAllowed(w http.ResponseWriter) {
	w.Header().Set("Allow", "GET, HEAD")
	fail(w, http.StatusMethodNotAllowed)
}
