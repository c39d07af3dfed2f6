package configs

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// A decoder fills the schema's structs from a decoded file and collects what is
// wrong on the way. It is given to the checks that follow, so that these
// report in the same way and can tell absent keys from zero values.
//
// The tag toml:"key,option…" makes a field a key of the schema. Its options:
//
//	required  the key must be there, and a list must not be empty
//	path      relative paths start at the file's folder
//	single    one value may stand for a list with one
//	short     a string that stands for the whole table is the value of this key
//
// The keys of an embedded struct are keys of the table, too.
type decoder struct {
	*source
	dir    string // folder of the file
	errs   Errors
	failed map[string]bool // paths with an error of their own
	files  []string        // that are named, ready to open
}

// decode parses data into the struct that into points at. It returns an error
// if data is not TOML; all else that is wrong is in the decoder.
func decode(name string, data []byte, into any) (*decoder, error) {
	src := &source{file: name, text: withoutMark(string(data)), root: &node{}}
	tree, err := src.syntax(string(data))
	if err != nil {
		return nil, Errors{err}
	}
	src.root = scan(src.text)
	d := &decoder{source: src, dir: filepath.Dir(name), failed: make(map[string]bool)}
	d.table(reflect.ValueOf(into).Elem(), tree, "")
	return d, nil
}

// withoutMark takes off the byte order marks that the toml package passes over.
func withoutMark(text string) string {
	for _, mark := range []string{"\xff\xfe", "\xfe\xff", "\xef\xbb\xbf"} {
		if rest, ok := strings.CutPrefix(text, mark); ok {
			return rest
		}
	}
	return text
}

// syntax decodes TOML into maps.
func (s *source) syntax(data string) (tree map[string]any, wrong *Error) {
	defer func() {
		// The toml package panics when its parser contradicts its lexer.
		if r := recover(); r != nil {
			tree, wrong = nil, s.errorAt(0, "", fmt.Errorf("not valid TOML: %v; look for odd escapes and characters", r))
		}
	}()
	_, err := toml.Decode(data, &tree)
	var pe toml.ParseError
	switch {
	case err == nil:
		return tree, nil
	case errors.As(err, &pe):
		message, offset := strings.TrimSuffix(pe.Message, "."), pe.Position.Start
		if strings.Contains(message, "control character") {
			offset++ // the toml package says the byte before
		}
		return nil, s.errorAt(offset, "", fmt.Errorf("not valid TOML: %s; correct it here", message))
	default:
		return nil, s.errorAt(0, "", fmt.Errorf("not valid TOML: %w; correct it", err))
	}
}

// err returns everything found wrong so far, or nil.
func (d *decoder) err() error {
	if len(d.errs) == 0 {
		return nil
	}
	d.errs.sort()
	return d.errs
}

// fail notes an error in the value at path.
func (d *decoder) fail(path, format string, args ...any) {
	d.errs = append(d.errs, d.errorf(path, format, args...))
	d.failed[path] = true
}

// field is one key of a table's schema.
type field struct {
	index                         []int // in the struct
	key                           string
	required, path, single, short bool
}

func fields(t reflect.Type) []field {
	var all []field
	for _, sf := range reflect.VisibleFields(t) {
		tag, ok := sf.Tag.Lookup("toml")
		if !ok {
			continue
		}
		options := strings.Split(tag, ",")
		has := func(option string) bool { return slices.Contains(options[1:], option) }
		all = append(all, field{sf.Index, options[0], has("required"), has("path"), has("single"), has("short")})
	}
	return all
}

// table decodes one table into a struct.
func (d *decoder) table(v reflect.Value, in map[string]any, path string) {
	if name, ok := in["name"].(string); ok && path != "" {
		n, _ := d.find(path)
		n.name = name
	}
	if s, ok := v.Addr().Interface().(interface{ setDefaults() }); ok {
		s.setDefaults()
	}
	var known []string
	for _, f := range fields(v.Type()) {
		known = append(known, f.key)
		fv, at := v.FieldByIndex(f.index), join(path, f.key)
		if value, ok := in[f.key]; ok {
			d.value(fv, value, at, f)
		} else if f.required {
			d.fail(path, "%s is missing; %s", f.key, example(fv.Type(), at))
		}
		if isList := fv.Kind() == reflect.Slice; isList && f.required && fv.Len() == 0 && d.has(at) && !d.failed[at] {
			d.fail(at, "is empty; %s", example(fv.Type(), at))
		}
	}
	d.unknown(in, path, known)
}

// unknown reports the keys of a table that are not known.
func (d *decoder) unknown(in map[string]any, path string, known []string) {
	for key := range in {
		if slices.Contains(known, key) {
			continue
		}
		where := ""
		if path != "" {
			where = header(path) + " "
		}
		n, _ := d.find(join(path, key))
		advice := orElse(key, known, "known are "+listed(known))
		d.errs = append(d.errs, d.errorAt(n.key, "", fmt.Errorf("%skey %q is not known; %s", where, key, advice)))
	}
}

// value decodes the value at path into v.
func (d *decoder) value(v reflect.Value, in any, path string, f field) {
	if p, ok := parsers[v.Type()]; ok {
		if n, isNumber := in.(int64); isNumber && numbers[v.Type()] {
			in = strconv.FormatInt(n, 10)
		}
		if s, ok := d.text(in, path, p.want, p.advice); ok {
			x, err := p.parse(s)
			if err != nil {
				d.fail(path, "%w", err)
				return
			}
			v.Set(reflect.ValueOf(x))
		}
		return
	}
	if v.Type() == reflect.TypeFor[Secret]() {
		v.Set(reflect.ValueOf(d.secret(in, path)))
		return
	}
	if r, ok := ranges[v.Type()]; ok {
		d.number(v, in, path, r)
		return
	}
	switch v.Kind() {
	case reflect.String:
		if s, ok := d.text(in, path, "a string", `write it in "quotes"`); ok {
			if f.path && !filepath.IsAbs(s) {
				s = filepath.Join(d.dir, s)
			}
			if f.path {
				d.files = append(d.files, s)
			}
			v.SetString(s)
		}
	case reflect.Bool:
		if b, ok := in.(bool); ok {
			v.SetBool(b)
		} else {
			d.fail(path, "is %s, not true or false; write true or false without quotes", kind(in))
		}
	case reflect.Uint16:
		if n, ok := in.(int64); !ok {
			d.fail(path, "is %s, not a port; write a number without quotes", kind(in))
		} else if n < 1 || n > 65535 {
			d.fail(path, "%d is not a port; write a number from 1 to 65535", n)
		} else {
			v.SetUint(uint64(n))
		}
	case reflect.Uint8:
		if n, ok := in.(int64); !ok {
			d.fail(path, "is %s, not a number; write one without quotes", kind(in))
		} else if n < 0 || n > 255 {
			d.fail(path, "%d is out of range; write a number from 0 to 255", n)
		} else {
			v.SetUint(uint64(n))
		}
	case reflect.Uint:
		if n, ok := in.(int64); !ok {
			d.fail(path, "is %s, not a number; write one without quotes", kind(in))
		} else if n < 1 || n > math.MaxInt32 {
			d.fail(path, "%d is not more than zero and less than 2147483648; leave the key out for the default", n)
		} else {
			v.SetUint(uint64(n))
		}
	case reflect.Int:
		if n, ok := in.(int64); !ok {
			d.fail(path, "is %s, not a number; write one without quotes", kind(in))
		} else if n < 0 || n > math.MaxInt32 {
			d.fail(path, "%d is out of range; write a number from 0 to %d", n, math.MaxInt32)
		} else {
			v.SetInt(n)
		}
	case reflect.Uint32:
		if n, ok := in.(int64); !ok {
			d.fail(path, "is %s, not a mark; write a number without quotes", kind(in))
		} else if n < 1 || n > math.MaxUint32 {
			d.fail(path, "%d is not a mark; write a number from 1 to 4294967295", n)
		} else {
			v.SetUint(uint64(n))
		}
	case reflect.Struct:
		d.structure(v, in, path)
	case reflect.Slice:
		d.list(v, in, path, f)
	default:
		panic("configs: the schema has a type that the decoder does not know: " + v.Type().String())
	}
}

// text returns the string in, unless it is no string or an empty one.
func (d *decoder) text(in any, path, want, advice string) (string, bool) {
	s, ok := in.(string)
	if !ok {
		d.fail(path, "is %s, not %s; %s", kind(in), want, advice)
		return "", false
	}
	if s == "" {
		d.fail(path, "is empty; give it a value")
		return "", false
	}
	return s, true
}
