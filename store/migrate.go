package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrate brings the tables to this version. Each file of migrations/ is one migration, named by its number; a statement ends with a semicolon
// at the end of a line. The files are written in the store's common SQL.
func (db *DB) migrate(ctx context.Context) error {
	names, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		return err
	}
	var list []*goose.Migration
	for _, name := range names {
		text, err := migrationFiles.ReadFile(name)
		if err != nil {
			return err
		}
		base := strings.TrimPrefix(name, "migrations/")
		version, err := strconv.ParseInt(strings.SplitN(base, "_", 2)[0], 10, 64)
		if err != nil {
			return fmt.Errorf("migration %s: its name does not start with a number: %w", base, err)
		}
		list = append(list, goose.NewGoMigration(version, &goose.GoFunc{RunTx: db.migration(base, string(text))}, nil))
	}
	kind := database.DialectSQLite3
	if db.dialect == postgres {
		kind = database.DialectPostgres
	}
	provider, err := goose.NewProvider(kind, db.w, nil, goose.WithGoMigrations(list...), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	have, err := provider.GetDBVersion(ctx)
	if err != nil {
		return err
	}
	if newest := list[len(list)-1].Version; have > newest {
		return fmt.Errorf("the database is of version %d and this riser knows %d: use the riser that wrote it, or a newer one", have, newest)
	}
	_, err = provider.Up(ctx)
	return err
}

func (db *DB) migration(name, text string) func(context.Context, *sql.Tx) error {
	return func(ctx context.Context, tx *sql.Tx) error {
		for _, statement := range strings.Split(text, ";\n") {
			if statement = strings.TrimSpace(statement); statement == "" {
				continue
			}
			if _, err := tx.ExecContext(ctx, db.dialect.bind(statement)); err != nil {
				return fmt.Errorf("migration %s: %q: %w", name, strings.SplitN(statement, "\n", 2)[0], err)
			}
		}
		return nil
	}
}
