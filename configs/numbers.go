package configs

import (
	"math"
	"reflect"
)

// A numberRange is what numbers of one type may be.
type numberRange struct {
	what     string
	min, max int64
}

var ranges = map[reflect.Type]numberRange{
	reflect.TypeFor[Status](): {"a status", 100, 599},
	reflect.TypeFor[Weight](): {"a weight", 1, math.MaxUint16},
}

func (d *decoder) number(v reflect.Value, in any, path string, r numberRange) {
	if n, ok := in.(int64); !ok {
		d.fail(path, "is %s, not %s; write a number without quotes", kind(in), r.what)
	} else if n < r.min || n > r.max {
		d.fail(path, "%d is not %s; write a number from %d to %d", n, r.what, r.min, r.max)
	} else {
		v.SetUint(uint64(n))
	}
}
