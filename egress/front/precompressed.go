package front

import (
	"io/fs"
	"net/http"
	"os"
)

// suffixes are those of files in a content coding.
var suffixes = map[string]string{"zstd": ".zst", "br": ".br", "gzip": ".gz"}

// coded opens the file beside the one called name, in the coding that is most welcome of those there are, and
// returns that coding with it; nil if there is none. A file that is older than its plain form is
// one that was forgotten, and is left alone.
func (d directory) coded(name string, plain fs.FileInfo, r *http.Request) (*os.File, fs.FileInfo, string) {
	if len(d.precompressed) == 0 {
		return nil, nil, ""
	}
	var there []string
	for _, coding := range d.precompressed {
		if info, err := d.root.Stat(name + suffixes[coding]); err == nil && info.Mode().IsRegular() && !info.ModTime().Before(plain.ModTime()) {
			there = append(there, coding)
		}
	}
	coding := accepted(r.Header["Accept-Encoding"], there)
	if coding == "" {
		return nil, nil, ""
	}
	f, err := d.root.Open(name + suffixes[coding])
	if err != nil {
		return nil, nil, ""
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, nil, ""
	}
	return f, info, coding
}
