package rest

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// Appender is a value that writes itself as JSON.
type Appender interface {
	AppendJSON(b []byte) []byte
}

const hex = "0123456789abcdef"

// AppendString appends s as a JSON string (RFC 8259, section 7). Bytes that are not UTF-8 become U+FFFD.
func AppendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				b = append(append(b, s[start:i]...), "\ufffd"...)
				start = i + size
			}
			i += size
			continue
		}
		b = append(b, s[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		start = i
	}
	return append(append(b, s[start:]...), '"')
}

// AppendTime appends t in the form of the OpenStack APIs, "2026-11-20T16:48:53.041236+00:00", or null for the zero time. Microseconds are
// left out when they are none.
func AppendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, "null"...)
	}
	t = t.UTC()
	layout := `"2006-01-02T15:04:05.000000+00:00"`
	if t.Nanosecond() < 1000 {
		layout = `"2006-01-02T15:04:05+00:00"`
	}
	return t.AppendFormat(b, layout)
}

// AppendValue appends a value as decoded from JSON, or made in its likeness: keys of objects are in order, a nil object is {}, a nil list [].
func AppendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case string:
		return AppendString(b, v)
	case bool:
		return strconv.AppendBool(b, v)
	case float64:
		return appendFloat(b, v)
	case int:
		return strconv.AppendInt(b, int64(v), 10)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case time.Time:
		return AppendTime(b, v)
	case map[string]any:
		return appendObject(b, v)
	case []any:
		return AppendList(b, v, AppendValue)
	case []string:
		return AppendList(b, v, AppendString)
	case Appender:
		return v.AppendJSON(b)
	}
	text, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("a %T cannot be written as JSON: %v", v, err))
	}
	return append(b, text...)
}

// AppendList appends the values as a JSON list, each written by one.
func AppendList[T any](b []byte, list []T, one func([]byte, T) []byte) []byte {
	b = append(b, '[')
	for i, v := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = one(b, v)
	}
	return append(b, ']')
}

func appendObject(b []byte, o map[string]any) []byte {
	if len(o) == 0 {
		return append(b, '{', '}')
	}
	var few [16]string
	keys := few[:0]
	for k := range o {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	b = append(b, '{')
	for i, k := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(AppendString(b, k), ':')
		b = AppendValue(b, o[k])
	}
	return append(b, '}')
}

// appendFloat writes whole numbers without a fraction or an exponent as far as a float64 holds them exactly.
func appendFloat(b []byte, f float64) []byte {
	if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		return strconv.AppendInt(b, int64(f), 10)
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(b, "null"...)
	}
	return strconv.AppendFloat(b, f, 'g', -1, 64)
}
