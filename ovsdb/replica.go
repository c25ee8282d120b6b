package ovsdb

import (
	"encoding/json"
	"fmt"
	"iter"
	"reflect"

	"github.com/ovn-kubernetes/libovsdb/model"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"
	"github.com/ovn-kubernetes/libovsdb/updates"
)

// replica holds the monitored columns of one database. A row is never changed after it was stored, so a reader may keep
// it; only the maps need the lock of their Conn.
type replica struct {
	model  model.DatabaseModel
	tables map[string]*table
}

type table struct {
	rows  map[string]model.Model // by UUID
	named map[string]string      // UUID by name, for rows that have one; names need not be unique
}

// namedRow is a row that is looked up by name.
type namedRow interface{ rowName() string }

// rowID names a row of a database.
type rowID struct{ table, uuid string }

func newReplica(m model.DatabaseModel) *replica {
	r := &replica{model: m, tables: map[string]*table{}}
	for name := range m.Types() {
		r.tables[name] = &table{rows: map[string]model.Model{}, named: map[string]string{}}
	}
	return r
}

// monitorRequests asks for the columns that the rows of m have, and for no others: Open vSwitch refreshes statistics
// every few seconds.
func monitorRequests(m model.ClientDBModel) map[string]any {
	out := map[string]any{}
	for name, row := range m.Types() {
		var columns []string
		for i := range row.Elem().NumField() {
			if c := row.Elem().Field(i).Tag.Get("ovsdb"); c != "" && c != "_uuid" {
				columns = append(columns, c)
			}
		}
		out[name] = []any{map[string]any{"columns": columns}}
	}
	return out
}

// apply carries out table-updates2 (ovsdb-server(7) section 4.1.14) and returns the rows that it touched.
func (r *replica) apply(data json.RawMessage) ([]rowID, error) {
	var tables ovsdb.TableUpdates2
	if err := json.Unmarshal(data, &tables); err != nil {
		return nil, err
	}
	var touched []rowID
	for name, rows := range tables {
		t := r.tables[name]
		if t == nil {
			return nil, fmt.Errorf("table %s was not asked for", name)
		}
		for uuid, change := range rows {
			if err := t.apply(r.model, name, uuid, change); err != nil {
				return nil, fmt.Errorf("table %s row %s: %w", name, uuid, err)
			}
			touched = append(touched, rowID{name, uuid})
		}
	}
	return touched, nil
}

func (t *table) apply(m model.DatabaseModel, name, uuid string, change *ovsdb.RowUpdate2) error {
	if change == nil {
		return fmt.Errorf("no change")
	}
	current := t.rows[uuid]
	if current == nil && change.Initial == nil && change.Insert == nil {
		return fmt.Errorf("a change of a row that is not there")
	}
	var u updates.ModelUpdates
	if err := u.AddRowUpdate2(m, name, uuid, current, *change); err != nil {
		return err
	}
	return u.ForEachModelUpdate(name, func(_ string, old, row model.Model) error {
		if n, ok := old.(namedRow); ok && t.named[n.rowName()] == uuid {
			delete(t.named, n.rowName())
		}
		if row == nil {
			delete(t.rows, uuid)
			return nil
		}
		t.rows[uuid] = row
		if n, ok := row.(namedRow); ok {
			t.named[n.rowName()] = uuid
		}
		return nil
	})
}

// all yields the rows of T's table, in no order.
func all[T any](r *replica) iter.Seq[*T] {
	t := r.tables[tableOf[T]()]
	return func(yield func(*T) bool) {
		for _, row := range t.rows {
			if typed, ok := row.(*T); ok && !yield(typed) {
				return
			}
		}
	}
}

// byUUID returns a row, or nil.
func byUUID[T any](r *replica, uuid string) *T {
	row, _ := r.tables[tableOf[T]()].rows[uuid].(*T)
	return row
}

// byName returns the row of that name, or nil; one of them if there are several.
func byName[T any](r *replica, name string) *T {
	return byUUID[T](r, r.tables[tableOf[T]()].named[name])
}

func tableOf[T any]() string { return tableNames[reflect.TypeFor[T]()] }

func cloneInto[T any](row *T, m model.Model) {
	if into, ok := m.(*T); ok {
		*into = *clone(row)
	}
}

// clone returns a deep copy of a row.
func clone[T any](row *T) *T {
	c := *row
	v := reflect.ValueOf(&c).Elem()
	for i := range v.NumField() {
		f := v.Field(i)
		switch f.Kind() {
		case reflect.Slice:
			if !f.IsNil() {
				f.Set(reflect.AppendSlice(reflect.MakeSlice(f.Type(), 0, f.Len()), f))
			}
		case reflect.Map:
			f.Set(cloneMap(f))
		case reflect.Pointer:
			if !f.IsNil() {
				p := reflect.New(f.Type().Elem())
				p.Elem().Set(f.Elem())
				f.Set(p)
			}
		}
	}
	return &c
}

func cloneMap(m reflect.Value) reflect.Value {
	if m.IsNil() {
		return m
	}
	c := reflect.MakeMapWithSize(m.Type(), m.Len())
	for k, v := range m.Seq2() {
		c.SetMapIndex(k, v)
	}
	return c
}
