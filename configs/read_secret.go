package configs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
)

const (
	secretForms = `{ file = "..." } or { env = "..." }`
	longestFile = 64 << 10 // bytes of a file with a secret
)

// secret decodes { file = "..." } or { env = "..." } and reads what it names.
func (d *decoder) secret(in any, path string) Secret {
	m, ok := in.(map[string]any)
	if !ok {
		d.fail(path, "is %s, and secrets do not stand in this file; write %s", kind(in), secretForms)
		return Secret{}
	}
	if _, ok := m["value"]; ok {
		d.fail(join(path, "value"), "secrets do not stand in this file; write %s", secretForms)
		m = maps.Clone(m)
		delete(m, "value")
	} else if len(m) == 0 {
		d.fail(path, "is empty; write %s", secretForms)
	}
	d.unknown(m, path, []string{"file", "env"})
	file, fromFile := m["file"]
	env, fromEnv := m["env"]
	value, source := "", ""
	switch {
	case fromFile && fromEnv:
		d.fail(path, "has both file and env; keep one of them")
	case fromFile:
		source = join(path, "file")
		if s, ok := d.text(file, source, "a string", `write it in "quotes"`); ok {
			value = d.secretFile(s, source)
		}
	case fromEnv:
		source = join(path, "env")
		if s, ok := d.text(env, source, "a string", `write it in "quotes"`); ok {
			value = d.secretEnv(s, source)
		}
	}
	if value == "" || d.failed[source] {
		return Secret{}
	}
	return NewSecret(value)
}

// secretFile returns the one line of a file.
func (d *decoder) secretFile(file, path string) string {
	if !filepath.IsAbs(file) {
		file = filepath.Join(d.dir, file)
	}
	d.files = append(d.files, file)
	value, err := readShort(file)
	if err != nil {
		var pathErr *fs.PathError
		if errors.As(err, &pathErr) {
			err = pathErr.Err // its text has the path once more
		}
		d.fail(path, "%s: %w; put the secret into that file or correct the path", file, err)
		return ""
	}
	value = strings.TrimSuffix(strings.TrimSuffix(value, "\n"), "\r")
	switch {
	case value == "":
		d.fail(path, "%s: holds nothing; put the secret into it", file)
	case strings.ContainsAny(value, "\r\n"):
		d.fail(path, "%s: has more than one line; keep the secret alone in it", file)
	}
	return value
}

// secretEnv returns an environment variable's value.
func (d *decoder) secretEnv(name, path string) string {
	value := os.Getenv(name)
	if value == "" {
		d.fail(path, "the environment variable %q is not set or empty; set it to the secret", name)
	}
	return value
}

func readShort(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // nothing was written
	b, err := io.ReadAll(io.LimitReader(f, longestFile+1))
	if err == nil && len(b) > longestFile {
		err = fmt.Errorf("has more than %d bytes", longestFile)
	}
	return string(b), err
}
