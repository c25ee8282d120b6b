package baremetal

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/riser-project/riser/node"
)

// rule says what is wrong with a JSON value, in the words of a JSON schema validator; empty means nothing.
type rule func(v any) string

// typeRule lets values of the named JSON types pass.
func typeRule(types ...string) rule {
	return func(v any) string {
		for _, t := range types {
			if isType(v, t) {
				return ""
			}
		}
		quoted := make([]string, len(types))
		for i, t := range types {
			quoted[i] = "'" + t + "'"
		}
		return repr(v) + " is not of type " + strings.Join(quoted, ", ")
	}
}

func isType(v any, t string) bool {
	switch v := v.(type) {
	case nil:
		return t == "null"
	case bool:
		return t == "boolean"
	case string:
		return t == "string"
	case float64:
		return t == "number" || (t == "integer" && v == math.Trunc(v))
	case []any:
		return t == "array"
	case map[string]any:
		return t == "object"
	}
	return false
}

var (
	isObject     = typeRule("object", "null")
	mustObject   = typeRule("object")
	isText       = textRule(0, 255)
	isBool       = boolRule(false)
	isMaybeBool  = boolRule(true)
	isUUID       = uuidRule(true)
	mustUUID     = uuidRule(false)
	isOptional   = typeRule("string", "null")
	forbiddenNUL = "a text must not hold the character NUL"
)

// textRule lets null and strings of min to max characters pass.
func textRule(minLen, maxLen int) rule { return boundedText(isOptional, minLen, maxLen) }

// mustText lets strings of min to max characters pass.
func mustText(minLen, maxLen int) rule { return boundedText(typeRule("string"), minLen, maxLen) }

func boundedText(kind rule, minLen, maxLen int) rule {
	return func(v any) string {
		if why := kind(v); why != "" || v == nil {
			return why
		}
		s, _ := v.(string)
		n := utf8.RuneCountInString(s)
		switch {
		case n < minLen && minLen == 1:
			return repr(v) + " should be non-empty"
		case n < minLen:
			return repr(v) + " is too short"
		case n > maxLen:
			return repr(v) + " is too long"
		case strings.IndexByte(s, 0) >= 0:
			return forbiddenNUL
		}
		return ""
	}
}

// boolRule lets a boolean pass in any of the forms that node.ParseBool reads.
func boolRule(nullable bool) rule {
	types := []string{"string", "boolean"}
	if nullable {
		types = append(types, "null")
	}
	kind := typeRule(types...)
	return func(v any) string {
		if why := kind(v); why != "" || v == nil {
			return why
		}
		if _, err := node.ParseBool(v); err != nil {
			return "Unrecognized value " + repr(v) + ", acceptable values are: " + boolWords
		}
		return ""
	}
}

const boolWords = "'0', '1', 'f', 'false', 'n', 'no', 'off', 'on', 't', 'true', 'y', 'yes'"

func uuidRule(nullable bool) rule {
	kind := typeRule("string")
	if nullable {
		kind = isOptional
	}
	return func(v any) string {
		if why := kind(v); why != "" || v == nil {
			return why
		}
		if s, _ := v.(string); !node.IsUUID(s) {
			return repr(v) + " is not a 'uuid'"
		}
		return ""
	}
}

func oneOf(values ...string) rule {
	return func(v any) string {
		if s, ok := v.(string); ok && slices.Contains(values, s) {
			return ""
		}
		return repr(v) + " is not one of " + repr(values)
	}
}

// intRule lets whole numbers from lo to hi pass.
func intRule(lo, hi float64) rule {
	kind := typeRule("integer")
	return func(v any) string {
		if why := kind(v); why != "" {
			return why
		}
		switch f, _ := v.(float64); {
		case f < lo:
			return fmt.Sprintf("%s is less than the minimum of %v", repr(v), lo)
		case f > hi:
			return fmt.Sprintf("%s is greater than the maximum of %v", repr(v), hi)
		}
		return ""
	}
}

// maxIndex is the largest whole number that a column of the store takes.
const maxIndex = 1<<31 - 1

// indexRule lets a whole number from 0 on pass, or a text of digits.
func indexRule(v any) string {
	if s, ok := v.(string); ok {
		if n, err := strconv.ParseUint(s, 10, 31); err == nil {
			v = float64(n)
		}
	}
	return intRule(0, maxIndex)(v)
}

// index is the number in a value that passed indexRule.
func index(v any) int {
	switch v := v.(type) {
	case float64:
		return int(v)
	case string:
		n, _ := strconv.Atoi(v)
		return n
	}
	return 0
}

// listRule lets lists of at least minLen values that pass one through.
func listRule(one rule, minLen int) rule {
	kind := typeRule("array")
	return func(v any) string {
		if why := kind(v); why != "" {
			return why
		}
		list, _ := v.([]any)
		if len(list) < minLen {
			return repr(v) + " should be non-empty"
		}
		for _, e := range list {
			if why := one(e); why != "" {
				return why
			}
		}
		return ""
	}
}

func orNull(one rule) rule {
	return func(v any) string {
		if v == nil {
			return ""
		}
		return one(v)
	}
}

// property is a key of an object, and what it may hold.
type property struct {
	name     string
	required bool
	check    rule
}

// objectRule lets objects with these properties, and no others, pass.
func objectRule(properties ...property) rule {
	return func(v any) string {
		if why := mustObject(v); why != "" {
			return why
		}
		o, _ := v.(map[string]any)
		if why := additional(o, func(k string) bool {
			return slices.ContainsFunc(properties, func(p property) bool { return p.name == k })
		}); why != "" {
			return why
		}
		for _, p := range properties {
			value, ok := o[p.name]
			switch {
			case !ok && p.required:
				return repr(p.name) + " is a required property"
			case ok:
				if why := p.check(value); why != "" {
					return why
				}
			}
		}
		return ""
	}
}

// additional tells of keys that are not known.
func additional(o map[string]any, known func(string) bool) string {
	var extra []string
	for k := range o {
		if !known(k) {
			extra = append(extra, reprString(k))
		}
	}
	if len(extra) == 0 {
		return ""
	}
	sort.Strings(extra)
	verb := " was unexpected)"
	if len(extra) > 1 {
		verb = " were unexpected)"
	}
	return "Additional properties are not allowed (" + strings.Join(extra, ", ") + verb
}
