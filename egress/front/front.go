// Package front is the website of an egress: what everybody without a credential
// sees. It knows nothing of tunnels, and is of use without any.
//
// It is made of handlers, each around the next: [Sites] by host, [Paths] by path,
// then [ErrorPages], [Compressed] and [Edited] around what answers, a [Directory], a [Proxy], a [Redirect]
// or a [Status].
package front

import (
	"net/http"
	"os"
)

// Directory returns the website of the files below root, which must be a folder.
// It takes GET and HEAD. Links that lead out of root are not followed.
func Directory(root string) (http.Handler, error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, err
	}
	files := http.FileServerFS(r.FS())
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		switch q.Method {
		case http.MethodGet, http.MethodHead:
			files.ServeHTTP(w, q)
		default:
			notAllowed(w)
		}
	}), nil
}

func notAllowed(w http.ResponseWriter) {
	w.Header().Set("Allow", "GET, HEAD")
	w.WriteHeader(http.StatusMethodNotAllowed)
}
