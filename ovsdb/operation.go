package ovsdb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// operation is one operation of a transaction (RFC 7047 section 5.2). libovsdb's own type leaves out an empty list of
// rows, which is what a "wait" for absence consists of.
type operation struct {
	Op        string            `json:"op"`
	Table     string            `json:"table"`
	UUIDName  string            `json:"uuid-name,omitempty"`
	Where     []ovsdb.Condition `json:"where,omitempty"`
	Columns   []string          `json:"columns,omitempty"`
	Until     string            `json:"until,omitempty"`
	Rows      *[]ovsdb.Row      `json:"rows,omitempty"`
	Timeout   *int              `json:"timeout,omitempty"`
	Row       ovsdb.Row         `json:"row,omitempty"`
	Mutations []ovsdb.Mutation  `json:"mutations,omitempty"`
}

func insert(table, name string, row ovsdb.Row) operation {
	return operation{Op: ovsdb.OperationInsert, Table: table, UUIDName: name, Row: row}
}

func update(table, uuid string, row ovsdb.Row) operation {
	return operation{Op: ovsdb.OperationUpdate, Table: table, Where: where(isRow(uuid)), Row: row}
}

func remove(table, uuid string) operation {
	return operation{Op: ovsdb.OperationDelete, Table: table, Where: where(isRow(uuid))}
}

func mutate(table string, rows []ovsdb.Condition, m ...ovsdb.Mutation) operation {
	return operation{Op: ovsdb.OperationMutate, Table: table, Where: rows, Mutations: m}
}

// expect makes the transaction fail unless the rows that match have exactly these values in one column.
func expect(table string, rows []ovsdb.Condition, column string, values ...any) operation {
	now := 0
	expected := make([]ovsdb.Row, 0, len(values))
	for _, v := range values {
		expected = append(expected, ovsdb.Row{column: v})
	}
	return operation{
		Op: ovsdb.OperationWait, Table: table, Where: rows, Columns: []string{column}, Until: "==", Rows: &expected, Timeout: &now,
	}
}

func where(c ...ovsdb.Condition) []ovsdb.Condition { return c }

func isRow(uuid string) ovsdb.Condition { return equals("_uuid", uuidOf(uuid)) }

func equals(column string, value any) ovsdb.Condition {
	return ovsdb.NewCondition(column, ovsdb.ConditionEqual, value)
}

func includes(column string, value any) ovsdb.Condition {
	return ovsdb.NewCondition(column, ovsdb.ConditionIncludes, value)
}

// marked matches rows whose external_ids have these pairs.
func marked(pairs map[string]string) ovsdb.Condition { return includes("external_ids", mapOf(pairs)) }

func add(column string, value any) ovsdb.Mutation {
	return *ovsdb.NewMutation(column, ovsdb.MutateOperationInsert, value)
}

func drop(column string, value any) ovsdb.Mutation {
	return *ovsdb.NewMutation(column, ovsdb.MutateOperationDelete, value)
}

// uuidOf is a row's UUID, or the name that an insert of the same transaction gave it.
func uuidOf(s string) ovsdb.UUID { return ovsdb.UUID{GoUUID: s} }

func uuidsOf(list ...string) ovsdb.OvsSet {
	set := ovsdb.OvsSet{GoSet: make([]any, 0, len(list))}
	for _, s := range list {
		set.GoSet = append(set.GoSet, uuidOf(s))
	}
	return set
}

func setOf[T any](list ...T) ovsdb.OvsSet {
	set := ovsdb.OvsSet{GoSet: make([]any, 0, len(list))}
	for _, v := range list {
		set.GoSet = append(set.GoSet, v)
	}
	return set
}

func mapOf(m map[string]string) ovsdb.OvsMap {
	out := ovsdb.OvsMap{GoMap: make(map[any]any, len(m))}
	for k, v := range m {
		out.GoMap[k] = v
	}
	return out
}

// refusal is an error by which the server refused a whole transaction (RFC 7047 section 4.1.3).
type refusal struct {
	kind, details string
	op            *operation // nil when the transaction as a whole was refused
}

func (e *refusal) Error() string {
	on := ""
	if e.op != nil {
		on = fmt.Sprintf("%s %s: ", e.op.Op, e.op.Table)
	}
	return fmt.Sprintf("the server refuses: %s%s: %s", on, e.kind, e.details)
}

// overtaken tells whether rows changed after the transaction was planned: a wait failed, a name was taken, or a row
// that it refers to is gone. The last two may also be wrong values, which stay wrong: same as the refusal before.
func (e *refusal) overtaken(before *refusal) bool {
	switch e.kind {
	case "timed out":
		return true
	case "constraint violation", "referential integrity violation":
		return before == nil || before.Error() != e.Error()
	}
	return false
}

func (s *session) transact(ctx context.Context, database string, ops []operation) error {
	params := make([]any, 0, 1+len(ops))
	params = append(params, database)
	for _, op := range ops {
		params = append(params, op)
	}
	return s.call(ctx, "transact", params, func(result json.RawMessage) error {
		var results []*struct{ Error, Details string }
		if err := json.Unmarshal(result, &results); err != nil {
			return err
		}
		if len(results) < len(ops) {
			return fmt.Errorf("%d results for %d operations", len(results), len(ops))
		}
		for i, r := range results {
			if r == nil || r.Error == "" {
				continue
			}
			e := &refusal{kind: r.Error, details: r.Details}
			if i < len(ops) {
				e.op = &ops[i]
			}
			return e
		}
		return nil
	})
}

// tries bounds how often a write is planned anew because others changed its rows.
const tries = 8

// plan is a transaction that was made upon one state of the replica: what must still hold, and what to change.
type plan struct{ guards, changes []operation }

// write draws a plan upon the replica and sends it, anew when other writers overtook it. It returns whether there was
// anything to change. With guards alone the database confirms that there is not; an empty plan is not sent. A plan that
// cannot be drawn is tried once more upon a replica that has caught up: what another client committed a moment ago,
// such as the row that was not found, may still be on its way.
func (c *Conn) write(ctx context.Context, draw func(*replica) (plan, error)) (bool, error) {
	var last *refusal
	var caughtUp bool
	pause := time.Duration(0)
	for range tries {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return false, ctx.Err()
		}
		s, p, err := c.plan(draw)
		if err != nil && s != nil && !caughtUp {
			caughtUp = true
			if err := s.barrier(ctx); err != nil {
				return false, err
			}
			continue
		}
		ops := slices.Concat(p.guards, p.changes)
		if err != nil || len(ops) == 0 {
			return false, err
		}
		err = s.transact(ctx, c.model.Name(), ops)
		var refused *refusal
		if !errors.As(err, &refused) || !refused.overtaken(last) {
			return err == nil && len(p.changes) > 0, err
		}
		// The updates that overtook the transaction came before its answer, so the first new plan is seldom in vain.
		last, pause = refused, 2*pause+time.Millisecond
	}
	return false, fmt.Errorf("%w: %w", ErrConflict, last)
}

func (c *Conn) plan(draw func(*replica) (plan, error)) (*session, plan, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.session == nil {
		return nil, plan{}, fmt.Errorf("%s at %s: %w", c.model.Name(), c.cfg.Endpoint, because(ErrNotConnected, c.health.Err))
	}
	p, err := draw(c.replica)
	return c.session, p, err
}
