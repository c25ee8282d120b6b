package networking

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/fault"
)

// reserved are the query keys that are not attributes to filter by.
var reserved = []string{"fields", "limit", "marker", "sort_key", "sort_dir", "page_reverse"}

// answerList writes the objects of a list that pass the filters of the query, sorted, cut to a page and to the fields that were asked for.
func answerList(r *rest.Request, key string, list []map[string]any) (*rest.Response, error) {
	q := r.Query()
	for name, values := range q {
		if slices.Contains(reserved, name) {
			continue
		}
		list = slices.DeleteFunc(list, func(o map[string]any) bool {
			return !slices.ContainsFunc(values, func(want string) bool { return matches(o[name], want) })
		})
	}
	sortBy(list, q["sort_key"], q["sort_dir"])
	if marker := q.Get("marker"); marker != "" {
		i := slices.IndexFunc(list, func(o map[string]any) bool { return o["id"] == marker })
		if i < 0 {
			return nil, fault.New(fault.Invalid, "Marker %s could not be found.", marker)
		}
		list = list[i+1:]
	}
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return nil, fault.New(fault.Invalid, "Bad limit %q: want a number, 0 or more.", text)
		}
		if n > 0 && n < len(list) {
			list = list[:n]
		}
	}
	out := make([]any, len(list))
	for i, o := range list {
		out[i] = pick(o, q["fields"])
	}
	return rest.OK(object(key, out)), nil
}

func answerOne(r *rest.Request, key string, o map[string]any) *rest.Response {
	return rest.OK(object(key, pick(o, r.Query()["fields"])))
}

func pick(o map[string]any, fields []string) map[string]any {
	if len(fields) == 0 {
		return o
	}
	cut := map[string]any{}
	for _, f := range fields {
		if v, ok := o[f]; ok {
			cut[f] = v
		}
	}
	return cut
}

// matches reports whether an attribute has the value that a query names. Booleans may be written as Neutron's clients do.
func matches(v any, want string) bool {
	switch v := v.(type) {
	case bool:
		b, err := strconv.ParseBool(want)
		return err == nil && b == v
	case []any:
		return slices.ContainsFunc(v, func(e any) bool { return inList(e, want) })
	case nil:
		return want == ""
	}
	return fmt.Sprint(v) == want
}

// inList compares an element of a list: fixed_ips are filtered by "ip_address=192.0.2.3" or "subnet_id=...".
func inList(e any, want string) bool {
	o, ok := e.(map[string]any)
	if !ok {
		return fmt.Sprint(e) == want
	}
	for k, v := range o {
		if k+"="+fmt.Sprint(v) == want {
			return true
		}
	}
	return false
}

func sortBy(list []map[string]any, keys, dirs []string) {
	slices.SortStableFunc(list, func(a, b map[string]any) int {
		for i, k := range keys {
			x, y := fmt.Sprint(a[k]), fmt.Sprint(b[k])
			if x == y {
				continue
			}
			if (x < y) == (i >= len(dirs) || dirs[i] != "desc") {
				return -1
			}
			return 1
		}
		return 0
	})
}
