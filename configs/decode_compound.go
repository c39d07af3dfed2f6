package configs

import (
	"reflect"
	"slices"
)

// structure decodes a table, or the string that stands for it.
func (d *decoder) structure(v reflect.Value, in any, path string) {
	short, hasShort := shortOf(v.Type())
	switch m, ok := in.(map[string]any); {
	case ok:
		d.table(v, m, path)
	case hasShort:
		if s, ok := v.Addr().Interface().(interface{ setDefaults() }); ok {
			s.setDefaults()
		}
		d.value(v.FieldByIndex(short.index), in, path, short)
	default:
		d.fail(path, "is %s, not a table; write %s", kind(in), header(path))
	}
}

// shortOf returns the key of a table that a string stands for, if one may.
func shortOf(t reflect.Type) (field, bool) {
	if !isTable(t) {
		return field{}, false
	}
	all := fields(t)
	i := slices.IndexFunc(all, func(f field) bool { return f.short })
	if i < 0 {
		return field{}, false
	}
	return all[i], true
}

// list decodes a list, or an array of tables, into a slice.
func (d *decoder) list(v reflect.Value, in any, path string, f field) {
	if f.single && isSingle(in, v.Type().Elem()) {
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		d.value(v.Index(0), in, path, f)
		return
	}
	var elements []any
	switch in := in.(type) {
	case []any:
		elements = in
	case []map[string]any:
		for _, m := range in {
			elements = append(elements, m)
		}
	default:
		d.notList(v, in, path)
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(elements), len(elements)))
	for i, e := range elements {
		d.value(v.Index(i), e, at(path, i), f)
	}
}

// isSingle reports whether in can be one value of type t in place of a list.
func isSingle(in any, t reflect.Type) bool {
	switch in.(type) {
	case string:
		_, short := shortOf(t)
		return short || !isTable(t)
	case int64:
		return numbers[t]
	case map[string]any:
		return isTable(t)
	}
	return false
}

func (d *decoder) notList(v reflect.Value, in any, path string) {
	if isTable(v.Type().Elem()) {
		d.fail(path, "is %s, not a list of tables; write %s", kind(in), header(at(path, 0)))
		return
	}
	d.fail(path, "is %s, not a list; put it in [ ]", kind(in))
}

// isTable reports whether values of type t are tables in the file.
func isTable(t reflect.Type) bool {
	_, isText := parsers[t]
	return t.Kind() == reflect.Struct && !isText
}
