package store

import (
	"context"
	"database/sql/driver"

	modernc "modernc.org/sqlite"
)

// statementsKept is how many prepared statements a connection keeps. The store has about two hundred; a list's text varies with its filters.
const statementsKept = 400

// connector opens SQLite connections that keep their prepared statements: preparing costs more than running most of the store's statements, and
// database/sql forgets them at the end of each transaction.
type connector struct{ dsn string }

func (c connector) Connect(context.Context) (driver.Conn, error) {
	conn, err := new(modernc.Driver).Open(c.dsn)
	if err != nil {
		return nil, err
	}
	return &keepingConn{sqliteConn: conn.(sqliteConn), kept: map[string]*keptStmt{}}, nil
}

func (c connector) Driver() driver.Driver { return new(modernc.Driver) }

// sqliteConn is what the driver's connection can do that the store needs.
type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
}

// keepingConn is a connection with its prepared statements. It is used by one goroutine at a time.
type keepingConn struct {
	sqliteConn
	kept map[string]*keptStmt
}

// keptStmt is a prepared statement, and whether rows of it are being read.
type keptStmt struct {
	driver.Stmt
	busy bool
}

func (c *keepingConn) statement(query string) (*keptStmt, error) {
	if s, ok := c.kept[query]; ok {
		return s, nil
	}
	if len(c.kept) >= statementsKept {
		return nil, nil
	}
	prepared, err := c.Prepare(query)
	if err != nil {
		return nil, err
	}
	s := &keptStmt{Stmt: prepared}
	c.kept[query] = s
	return s, nil
}

func (c *keepingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	s, err := c.statement(query)
	if err != nil {
		return nil, err
	}
	if e, ok := stmtExec(s); ok {
		return e.ExecContext(ctx, args)
	}
	return c.sqliteConn.ExecContext(ctx, query, args)
}

func stmtExec(s *keptStmt) (driver.StmtExecContext, bool) {
	if s == nil || s.busy {
		return nil, false
	}
	e, ok := s.Stmt.(driver.StmtExecContext)
	return e, ok
}

func (c *keepingConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	s, err := c.statement(query)
	if err != nil {
		return nil, err
	}
	if s == nil || s.busy {
		return c.sqliteConn.QueryContext(ctx, query, args)
	}
	q, ok := s.Stmt.(driver.StmtQueryContext)
	if !ok {
		return c.sqliteConn.QueryContext(ctx, query, args)
	}
	rows, err := q.QueryContext(ctx, args)
	if err != nil {
		return nil, err
	}
	s.busy = true
	return &keptRows{Rows: rows, stmt: s}, nil
}

func (c *keepingConn) Close() error {
	for _, s := range c.kept {
		_ = s.Close() // the connection's own end tells what matters
	}
	return c.sqliteConn.Close()
}

// keptRows gives its statement back when it is closed.
type keptRows struct {
	driver.Rows
	stmt *keptStmt
}

func (r *keptRows) Close() error {
	r.stmt.busy = false
	return r.Rows.Close()
}
