package baremetal

import (
	"maps"
	"slices"
	"strings"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/node"
)

// form is what a client may write of a resource.
type form[T any] struct {
	name   string // in texts: "node"
	fields []field[T]
}

// field is one key that a client may write.
type field[T any] struct {
	name  string
	since int
	when  moment
	must  bool // has to be there on create
	check rule // of a value
	get   func(*T) any
	set   func(*T, any) // nil resets to the default
}

// moment is when a field may be written.
type moment uint8

const (
	onCreate moment = 1 << iota
	onPatch
	always = onCreate | onPatch
)

func (f *form[T]) find(name string) *field[T] {
	for i := range f.fields {
		if f.fields[i].name == name {
			return &f.fields[i]
		}
	}
	return nil
}

// fill sets v from the body of a create. The error is fault.Invalid for what the form does not allow, fault.NotAcceptable for a field of a
// later version.
func (f *form[T]) fill(v *T, body map[string]any, version int) error {
	why := additional(body, func(k string) bool {
		known := f.find(k)
		return known != nil && known.when&onCreate != 0
	})
	if why != "" {
		return f.refuse(why)
	}
	for i := range f.fields {
		fd := &f.fields[i]
		value, ok := body[fd.name]
		switch {
		case !ok && fd.must && fd.when&onCreate != 0:
			return f.refuse(repr(fd.name) + " is a required property")
		case !ok:
			continue
		case fd.since > version:
			return notAcceptable()
		}
		if why := fd.check(value); why != "" {
			return f.refuse(why)
		}
		fd.set(v, value)
	}
	return nil
}

func (f *form[T]) refuse(why string) error { return invalid("Schema error for %s: %s", f.name, why) }

// patch applies the operations to v. It returns the fields that they touched.
func (f *form[T]) patch(v *T, ops []patchOp, version int) ([]string, error) {
	doc := map[string]any{}
	var touched []string
	for _, op := range ops {
		root := op.path[0]
		fd := f.find(root)
		if fd == nil || fd.when&onPatch == 0 {
			return nil, invalid("Cannot patch /%s. Only the following can be updated: %s", strings.Join(op.path, "/"), f.patchable())
		}
		if fd.since > version {
			return nil, notAcceptable()
		}
		if !slices.Contains(touched, root) {
			touched = append(touched, root)
			doc[root] = deepCopy(fd.get(v))
		}
		if err := op.apply(doc); err != nil {
			return nil, err
		}
	}
	for _, name := range touched {
		fd := f.find(name)
		value, ok := doc[name]
		if !ok {
			if fd.must {
				return nil, invalid("/%s is mandatory and can not be removed", name)
			}
			fd.set(v, nil)
			continue
		}
		if why := fd.check(value); why != "" {
			return nil, f.refuse(why)
		}
		fd.set(v, value)
	}
	return touched, nil
}

func (f *form[T]) patchable() string {
	var names []string
	for i := range f.fields {
		if f.fields[i].when&onPatch != 0 {
			names = append(names, "/"+f.fields[i].name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func deepCopy(v any) any {
	switch v := v.(type) {
	case map[string]any:
		c := maps.Clone(v)
		for k, e := range c {
			c[k] = deepCopy(e)
		}
		return c
	case []any:
		c := slices.Clone(v)
		for i, e := range c {
			c[i] = deepCopy(e)
		}
		return c
	}
	return v
}

// Fields by the kind of what they hold. p points at the field's place in a T.

func textField[T any](name string, since int, when moment, check rule, p func(*T) *string) field[T] {
	return field[T]{
		name: name, since: since, when: when, check: check,
		get: func(v *T) any { return orNil(*p(v)) },
		set: func(v *T, value any) { *p(v), _ = value.(string) },
	}
}

func boolField[T any](name string, since int, when moment, p func(*T) *bool) field[T] {
	return field[T]{
		name: name, since: since, when: when, check: isBool,
		get: func(v *T) any { return *p(v) },
		set: func(v *T, value any) { *p(v), _ = node.ParseBool(value) },
	}
}

func objectField[T any](name string, since int, when moment, p func(*T) *node.Object) field[T] {
	return field[T]{
		name: name, since: since, when: when, check: isObject,
		get: func(v *T) any {
			if o := *p(v); o != nil {
				return o
			}
			return map[string]any{}
		},
		set: func(v *T, value any) { *p(v), _ = value.(map[string]any) },
	}
}

// required marks a field that has to be there on create and cannot be removed.
func required[T any](f field[T]) field[T] {
	f.must = true
	return f
}

func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// body reads the object of a request and refuses keys that are not among known.
func body(r *rest.Request, optional bool, known ...string) (map[string]any, error) {
	o, err := r.Object(optional)
	if err != nil {
		return nil, err
	}
	var odd []string
	for k := range o {
		if !slices.Contains(known, k) {
			odd = append(odd, k)
		}
	}
	if len(odd) > 0 {
		slices.Sort(odd)
		return nil, invalid("Unexpected arguments: %s", strings.Join(odd, ", "))
	}
	return o, nil
}
