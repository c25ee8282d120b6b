package store

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/riser-project/riser/node"
)

// micros is a time kept as microseconds since 1970 UTC; 0 is "never".
type micros struct{ t *time.Time }

func (m micros) Scan(v any) error {
	n, ok := v.(int64)
	if !ok {
		return fmt.Errorf("time column holds %T", v)
	}
	*m.t = fromMicros(n)
	return nil
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

func toMicros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// object is a JSON value kept as text; the zero value is kept as "".
type object[T any] struct{ v *T }

func (o object[T]) Scan(v any) error {
	var text []byte
	switch v := v.(type) {
	case string:
		text = []byte(v)
	case []byte:
		text = v
	default:
		return fmt.Errorf("JSON column holds %T", v)
	}
	if len(text) == 0 {
		var zero T
		*o.v = zero
		return nil
	}
	return json.Unmarshal(text, o.v)
}

func asJSON(v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	if s := string(b); s != "null" && s != "{}" && s != "[]" && s != `""` {
		return s, nil
	}
	return "", nil
}

// flag is a boolean kept as 0 or 1.
type flag struct{ b *bool }

func (f flag) Scan(v any) error {
	n, ok := v.(int64)
	if !ok {
		return fmt.Errorf("boolean column holds %T", v)
	}
	*f.b = n != 0
	return nil
}

func asFlag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// maybe is a boolean that may be unset, kept as NULL, 0 or 1.
type maybe struct{ b **bool }

func (m maybe) Scan(v any) error {
	if v == nil {
		*m.b = nil
		return nil
	}
	b := false
	*m.b = &b
	return flag{&b}.Scan(v)
}

func asMaybe(b *bool) any {
	if b == nil {
		return nil
	}
	return asFlag(*b)
}

// words is a value of a type that is a string.
type words[S ~string] struct{ v *S }

func (w words[S]) Scan(v any) error {
	switch v := v.(type) {
	case string:
		*w.v = S(v)
	case []byte:
		*w.v = S(v)
	default:
		return fmt.Errorf("text column holds %T", v)
	}
	return nil
}

// column is one column of a table whose rows are values of T: how it is written and how it is read.
type column[T any] struct {
	name string
	get  func(*T) (any, error)
	dest func(*T) any
}

func text[T any](name string, f func(*T) *string) column[T] {
	return column[T]{name, func(v *T) (any, error) { return *f(v), nil }, func(v *T) any { return f(v) }}
}

func number[T any](name string, f func(*T) *int64) column[T] {
	return column[T]{name, func(v *T) (any, error) { return *f(v), nil }, func(v *T) any { return f(v) }}
}

func count[T any](name string, f func(*T) *int) column[T] {
	return column[T]{name, func(v *T) (any, error) { return *f(v), nil }, func(v *T) any { return f(v) }}
}

func when[T any](name string, f func(*T) *time.Time) column[T] {
	return column[T]{name, func(v *T) (any, error) { return toMicros(*f(v)), nil }, func(v *T) any { return micros{f(v)} }}
}

func boolean[T any](name string, f func(*T) *bool) column[T] {
	return column[T]{name, func(v *T) (any, error) { return asFlag(*f(v)), nil }, func(v *T) any { return flag{f(v)} }}
}

func optional[T any](name string, f func(*T) **bool) column[T] {
	return column[T]{name, func(v *T) (any, error) { return asMaybe(*f(v)), nil }, func(v *T) any { return maybe{f(v)} }}
}

func jsonText[T, V any](name string, f func(*T) *V) column[T] {
	return column[T]{name, func(v *T) (any, error) { return asJSON(*f(v)) }, func(v *T) any { return object[V]{f(v)} }}
}

func spelled[T any, S ~string](name string, f func(*T) *S) column[T] {
	return column[T]{name, func(v *T) (any, error) { return string(*f(v)), nil }, func(v *T) any { return words[S]{f(v)} }}
}

// table is the columns of a table, and the statements made of them.
type table[T any] struct {
	name string
	cols []column[T]
}

func (t *table[T]) names(prefix string, keep func(string) bool) string {
	var b strings.Builder
	for i := range t.cols {
		if keep != nil && !keep(t.cols[i].name) {
			continue
		}
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		b.WriteString(prefix)
		b.WriteString(t.cols[i].name)
	}
	return b.String()
}

// insert returns an INSERT of the whole of v.
func (t *table[T]) insert(v *T) (query string, args []any, err error) {
	marks := strings.TrimSuffix(strings.Repeat("?, ", len(t.cols)), ", ")
	if args, err = t.values(v); err != nil {
		return "", nil, err
	}
	return "INSERT INTO " + t.name + " (" + t.names("", nil) + ") VALUES (" + marks + ")", args, nil
}

// set returns the assignments of an UPDATE of v but for the columns in except.
func (t *table[T]) set(v *T, except ...string) (assignments string, args []any, err error) {
	names := make([]string, 0, len(t.cols))
	for i := range t.cols {
		if slices.Contains(except, t.cols[i].name) {
			continue
		}
		a, err := t.cols[i].get(v)
		if err != nil {
			return "", nil, fmt.Errorf("%s.%s: %w", t.name, t.cols[i].name, err)
		}
		names, args = append(names, t.cols[i].name+" = ?"), append(args, a)
	}
	return strings.Join(names, ", "), args, nil
}

func (t *table[T]) values(v *T) ([]any, error) {
	args := make([]any, len(t.cols))
	for i := range t.cols {
		a, err := t.cols[i].get(v)
		if err != nil {
			return nil, fmt.Errorf("%s.%s: %w", t.name, t.cols[i].name, err)
		}
		args[i] = a
	}
	return args, nil
}

func (t *table[T]) dests(v *T, keep func(string) bool) []any {
	dests := make([]any, 0, len(t.cols)+2)
	for i := range t.cols {
		if keep == nil || keep(t.cols[i].name) {
			dests = append(dests, t.cols[i].dest(v))
		}
	}
	return dests
}

var _ sql.Scanner = object[node.Object]{}

// noRows reports whether err says that a query found nothing.
func noRows(err error) bool { return errors.Is(err, sql.ErrNoRows) }
