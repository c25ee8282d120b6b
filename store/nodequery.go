package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
)

// NodeQuery selects nodes. The zero value selects all parents, and no children, in the order of their creation.
type NodeQuery struct {
	IncludeChildren bool   // children as well; wins over Parent
	HasParent       bool   // only the children of Parent
	Parent          string // UUID

	Provision      []node.State
	Driver         string
	ChassisUUID    string
	InstanceUUID   string
	InstanceName   string
	ResourceClass  string
	ConductorGroup *string
	Fault          string
	Owner          string
	Lessee         string
	Project        string // owner or lessee
	Description    string // is contained in the description, whatever the case
	Shards         []string
	UUIDs          []string
	LeaseShards    []int // leases that cover the node

	Associated  *bool // has an instance
	Maintenance *bool
	Retired     *bool
	Sharded     *bool // has a shard label
	Reserved    *bool

	Columns []string // columns to read; none means all
	SortKey string   // a column; empty means id
	Desc    bool
	Marker  string // UUID of the last node of the page before
	Limit   int    // 0 means no limit
}

// SortableNodeColumn reports whether nodes can be sorted by this API field.
func SortableNodeColumn(name string) bool {
	if name == "id" {
		return true
	}
	switch name {
	case "driver_info", "driver_internal_info", "properties", "instance_info", "extra", "network_data", "raid_config", "target_raid_config",
		"clean_step", "deploy_step", "service_step", "interfaces", "lease_shard", "automated_clean", "secure_boot":
		return false
	}
	for i := range nodes.cols {
		if nodes.cols[i].name == name {
			return true
		}
	}
	return false
}

// where collects conditions and their arguments.
type where struct {
	conds []string
	args  []any
}

func (w *where) add(cond string, args ...any) {
	w.conds = append(w.conds, cond)
	w.args = append(w.args, args...)
}

func (w *where) equal(column, value string) {
	if value != "" {
		w.add(column+" = ?", value)
	}
}

func (w *where) flag(column string, value *bool) {
	if value != nil {
		w.add(column+" = ?", asFlag(*value))
	}
}

func (w *where) filled(column string, value *bool) {
	switch {
	case value == nil:
	case *value:
		w.add(column + " <> ''")
	default:
		w.add(column + " = ''")
	}
}

func in[T any](w *where, column string, values []T) {
	if values == nil {
		return
	}
	if len(values) == 0 {
		w.add("1 = 0")
		return
	}
	args := make([]any, len(values))
	for i, v := range values {
		args[i] = v
	}
	w.add(column+" IN ("+strings.TrimSuffix(strings.Repeat("?, ", len(values)), ", ")+")", args...)
}

func (w *where) sql() string {
	if len(w.conds) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.conds, " AND ")
}

func (q *NodeQuery) where() *where {
	w := &where{}
	switch {
	case q.IncludeChildren:
	case q.HasParent:
		w.add("parent_node = ?", q.Parent)
	default:
		w.add("parent_node = ''")
	}
	if q.Provision != nil {
		states := make([]string, len(q.Provision))
		for i, s := range q.Provision {
			states[i] = string(s)
		}
		in(w, "provision_state", states)
	}
	w.equal("driver", q.Driver)
	w.equal("chassis_uuid", q.ChassisUUID)
	w.equal("instance_uuid", q.InstanceUUID)
	w.equal("instance_name", q.InstanceName)
	w.equal("resource_class", q.ResourceClass)
	if q.ConductorGroup != nil {
		w.add("conductor_group = ?", *q.ConductorGroup)
	}
	w.equal("fault", q.Fault)
	w.equal("owner", q.Owner)
	w.equal("lessee", q.Lessee)
	if q.Project != "" {
		w.add("(owner = ? OR lessee = ?)", q.Project, q.Project)
	}
	if q.Description != "" {
		w.add(`LOWER(description) LIKE ? ESCAPE '\'`, "%"+escapeLike(strings.ToLower(q.Description))+"%")
	}
	in(w, "shard", q.Shards)
	in(w, "uuid", q.UUIDs)
	in(w, "lease_shard", q.LeaseShards)
	w.filled("instance_uuid", q.Associated)
	w.filled("shard", q.Sharded)
	w.filled("reservation", q.Reserved)
	w.flag("maintenance", q.Maintenance)
	w.flag("retired", q.Retired)
	return w
}

func escapeLike(s string) string {
	return strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(s)
}

// Nodes returns the nodes that q selects, with secrets masked. A marker that names no node is fault.NotFound; a sort key that is not a sortable
// column is fault.Invalid. Pages are cut by key, so that the last page costs what the first one does.
func (tx *Tx) Nodes(ctx context.Context, q NodeQuery) ([]*node.Node, error) {
	w := q.where()
	order, err := tx.page(ctx, w, &q)
	if err != nil {
		return nil, err
	}
	keep := keepColumns(q.Columns)
	query := "SELECT " + nodes.names("", keep) + ", id, version FROM nodes" + w.sql() + order
	var list []*node.Node
	var row node.Node // the destinations are made once and filled again for each row
	dests := append(nodes.dests(&row, keep), &row.ID, &row.Version)
	err = tx.each(ctx, query, w.args, func(rows *sql.Rows) error {
		row = node.Node{}
		if err := rows.Scan(dests...); err != nil {
			return err
		}
		n := row
		list = append(list, &n)
		return nil
	})
	return list, err
}

func keepColumns(columns []string) func(string) bool {
	if len(columns) == 0 {
		return nil
	}
	set := map[string]bool{"uuid": true}
	for _, c := range columns {
		set[c] = true
	}
	return func(name string) bool { return set[name] }
}

// page adds the condition that skips what is before the marker, and returns the order and limit.
func (tx *Tx) page(ctx context.Context, w *where, q *NodeQuery) (string, error) {
	key := q.SortKey
	if key == "" {
		key = "id"
	}
	if !SortableNodeColumn(key) {
		return "", fault.New(fault.Invalid, "The sort_key value \"%s\" is an invalid field for sorting", key)
	}
	return tx.keyset(ctx, w, keyset{table: "nodes", key: key, desc: q.Desc, marker: q.Marker, limit: q.Limit, missing: NodeNotFound})
}

// keyset is a page of a table with an id and a uuid, ordered by key and id.
type keyset struct {
	table, key string
	desc       bool
	marker     string
	limit      int
	missing    func(ref string) error
}

func (tx *Tx) keyset(ctx context.Context, w *where, k keyset) (string, error) {
	dir, after := " ASC", ">"
	if k.desc {
		dir, after = " DESC", "<"
	}
	if k.marker != "" {
		var value any
		var id int64
		err := tx.queryRow(ctx, "SELECT "+k.key+", id FROM "+k.table+" WHERE uuid = ?", k.marker).Scan(&value, &id)
		if errors.Is(err, sql.ErrNoRows) {
			return "", k.missing(k.marker)
		}
		if err != nil {
			return "", err
		}
		if k.key == "id" {
			w.add("id "+after+" ?", id)
		} else {
			w.add("("+k.key+", id) "+after+" (?, ?)", value, id)
		}
	}
	order := " ORDER BY "
	if k.key != "id" {
		order += k.key + dir + ", "
	}
	order += "id" + dir
	if k.limit > 0 {
		order += fmt.Sprintf(" LIMIT %d", k.limit)
	}
	return order, nil
}

// CountNodes returns the number of nodes that q selects.
func (tx *Tx) CountNodes(ctx context.Context, q NodeQuery) (int, error) {
	w := q.where()
	var n int
	err := tx.queryRow(ctx, "SELECT COUNT(*) FROM nodes"+w.sql(), w.args...).Scan(&n)
	return n, err
}

// NodesUpdatedBefore returns the UUIDs of nodes, parents and children alike, in one of the states whose last change of state is before t.
func (tx *Tx) NodesUpdatedBefore(ctx context.Context, shards []int, states []node.State, t time.Time) ([]string, error) {
	w := (&NodeQuery{IncludeChildren: true, Provision: states, LeaseShards: shards}).where()
	w.add("provision_updated_at < ?", toMicros(t))
	return tx.strings(ctx, "SELECT uuid FROM nodes"+w.sql()+" ORDER BY id", w.args...)
}
