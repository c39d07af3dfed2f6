package front

import (
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"mime"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Directory returns the website of the files below root, which must be a folder, as Caddy's
// file_server gives it. Links that lead out of root are not followed: there is nothing there.
//
// For clients that accept one of precompressed, content codings ("zstd", "br", "gzip"), the file beside with
// ".zst", ".br" or ".gz" behind its name is given, if there is one.
func Directory(root string, precompressed ...string) (http.Handler, error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, err
	}
	return directory{r, precompressed}, nil
}

// indexes are what a folder is shown as, the first that is there.
var indexes = []string{"index.html", "index.txt"}

type directory struct {
	root          *os.Root
	precompressed []string
}

func (d directory) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, info, err := d.find(r.URL.Path)
	if err != nil {
		fail(w, fileStatus(err))
		return
	}
	// A folder's address ends with a slash, and a file's does not.
	slash := strings.HasSuffix(r.URL.Path, "/")
	switch index := name != local(r.URL.Path); {
	case index && !slash:
		redirect(w, r, r.URL.Path+"/")
		return
	case !index && slash:
		redirect(w, r, r.URL.Path[:len(r.URL.Path)-1])
		return
	}
	h := w.Header()
	h.Add("Vary", "Accept-Encoding")
	f, err := d.root.Open(name)
	if err != nil {
		code := openStatus(err)
		if code == http.StatusServiceUnavailable {
			h.Set("Retry-After", strconv.Itoa(2+rand.IntN(3))) // those who come again shall not come at once
		}
		fail(w, code)
		return
	}
	defer func() { _ = f.Close() }()
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		notAllowed(w)
		return
	}
	if beside, of, coding := d.coded(name, info, r); beside != nil {
		defer func() { _ = beside.Close() }()
		h.Set("Content-Encoding", coding)
		serveFile(w, r, name, of, beside, "-"+coding)
		return
	}
	serveFile(w, r, name, info, f, "")
}

// serveFile gives the file f, or a form of it: two forms may have the same time and size.
func serveFile(w http.ResponseWriter, r *http.Request, name string, info fs.FileInfo, f io.ReadSeeker, form string) {
	h := w.Header()
	modified := info.ModTime()
	if s := modified.Unix(); s == 0 || s == 1 {
		modified = time.Time{} // of archives and packages that have no times
	} else {
		h.Set("Etag", `"`+strconv.FormatInt(modified.UnixNano(), 36)+"-"+strconv.FormatInt(info.Size(), 36)+form+`"`)
	}
	if h.Get("Content-Type") == "" {
		if t := mime.TypeByExtension(filepath.Ext(name)); t != "" {
			h.Set("Content-Type", t)
		} else {
			h["Content-Type"] = nil // net/http must not guess
		}
	}
	http.ServeContent(w, r, info.Name(), modified, f)
}

// find returns the file for a URL's path: an index, if that leads to a folder.
func (d directory) find(urlPath string) (name string, info fs.FileInfo, err error) {
	name = local(urlPath)
	info, err = d.root.Stat(name)
	if err != nil || !info.IsDir() {
		return name, info, err
	}
	for _, index := range indexes {
		page := path.Join(name, index)
		if info, err := d.root.Stat(page); err == nil {
			if info.IsDir() {
				break
			}
			return page, info, nil
		}
	}
	return "", nil, fs.ErrNotExist
}

// local is the name below the root that a URL's path leads to, without a slash at its end.
func local(urlPath string) string {
	name := path.Clean("/" + urlPath)[1:]
	if name == "" || !filepath.IsLocal(name) {
		return "."
	}
	return name
}

// fileStatus is what Caddy says of a file that cannot be looked at.
func fileStatus(err error) int {
	var named *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), escapes(err):
		return http.StatusNotFound
	case errors.Is(err, fs.ErrPermission):
		return http.StatusForbidden
	case errors.As(err, &named): // a name that is too long, or has a NUL
		return http.StatusBadRequest
	}
	return http.StatusInternalServerError
}

// openStatus is what Caddy says of a file that cannot be opened.
func openStatus(err error) int {
	switch code := fileStatus(err); code {
	case http.StatusNotFound, http.StatusForbidden:
		return code
	}
	return http.StatusServiceUnavailable // out of descriptors, most likely
}

// escapes reports whether a link leads out of the root: [os.Root]'s error for that is no
// variable, and wraps no errno.
func escapes(err error) bool {
	var named *fs.PathError
	var errno syscall.Errno
	return errors.As(err, &named) && !errors.As(named.Err, &errno) && !errors.Is(err, fs.ErrInvalid)
}

// redirect sends the client to a path of the same site, with its query.
func redirect(w http.ResponseWriter, r *http.Request, to string) {
	for strings.HasPrefix(to, "//") {
		to = to[1:] // it would be another host
	}
	if r.URL.RawQuery != "" {
		to += "?" + r.URL.RawQuery
	}
	http.Redirect(w, r, to, http.StatusPermanentRedirect)
}
