// Package store keeps everything riser knows, in SQLite or PostgreSQL. It holds the only SQL of the product.
//
// One concrete DB serves both: the SQL is written once, with ? for arguments and {now} for the database's clock in microseconds, and bound to
// the dialect when it runs. All changes go through Write, which is one transaction; a conductor's changes go through WriteFenced, which is
// refused once the conductor's lease is gone.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/riser-project/riser/failpoint"
	"github.com/riser-project/riser/fault"
)

// Options says how to open a DB. The zero value is good.
type Options struct {
	// KeyFile holds the key that seals secrets: 32 bytes in base64, mode 0600. Empty means the SQLite file's path with ".key" appended; it
	// must be given for PostgreSQL, where every process needs the same key.
	KeyFile string

	// Now is the clock for created_at and updated_at. Nil means time.Now. Leases use the database's clock whatever this says.
	Now func() time.Time

	// MaxConns bounds the connections to PostgreSQL. 0 means 16.
	MaxConns int
}

// DB is an open store. It is safe for concurrent use.
type DB struct {
	dialect dialect
	w, r    *sql.DB
	sealer  *sealer
	now     func() time.Time

	hub    hub
	tail   *tail    // of an embedded database
	lock   *os.File // likewise
	stop   context.CancelFunc
	closed sync.WaitGroup
}

// Open opens the store that dsn names, creates it if it is new, and brings its tables to this version. dsn is "sqlite:PATH" or a
// "postgres://..." URL.
//
// The error is fault.Invalid for a DSN that is neither, fault.Unavailable when the database cannot be reached, and an ordinary error when the
// database's secrets were sealed with a key that is not there, or when an SQLite file lacks changes that were acknowledged once.
func Open(ctx context.Context, dsn string, opts Options) (*DB, error) {
	db := &DB{now: opts.Now}
	if db.now == nil {
		db.now = time.Now
	}
	var err error
	switch {
	case strings.HasPrefix(dsn, "sqlite:"):
		err = db.openSQLite(strings.TrimPrefix(dsn, "sqlite:"), &opts)
	case strings.HasPrefix(dsn, "postgres://"), strings.HasPrefix(dsn, "postgresql://"):
		err = db.openPostgres(dsn, opts)
	default:
		err = fault.New(fault.Invalid, "database %q: want sqlite:PATH or postgres://USER@HOST/NAME", redactDSN(dsn))
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	run, stop := context.WithCancel(context.Background())
	db.stop = stop
	if err := db.start(ctx, run, dsn, opts); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func (db *DB) start(ctx, run context.Context, dsn string, opts Options) error {
	if err := db.migrate(ctx); err != nil {
		return db.translate(err)
	}
	var err error
	if db.dialect == sqlite {
		if db.tail, err = db.openTail(ctx, strings.TrimPrefix(dsn, "sqlite:")+".commits"); err != nil {
			return err
		}
	}
	if db.sealer, err = db.openSealer(ctx, opts.KeyFile); err != nil {
		return err
	}
	if db.dialect == postgres {
		db.closed.Go(func() { db.listen(run, dsn) })
	}
	return nil
}

func (db *DB) openSQLite(path string, opts *Options) error {
	if path == "" {
		return fault.New(fault.Invalid, "database sqlite: needs a path, as in sqlite:riser.db")
	}
	if opts.KeyFile == "" {
		opts.KeyFile = path + ".key"
	}
	if err := touch(path); err != nil {
		return fmt.Errorf("database %s: %w", path, err)
	}
	var err error
	if db.lock, err = lockFile(path + ".lock"); err != nil {
		return err
	}
	const pragmas = "?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_pragma=cache_size(-8000)"
	file := "file:" + strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path)
	db.w = sql.OpenDB(connector{file + pragmas + "&_txlock=immediate"})
	db.w.SetMaxOpenConns(1)
	db.r = sql.OpenDB(connector{file + pragmas + "&_pragma=query_only(1)"})
	db.r.SetMaxOpenConns(max(4, runtime.NumCPU()))
	db.r.SetMaxIdleConns(2)
	return nil
}

// touch creates the database file unreadable for others before SQLite would create it with the process's umask.
func touch(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // the path is the operator's own choice
	if err != nil {
		return err
	}
	return f.Close()
}

// Close ends the store's work and closes its connections.
func (db *DB) Close() error {
	if db.stop != nil {
		db.stop()
	}
	db.closed.Wait()
	db.hub.close()
	var errs []error
	if db.r != nil && db.r != db.w {
		errs = append(errs, db.r.Close())
	}
	if db.w != nil {
		errs = append(errs, db.w.Close())
	}
	errs = append(errs, db.tail.close())
	if db.lock != nil {
		errs = append(errs, db.lock.Close())
	}
	return errors.Join(errs...)
}

// Ping reports whether the database answers.
func (db *DB) Ping(ctx context.Context) error { return db.translate(db.r.PingContext(ctx)) }

// Embedded reports whether the store is a file that this process has for itself: it holds the file's lock until it ends.
func (db *DB) Embedded() bool { return db.dialect == sqlite }

// Tx is a transaction. Its methods are the store's operations; they must not be used after the function that got the Tx has returned.
type Tx struct {
	db    *DB
	tx    *sql.Tx
	fence *Fence // under which it writes, of a conductor
	wake  []string

	commit uint64 // its number, in an embedded database
}

// Read runs fn in a read-only transaction that sees one state of the store.
func (db *DB) Read(ctx context.Context, fn func(tx *Tx) error) error {
	return db.run(ctx, db.r, &sql.TxOptions{ReadOnly: true, Isolation: db.dialect.readIsolation()}, fn)
}

// Write runs fn in a transaction and commits it unless fn fails. When the error is fault.Unavailable, nothing may be assumed about the commit.
func (db *DB) Write(ctx context.Context, fn func(tx *Tx) error) error {
	return db.run(ctx, db.w, nil, fn)
}

func (db *DB) run(ctx context.Context, pool *sql.DB, opts *sql.TxOptions, fn func(tx *Tx) error) error {
	write := opts == nil
	ctx, cancel := db.limit(ctx, write)
	defer cancel()
	sqlTx, err := pool.BeginTx(ctx, opts)
	if err != nil {
		return db.ended(ctx, err)
	}
	tx := &Tx{db: db, tx: sqlTx}
	if err := tx.carry(ctx, fn, write); err != nil {
		_ = sqlTx.Rollback() // the cause is err; a connection that cannot roll back is dropped by the pool
		return db.ended(ctx, err)
	}
	if err := sqlTx.Commit(); err != nil {
		return db.ended(ctx, err)
	}
	db.tail.acknowledge(tx.commit)
	if write {
		if err := failpoint.Hit(failpoint.Commit.After()); err != nil {
			return fault.New(fault.Unavailable, "the answer to the commit was lost: %w", err)
		}
	}
	db.hub.publish(tx.wake...)
	return nil
}

// carry does all of a transaction but its commit.
func (tx *Tx) carry(ctx context.Context, fn func(tx *Tx) error, write bool) error {
	if err := fn(tx); err != nil {
		return err
	}
	if err := tx.notify(ctx); err != nil || !write {
		return err
	}
	if err := tx.number(ctx); err != nil {
		return err
	}
	if err := failpoint.Hit(failpoint.Commit.Before()); err != nil {
		return fault.New(fault.Unavailable, "nothing was committed: %w", err)
	}
	return nil
}

// The longest transactions on a database that is reached over a network: a database that has gone silent must not be waited for.
const (
	writeLimit = 10 * time.Second
	readLimit  = 30 * time.Second
)

var errSilent = fault.New(fault.Unavailable, "the database does not answer")

func (db *DB) limit(ctx context.Context, write bool) (context.Context, context.CancelFunc) {
	switch {
	case db.dialect == sqlite:
		return ctx, func() {}
	case write:
		return context.WithTimeoutCause(ctx, writeLimit, errSilent)
	}
	return context.WithTimeoutCause(ctx, readLimit, errSilent)
}

// ended is the fault for a transaction that did not come to its end.
func (db *DB) ended(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(context.Cause(ctx), errSilent) {
		return errSilent
	}
	return db.translate(err)
}

func (tx *Tx) exec(ctx context.Context, query string, args ...any) (int64, error) {
	res, err := tx.tx.ExecContext(ctx, tx.db.dialect.bind(query), args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func (tx *Tx) queryRow(ctx context.Context, query string, args ...any) *sql.Row {
	return tx.tx.QueryRowContext(ctx, tx.db.dialect.bind(query), args...)
}

// each runs query and calls scan for each row.
func (tx *Tx) each(ctx context.Context, query string, args []any, scan func(*sql.Rows) error) error {
	rows, err := tx.tx.QueryContext(ctx, tx.db.dialect.bind(query), args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Now returns the time that rows carry: UTC, in microseconds.
func (db *DB) Now() time.Time { return db.now().UTC().Truncate(time.Microsecond) }

// Now is DB.Now.
func (tx *Tx) Now() time.Time { return tx.db.Now() }

// redactDSN cuts the password out of a DSN for error texts.
func redactDSN(dsn string) string {
	at := strings.LastIndex(dsn, "@")
	scheme := strings.Index(dsn, "://")
	if at < 0 || scheme < 0 || at < scheme {
		return dsn
	}
	return dsn[:scheme+3] + "..." + dsn[at:]
}
