package networking

import "time"

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func numberOrNull(n int) any {
	if n == 0 {
		return nil
	}
	return n
}

func list[T any](values []T) []any {
	out := make([]any, len(values))
	for i, v := range values {
		out[i] = v
	}
	return out
}

// stamp writes a time as Neutron does: to the second, in UTC.
func stamp(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}
