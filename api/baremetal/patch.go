package baremetal

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/fault"
)

// Limits of a JSON patch.
const (
	maxPatchOps  = 100
	maxPatchSize = 64 << 10
)

// patchOp is one operation of a JSON patch (RFC 6902) that this API knows: add, replace, remove, test.
type patchOp struct {
	op    string
	path  []string // unescaped, at least one
	text  string   // path as the client wrote it
	value any
}

var plainPath = regexp.MustCompile(`^(/[\w-]+)+$`)

// escapedPath takes any characters, with ~0 and ~1 (RFC 6901, section 3).
var escapedPath = regexp.MustCompile(`^(/([^/~]|~[01])+)+$`)

// readPatch reads the operations of a PATCH request.
func readPatch(r *rest.Request) ([]patchOp, error) {
	if len(r.Body) > maxPatchSize {
		return nil, fault.New(fault.TooLarge, "A patch may be at most %d KiB long.", maxPatchSize>>10)
	}
	var list []map[string]json.RawMessage
	if err := r.Decode(&list); err != nil {
		return nil, err
	}
	if len(list) > maxPatchOps {
		return nil, invalid("A patch may have at most %d operations, this one has %d.", maxPatchOps, len(list))
	}
	ops := make([]patchOp, len(list))
	for i, m := range list {
		if err := ops[i].read(m, r.Version); err != nil {
			return nil, err
		}
	}
	return ops, nil
}

func (o *patchOp) read(m map[string]json.RawMessage, version int) error {
	for k := range m {
		if k != "op" && k != "path" && k != "value" && k != "from" {
			return invalid("Schema error for patch: Additional properties are not allowed (%s was unexpected)", reprString(k))
		}
	}
	if json.Unmarshal(m["op"], &o.op) != nil {
		return invalid("Schema error for patch: 'op' is a required property")
	}
	if json.Unmarshal(m["path"], &o.text) != nil {
		return invalid("Schema error for patch: 'path' is a required property")
	}
	switch o.op {
	case "add", "replace", "remove", "test":
	default:
		return invalid("Schema error for patch: %s is not one of ['add', 'replace', 'remove', 'test']", reprString(o.op))
	}
	form := plainPath
	if version >= mvPatchEscapes {
		form = escapedPath
	}
	if !form.MatchString(o.text) {
		return invalid("Schema error for patch: %s does not match '%s'", reprString(o.text), form)
	}
	for _, token := range strings.Split(o.text[1:], "/") {
		o.path = append(o.path, strings.NewReplacer("~1", "/", "~0", "~").Replace(token))
	}
	if o.op == "remove" {
		return nil
	}
	raw, ok := m["value"]
	if !ok {
		return invalid("Schema error for patch: 'value' is a required property of the operation %s %s", o.op, o.text)
	}
	if err := json.Unmarshal(raw, &o.value); err != nil {
		return invalid("The value of %s cannot be read as JSON.", o.text)
	}
	return nil
}

// fail tells why the operation does not apply, showing it as the client wrote it.
func (o *patchOp) fail(format string, args ...any) error {
	shown := fmt.Sprintf("{'op': %s, 'path': %s", reprString(o.op), reprString(o.text))
	if o.op != "remove" {
		shown += ", 'value': " + repr(o.value)
	}
	return invalid("Couldn't apply patch '%s}'. Reason: %s", shown, fmt.Sprintf(format, args...))
}

// apply changes doc, which holds the patchable fields by name.
func (o *patchOp) apply(doc map[string]any) error {
	changed, err := o.at(doc, o.path)
	if err != nil {
		return err
	}
	if _, ok := changed.(map[string]any); !ok {
		return o.fail("the document is not an object")
	}
	return nil
}

// at applies the operation to the member of parent that path leads to, and returns parent as it is then: a list may have moved.
func (o *patchOp) at(parent any, path []string) (any, error) {
	switch parent := parent.(type) {
	case map[string]any:
		return parent, o.inObject(parent, path)
	case []any:
		return o.inList(parent, path)
	}
	return nil, o.fail("member %s not found in %s", reprString(path[0]), repr(parent))
}

func (o *patchOp) inObject(parent map[string]any, path []string) error {
	key := path[0]
	old, ok := parent[key]
	if len(path) > 1 {
		if !ok {
			return o.fail("member %s not found in %s", reprString(key), repr(parent))
		}
		changed, err := o.at(old, path[1:])
		if err == nil {
			parent[key] = changed
		}
		return err
	}
	switch {
	case o.op == "add":
		parent[key] = deepCopy(o.value)
	case !ok:
		return o.fail("can't %s a non-existent object %s", o.op, reprString(key))
	case o.op == "replace":
		parent[key] = deepCopy(o.value)
	case o.op == "remove":
		delete(parent, key)
	case !reflect.DeepEqual(old, o.value):
		return o.fail("%s is not equal to tested value %s", repr(old), repr(o.value))
	}
	return nil
}

func (o *patchOp) inList(parent []any, path []string) (any, error) {
	i := len(parent)
	if path[0] != "-" {
		n, err := strconv.Atoi(path[0])
		if err != nil || n < 0 || strconv.Itoa(n) != path[0] {
			return nil, o.fail("%s is not a valid sequence index", reprString(path[0]))
		}
		i = n
	}
	if len(path) == 1 && o.op == "add" {
		if i > len(parent) {
			return nil, o.fail("can't insert outside of list")
		}
		return append(parent[:i:i], append([]any{deepCopy(o.value)}, parent[i:]...)...), nil
	}
	if i >= len(parent) {
		return nil, o.fail("can't %s outside of list", o.op)
	}
	if len(path) > 1 {
		changed, err := o.at(parent[i], path[1:])
		if err == nil {
			parent[i] = changed
		}
		return parent, err
	}
	switch {
	case o.op == "replace":
		parent[i] = deepCopy(o.value)
	case o.op == "remove":
		return append(parent[:i:i], parent[i+1:]...), nil
	case !reflect.DeepEqual(parent[i], o.value):
		return nil, o.fail("%s is not equal to tested value %s", repr(parent[i]), repr(o.value))
	}
	return parent, nil
}
