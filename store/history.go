package store

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
)

// Event is a line of a node's history.
type Event struct {
	UUID      string
	Node      string
	CreatedAt time.Time
	Severity  string // INFO or ERROR
	Type      string // "manual_cleaning_start", "cleaning", ...
	Text      string
	Conductor string
	Actor     string
	Project   string
	State     node.State
	Target    node.State
	Duration  time.Duration
}

const historyKept = 300

// InsertEvent adds a line to a node's history, which keeps the newest 300.
func (tx *Tx) InsertEvent(ctx context.Context, e *Event) error {
	if e.CreatedAt.IsZero() {
		e.CreatedAt = tx.Now()
	}
	_, err := tx.exec(ctx, `INSERT INTO node_history (uuid, node, created_at, severity, event_type, event, conductor, actor, project, state,
		target_provision_state, duration_micros) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		e.UUID, e.Node, toMicros(e.CreatedAt), e.Severity, e.Type, strings.ToValidUTF8(e.Text, "?"), e.Conductor, e.Actor, e.Project,
		string(e.State), string(e.Target), e.Duration.Microseconds())
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, `DELETE FROM node_history WHERE node = ? AND id <= (
		SELECT id FROM node_history WHERE node = ? ORDER BY id DESC LIMIT 1 OFFSET ?)`, e.Node, e.Node, historyKept)
	return err
}

// Events returns the history of the node, oldest first unless desc, at most limit lines (0 means all) after the line with UUID marker.
func (tx *Tx) Events(ctx context.Context, nodeUUID, marker string, limit int, desc bool) ([]*Event, error) {
	w := &where{}
	w.add("node = ?", nodeUUID)
	order, err := tx.keyset(ctx, w, keyset{table: "node_history", key: "id", desc: desc, marker: marker, limit: limit, missing: eventNotFound})
	if err != nil {
		return nil, err
	}
	return tx.events(ctx, w, order)
}

// Event returns one line of the node's history.
func (tx *Tx) Event(ctx context.Context, nodeUUID, uuid string) (*Event, error) {
	list, err := tx.events(ctx, &where{conds: []string{"node = ?", "uuid = ?"}, args: []any{nodeUUID, uuid}}, "")
	if err == nil && len(list) == 0 {
		err = eventNotFound(uuid)
	}
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

func eventNotFound(ref string) error {
	return fault.New(fault.NotFound, "Node history record %s could not be found.", ref)
}

func (tx *Tx) events(ctx context.Context, w *where, order string) ([]*Event, error) {
	var list []*Event
	err := tx.each(ctx, `SELECT uuid, node, created_at, severity, event_type, event, conductor, actor, project, state, target_provision_state,
		duration_micros FROM node_history`+w.sql()+order, w.args, func(rows *sql.Rows) error {
		e := &Event{}
		var duration int64
		err := rows.Scan(&e.UUID, &e.Node, micros{&e.CreatedAt}, &e.Severity, &e.Type, &e.Text, &e.Conductor, &e.Actor, &e.Project,
			words[node.State]{&e.State}, words[node.State]{&e.Target}, &duration)
		e.Duration = time.Duration(duration) * time.Microsecond
		list = append(list, e)
		return err
	})
	return list, err
}
