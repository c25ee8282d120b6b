package rest

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/riser-project/riser/fault"
)

// View writes values of the struct T as JSON objects, as each version of an API shows them. The struct's tags say how:
//
//	Owner string `json:"owner" since:"50" zero:"null"`
//
// json is the key; since the first minor version that has it; zero:"null" writes an empty string, or 0, as null; with:"all" keeps the
// field to answers that were not cut to named fields. Fields without a json key are left out. A nil map is {}, a nil slice [], a nil pointer and the
// zero time null.
type View[T any] struct {
	fields []viewField
	whole  sync.Map // version -> *Plan[T]
}

type viewField struct {
	name    string
	key     []byte // `"name":`
	index   int
	since   int
	allOnly bool
	write   func([]byte, reflect.Value) []byte
}

// NewView analyses T. It panics when a tag is wrong: a programmer's mistake.
func NewView[T any]() *View[T] {
	t := reflect.TypeFor[T]()
	v := &View[T]{}
	for i := range t.NumField() {
		f := t.Field(i)
		name := f.Tag.Get("json")
		if name == "" || name == "-" {
			continue
		}
		field := viewField{name: name, key: append(AppendString(nil, name), ':'), index: i, allOnly: f.Tag.Get("with") == "all"}
		if since := f.Tag.Get("since"); since != "" {
			n, err := strconv.Atoi(since)
			if err != nil {
				panic(fmt.Sprintf("%s.%s: since %q is not a minor version", t, f.Name, since))
			}
			field.since = n
		}
		field.write = writerOf(f.Type, f.Tag.Get("zero") == "null")
		v.fields = append(v.fields, field)
	}
	return v
}

var (
	appenderType = reflect.TypeFor[Appender]()
	timeType     = reflect.TypeFor[time.Time]()
)

func writerOf(t reflect.Type, zeroNull bool) func([]byte, reflect.Value) []byte {
	write := plainWriterOf(t)
	if !zeroNull {
		return write
	}
	return func(b []byte, v reflect.Value) []byte {
		if v.IsZero() {
			return append(b, "null"...)
		}
		return write(b, v)
	}
}

func plainWriterOf(t reflect.Type) func([]byte, reflect.Value) []byte {
	switch {
	case reflect.PointerTo(t).Implements(appenderType):
		return func(b []byte, v reflect.Value) []byte { return v.Addr().Interface().(Appender).AppendJSON(b) }
	case t == timeType:
		return func(b []byte, v reflect.Value) []byte { return AppendTime(b, *v.Addr().Interface().(*time.Time)) }
	}
	switch t.Kind() {
	case reflect.String:
		return func(b []byte, v reflect.Value) []byte { return AppendString(b, v.String()) }
	case reflect.Bool:
		return func(b []byte, v reflect.Value) []byte { return strconv.AppendBool(b, v.Bool()) }
	case reflect.Int, reflect.Int64:
		return func(b []byte, v reflect.Value) []byte { return strconv.AppendInt(b, v.Int(), 10) }
	case reflect.Pointer:
		elem := writerOf(t.Elem(), false)
		return func(b []byte, v reflect.Value) []byte {
			if v.IsNil() {
				return append(b, "null"...)
			}
			return elem(b, v.Elem())
		}
	case reflect.Slice:
		elem := writerOf(t.Elem(), false)
		return func(b []byte, v reflect.Value) []byte {
			b = append(b, '[')
			for i := range v.Len() {
				if i > 0 {
					b = append(b, ',')
				}
				b = elem(b, v.Index(i))
			}
			return append(b, ']')
		}
	}
	return func(b []byte, v reflect.Value) []byte { return AppendValue(b, v.Interface()) }
}

// Plan is what of a T is shown to one request.
type Plan[T any] struct {
	fields []*viewField
}

// Plan returns the plan for a version: every field it has, or only those with the given names, in their order. The error is fault.Invalid
// for a name that is no field, fault.NotAcceptable for a field of a later version.
func (v *View[T]) Plan(version int, names ...string) (*Plan[T], error) {
	if len(names) > 0 {
		return v.cut(version, names)
	}
	if p, ok := v.whole.Load(version); ok {
		return p.(*Plan[T]), nil
	}
	p := &Plan[T]{}
	for i := range v.fields {
		if f := &v.fields[i]; f.since <= version {
			p.fields = append(p.fields, f)
		}
	}
	v.whole.Store(version, p)
	return p, nil
}

func (v *View[T]) cut(version int, names []string) (*Plan[T], error) {
	p := &Plan[T]{fields: make([]*viewField, 0, len(names))}
	for _, name := range names {
		f := v.find(name)
		switch {
		case f == nil || f.allOnly:
			return nil, fault.New(fault.Invalid, "Field %s is not a valid field.", name)
		case f.since > version:
			return nil, fault.New(fault.NotAcceptable, "Request not acceptable. The minimal required API version for field %s is minor version %d.", name, f.since)
		}
		if !p.Has(name) {
			p.fields = append(p.fields, f)
		}
	}
	return p, nil
}

func (v *View[T]) find(name string) *viewField {
	for i := range v.fields {
		if v.fields[i].name == name {
			return &v.fields[i]
		}
	}
	return nil
}

// Since returns the first minor version that has the field, and whether there is such a field.
func (v *View[T]) Since(name string) (int, bool) {
	f := v.find(name)
	if f == nil {
		return 0, false
	}
	return f.since, true
}

// Names returns the keys of all fields, in order.
func (v *View[T]) Names() []string {
	names := make([]string, len(v.fields))
	for i := range v.fields {
		names[i] = v.fields[i].name
	}
	return names
}

// Has reports whether the plan shows the field.
func (p *Plan[T]) Has(name string) bool {
	for _, f := range p.fields {
		if f.name == name {
			return true
		}
	}
	return false
}

// Append appends x as a JSON object.
func (p *Plan[T]) Append(b []byte, x *T) []byte {
	v := reflect.ValueOf(x).Elem()
	b = append(b, '{')
	for i, f := range p.fields {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, f.key...)
		b = f.write(b, v.Field(f.index))
	}
	return append(b, '}')
}

// SplitFields reads the value of a fields= query: names in lower case, without blanks and repeats.
func SplitFields(s string) []string {
	var names []string
	for _, name := range strings.Split(s, ",") {
		if name = strings.ToLower(strings.TrimSpace(name)); name != "" {
			names = append(names, name)
		}
	}
	return names
}
