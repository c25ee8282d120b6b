package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/riser-project/riser/client"
)

// kind is what a field holds, and so how its flag is written.
type kind uint8

const (
	text      kind = iota
	boolean        // --flag or --flag=false
	integer        //
	texts          // a list of texts; the flag may be repeated
	pairs          // an object; the flag may be repeated: KEY=TEXT, KEY:=JSON, KEY=@FILE
	document       // any JSON, from a file of JSON or YAML, or from the standard input
	reference      // the UUID of another resource, which may be written as its name
)

// purpose is what a form is filled in for.
type purpose uint8

const (
	toCreate purpose = 1 << iota
	toSet
	toUnset
)

// field is a field of a resource that a user may write.
type field struct {
	name  string // of the API
	flag  string // empty means the name with hyphens
	usage string // the argument stands in back quotes
	kind  kind
	only  purpose   // 0 means that the field serves every purpose
	must  bool      // it is required when the resource is created
	of    *resource // that a reference is to
}

func (f *field) flagName() string {
	if f.flag != "" {
		return f.flag
	}
	return strings.ReplaceAll(f.name, "_", "-")
}

func (f *field) serves(p purpose) bool { return f.only == 0 || f.only&p != 0 }

// form is the flags of one command for the fields of a resource.
type form struct {
	fields []field
	flags  map[string]*value // by field
}

// value is what the user gave for one field.
type value struct {
	flag    flag
	text    string
	list    []string
	boolean bool
	number  int
}

// newForm gives cmd a flag for each of the fields that serves the purpose.
func newForm(cmd *cobra.Command, fields []field, p purpose) *form {
	form := &form{flags: map[string]*value{}}
	flags := cmd.Flags()
	for i := range fields {
		f := &fields[i]
		if !f.serves(p) {
			continue
		}
		v := &value{}
		name := f.flagName()
		switch {
		case p == toUnset && f.kind == pairs:
			flags.StringArrayVar(&v.list, name, nil, "remove this `key` of "+f.name+"; may be repeated")
		case p == toUnset:
			flags.BoolVar(&v.boolean, name, false, "set "+f.name+" back to its default")
		case f.kind == boolean:
			flags.BoolVar(&v.boolean, name, false, f.usage)
		case f.kind == integer:
			flags.IntVar(&v.number, name, 0, f.usage)
		case f.kind == texts || f.kind == pairs:
			flags.StringArrayVar(&v.list, name, nil, f.usage)
		default:
			flags.StringVar(&v.text, name, "", f.usage)
		}
		v.flag = flags.Lookup(name)
		form.flags[f.name] = v
		form.fields = append(form.fields, *f)
	}
	return form
}

// given returns the fields that the user wrote something for.
func (f *form) given() []field {
	return slices.DeleteFunc(slices.Clone(f.fields), func(d field) bool { return !f.flags[d.name].flag.Changed })
}

// object returns the fields that the user gave, for the body of a request.
func (f *form) object(ctx context.Context, a *app, c *client.Client) (object, error) {
	o := object{}
	for _, d := range f.given() {
		v, err := f.read(ctx, a, c, d)
		if err != nil {
			return nil, err
		}
		o[d.name] = v
	}
	return o, nil
}

// missing returns a usage error when a field that the resource cannot do without was not given.
func (f *form) missing() error {
	for _, d := range f.fields {
		if d.must && !f.flags[d.name].flag.Changed {
			return Usagef("--%s is missing", d.flagName())
		}
	}
	return nil
}

// changes returns what the user gave as a patch.
func (f *form) changes(ctx context.Context, a *app, p purpose) ([]client.Change, error) {
	var list []client.Change
	for _, d := range f.given() {
		v := f.flags[d.name]
		path := "/" + pointer(d.name)
		switch {
		case p == toUnset && d.kind == pairs:
			for _, key := range v.list {
				list = append(list, client.Change{Op: "remove", Path: path + "/" + pointer(key)})
			}
			continue
		case p == toUnset:
			list = append(list, client.Change{Op: "remove", Path: path})
			continue
		}
		value, err := f.read(ctx, a, nil, d)
		if err != nil {
			return nil, err
		}
		if d.kind != pairs {
			list = append(list, client.Change{Op: "add", Path: path, Value: value})
			continue
		}
		o, _ := value.(object)
		for _, key := range keys(o) {
			list = append(list, client.Change{Op: "add", Path: path + "/" + pointer(key), Value: o[key]})
		}
	}
	if len(list) == 0 {
		return nil, Usagef("say what to change, by a flag")
	}
	return list, nil
}

// pointer escapes a key for a JSON pointer (RFC 6901, section 3).
func pointer(key string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(key) }

// read returns the value of one field.
func (f *form) read(ctx context.Context, a *app, c *client.Client, d field) (any, error) {
	v := f.flags[d.name]
	switch d.kind {
	case boolean:
		return v.boolean, nil
	case integer:
		return v.number, nil
	case texts:
		return v.list, nil
	case pairs:
		return readPairs(v.list, "--"+d.flagName())
	case document:
		return a.document(v.text, "--"+d.flagName())
	case reference:
		return a.resolve(ctx, c, d.of, v.text)
	default:
		return v.text, nil
	}
}

// readPairs reads KEY=TEXT, KEY:=JSON and KEY=@FILE, each the value of a flag.
func readPairs(list []string, flag string) (object, error) {
	o := object{}
	for _, pair := range list {
		key, value, found := strings.Cut(pair, "=")
		typed := strings.HasSuffix(key, ":")
		key = strings.TrimSuffix(key, ":")
		if !found || key == "" {
			return nil, Usagef("%s %q must be KEY=TEXT, KEY:=JSON or KEY=@FILE", flag, pair)
		}
		file, isFile := strings.CutPrefix(value, "@")
		switch {
		case typed:
			dec := json.NewDecoder(strings.NewReader(value))
			dec.UseNumber()
			var v any
			if err := dec.Decode(&v); err != nil || dec.More() {
				return nil, Usagef("%s %s: %q is not JSON: leave out the colon for a text", flag, key, value)
			}
			o[key] = v
		case isFile:
			b, err := os.ReadFile(file) //nolint:gosec // the user names it
			if err != nil {
				return nil, fmt.Errorf("cannot read the value of %s: %w", key, err)
			}
			o[key] = strings.TrimRight(string(b), "\r\n")
		default:
			o[key] = value
		}
	}
	return o, nil
}

// document reads a file of JSON or YAML, or the standard input when its name is "-". flag is where the user named it.
func (a *app) document(name, flag string) (json.RawMessage, error) {
	b, err := a.read(name)
	if err != nil {
		return nil, err
	}
	raw, err := readYAML(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("cannot read %s %s as JSON or YAML: %w", flag, name, err)
	}
	return raw, nil
}

// read reads a file, or the standard input when its name is "-".
func (a *app) read(name string) ([]byte, error) {
	var r io.Reader = os.Stdin
	if a.o.In != nil {
		r = a.o.In
	}
	if name != "-" {
		f, err := os.Open(name) //nolint:gosec // the user names it
		if err != nil {
			return nil, fmt.Errorf("cannot read the file: %w", err)
		}
		defer f.Close()
		r = f
	}
	b, err := io.ReadAll(io.LimitReader(r, maxDocument+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("cannot read %s: %w", name, err)
	case len(b) > maxDocument:
		return nil, fmt.Errorf("cannot read %s: it is longer than %d MiB", name, maxDocument>>20)
	}
	return b, nil
}
