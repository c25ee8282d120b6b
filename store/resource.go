package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
)

// Page is the part of a list that is wanted. Pages are cut by key, so that the last one costs what the first one does.
type Page struct {
	SortKey string // a column; empty means the order of creation
	Desc    bool
	Marker  string // UUID of the last row of the page before
	Limit   int    // 0 means no limit
}

// resource is a table of resources of the API that have a node.Record.
type resource[T any] struct {
	table[T]
	what   string // in texts: "Port"
	record func(*T) *node.Record
}

// recordColumns are the columns of a node.Record.
func recordColumns[T any](record func(*T) *node.Record, cols ...column[T]) []column[T] {
	return append([]column[T]{
		text("uuid", func(v *T) *string { return &record(v).UUID }),
		when("created_at", func(v *T) *time.Time { return &record(v).CreatedAt }),
		when("updated_at", func(v *T) *time.Time { return &record(v).UpdatedAt }),
	}, cols...)
}

func newResource[T any](name, what string, record func(*T) *node.Record, cols ...column[T]) *resource[T] {
	return &resource[T]{table[T]{name, recordColumns(record, cols...)}, what, record}
}

func (res *resource[T]) notFound(ref string) error {
	return fault.New(fault.NotFound, "%s %s could not be found.", res.what, ref)
}

// sortable reports whether the table has a column with this name that is not JSON.
func (res *resource[T]) sortable(name string) bool {
	if name == "id" {
		return true
	}
	for i := range res.cols {
		if res.cols[i].name == name {
			switch name {
			case "extra", "properties", "internal_info", "local_link_connection", "candidate_nodes", "traits", "steps", "conditions", "actions":
				return false
			}
			return true
		}
	}
	return false
}

// one returns the row whose column key is ref.
func (res *resource[T]) one(ctx context.Context, tx *Tx, key, ref string) (*T, error) {
	w := &where{}
	w.add(key+" = ?", ref)
	list, err := res.rows(ctx, tx, w, "")
	if err == nil && (len(list) == 0 || ref == "") {
		err = res.notFound(ref)
	}
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// named returns the row with this UUID or name.
func (res *resource[T]) named(ctx context.Context, tx *Tx, ref string) (*T, error) {
	return res.one(ctx, tx, nodeKey(ref), ref)
}

func (res *resource[T]) list(ctx context.Context, tx *Tx, w *where, p Page) ([]*T, error) {
	key := p.SortKey
	if key == "" {
		key = "id"
	}
	if !res.sortable(key) {
		return nil, fault.New(fault.Invalid, "The sort_key value \"%s\" is an invalid field for sorting", key)
	}
	order, err := tx.keyset(ctx, w, keyset{table: res.name, key: key, desc: p.Desc, marker: p.Marker, limit: p.Limit, missing: res.notFound})
	if err != nil {
		return nil, err
	}
	return res.rows(ctx, tx, w, order)
}

func (res *resource[T]) rows(ctx context.Context, tx *Tx, w *where, order string) ([]*T, error) {
	var list []*T
	err := tx.each(ctx, "SELECT "+res.names("", nil)+", id FROM "+res.table.name+w.sql()+order, w.args, func(rows *sql.Rows) error {
		v := new(T)
		if err := rows.Scan(append(res.dests(v, nil), &res.record(v).ID)...); err != nil {
			return err
		}
		list = append(list, v)
		return nil
	})
	return list, err
}

// add inserts v and fills its ID and CreatedAt. taken makes the error for a unique value that another row has.
func (res *resource[T]) add(ctx context.Context, tx *Tx, v *T, taken func(*T) error) error {
	r := res.record(v)
	r.CreatedAt = tx.Now()
	query, args, err := res.insert(v)
	if err != nil {
		return err
	}
	err = tx.queryRow(ctx, query+" RETURNING id", args...).Scan(&r.ID)
	if isUnique(err) {
		return taken(v)
	}
	return err
}

// save writes all of v, which was read in this transaction or is as old as its UpdatedAt says.
func (res *resource[T]) save(ctx context.Context, tx *Tx, v *T, taken func(*T) error) error {
	r := res.record(v)
	before := r.UpdatedAt
	r.UpdatedAt = tx.Now()
	set, args, err := res.set(v)
	if err != nil {
		return err
	}
	changed, err := tx.exec(ctx, "UPDATE "+res.table.name+" SET "+set+" WHERE uuid = ? AND updated_at = ?", append(args, r.UUID, toMicros(before))...)
	switch {
	case isUnique(err):
		return taken(v)
	case err != nil:
		return err
	case changed == 0:
		return fault.New(fault.Conflict, "%s %s was changed or deleted by somebody else in the meantime: read it again.", res.what, r.UUID)
	}
	return nil
}

func (res *resource[T]) remove(ctx context.Context, tx *Tx, uuid string) error {
	changed, err := tx.exec(ctx, "DELETE FROM "+res.table.name+" WHERE uuid = ?", uuid)
	if err == nil && changed == 0 {
		return res.notFound(uuid)
	}
	return err
}

func taken(format string, args ...any) error { return fault.New(fault.Conflict, format, args...) }
