package store

import (
	"context"
	"database/sql"
	"time"
)

// Kinds of a move.
const (
	MoveMigration  = "migration"  // from a host that is asked to give the server up; to be confirmed or reverted
	MoveRevert     = "revert"     // back again
	MoveEvacuation = "evacuation" // from a host that is silent
)

// Move is what a server is moving from and to. It stays until a migration is confirmed or reverted.
type Move struct {
	ID      string `json:"id"` // UUID of the migration's record
	Kind    string `json:"kind"`
	From    string `json:"from"` // hosts
	To      string `json:"to"`
	Stopped bool   `json:"stopped,omitempty"` // the server was stopped, and stays so
}

// Migration is the record of a move, as the Compute API lists it under os-migrations.
type Migration struct {
	ID        int64
	UUID      string
	Server    string
	Kind      string // MoveMigration, MoveEvacuation
	Status    string // migrating, finished, confirmed, reverting, reverted, done, error
	Source    string // hosts
	Dest      string
	Project   string
	Owner     string // user
	Flavor    string // id
	CreatedAt time.Time
	UpdatedAt time.Time
}

var moves = table[Migration]{"moves", []column[Migration]{
	text("uuid", func(m *Migration) *string { return &m.UUID }),
	text("server", func(m *Migration) *string { return &m.Server }),
	text("kind", func(m *Migration) *string { return &m.Kind }),
	text("status", func(m *Migration) *string { return &m.Status }),
	text("source", func(m *Migration) *string { return &m.Source }),
	text("dest", func(m *Migration) *string { return &m.Dest }),
	text("project", func(m *Migration) *string { return &m.Project }),
	text("owner", func(m *Migration) *string { return &m.Owner }),
	text("flavor", func(m *Migration) *string { return &m.Flavor }),
	when("created_at", func(m *Migration) *time.Time { return &m.CreatedAt }),
	when("updated_at", func(m *Migration) *time.Time { return &m.UpdatedAt }),
}}

// MigrationQuery selects migrations. The zero value selects all.
type MigrationQuery struct {
	Server  string
	Host    string // source or destination
	Status  string
	Kind    string
	Project string
}

// Migrations returns the migrations that q selects, the newest first.
func (tx *Tx) Migrations(ctx context.Context, q MigrationQuery) ([]*Migration, error) {
	w := &where{}
	w.equal("server", q.Server)
	w.equal("status", q.Status)
	w.equal("kind", q.Kind)
	w.equal("project", q.Project)
	if q.Host != "" {
		w.add("(source = ? OR dest = ?)", q.Host, q.Host)
	}
	var list []*Migration
	err := tx.each(ctx, "SELECT "+moves.names("", nil)+", id FROM moves"+w.sql()+" ORDER BY id DESC", w.args, func(rows *sql.Rows) error {
		m := &Migration{}
		list = append(list, m)
		return rows.Scan(append(moves.dests(m, nil), &m.ID)...)
	})
	return list, err
}

// InsertMigration adds m.
func (tx *Tx) InsertMigration(ctx context.Context, m *Migration) error {
	m.CreatedAt, m.UpdatedAt = tx.Now(), tx.Now()
	query, args, err := moves.insert(m)
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, query, args...)
	return err
}

// SetMigrationStatus writes how far a migration is.
func (tx *Tx) SetMigrationStatus(ctx context.Context, uuid, status string) error {
	_, err := tx.exec(ctx, "UPDATE moves SET status = ?, updated_at = ? WHERE uuid = ?", status, toMicros(tx.Now()), uuid)
	return err
}

// Leftover is a domain that a host must forget when it is back: its server was evacuated.
type Leftover struct{ Host, Server string }

// Leftovers returns what is left over on a host, or on all when name is empty.
func (tx *Tx) Leftovers(ctx context.Context, name string) ([]Leftover, error) {
	w := &where{}
	w.equal("host", name)
	var list []Leftover
	err := tx.each(ctx, "SELECT host, server FROM leftovers"+w.sql()+" ORDER BY host, server", w.args, func(rows *sql.Rows) error {
		var l Leftover
		err := rows.Scan(&l.Host, &l.Server)
		list = append(list, l)
		return err
	})
	return list, err
}

// AddLeftover notes a leftover; noting it again changes nothing.
func (tx *Tx) AddLeftover(ctx context.Context, l Leftover) error {
	_, err := tx.exec(ctx, "INSERT INTO leftovers (host, server) VALUES (?, ?) ON CONFLICT (host, server) DO NOTHING", l.Host, l.Server)
	return err
}

// DeleteLeftover notes that the host has forgotten the domain.
func (tx *Tx) DeleteLeftover(ctx context.Context, l Leftover) error {
	_, err := tx.exec(ctx, "DELETE FROM leftovers WHERE host = ? AND server = ?", l.Host, l.Server)
	return err
}
