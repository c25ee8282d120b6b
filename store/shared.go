package store

import (
	"encoding/json"
	"fmt"
	"maps"
	"sync"
)

// sharedText is jsonText for a map that many rows have alike: each text is decoded once, and each row gets a copy.
func sharedText[T any, M ~map[K]string, K ~string](name string, f func(*T) *M) column[T] {
	known := &decoded[M, K]{}
	return column[T]{name, func(v *T) (any, error) { return asJSON(*f(v)) }, func(v *T) any { return shared[M, K]{f(v), known} }}
}

// decoded keeps what texts mean. It starts anew when it has grown large: texts are then not alike after all.
type decoded[M ~map[K]string, K ~string] struct {
	mu     sync.RWMutex
	values map[string]M
}

const decodedKept = 512

func (d *decoded[M, K]) of(text string) (M, error) {
	d.mu.RLock()
	m, ok := d.values[text]
	d.mu.RUnlock()
	if ok {
		return maps.Clone(m), nil
	}
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.values == nil || len(d.values) >= decodedKept {
		d.values = map[string]M{}
	}
	d.values[text] = m
	return maps.Clone(m), nil
}

type shared[M ~map[K]string, K ~string] struct {
	m    *M
	from *decoded[M, K]
}

// Scan implements sql.Scanner.
func (s shared[M, K]) Scan(v any) error {
	var text string
	switch v := v.(type) {
	case string:
		text = v
	case []byte:
		text = string(v)
	default:
		return fmt.Errorf("JSON column holds %T", v)
	}
	if text == "" {
		*s.m = nil
		return nil
	}
	var err error
	*s.m, err = s.from.of(text)
	return err
}
