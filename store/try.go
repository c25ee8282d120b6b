package store

import (
	"context"
	"errors"
	"fmt"
)

// ErrAborted is the error of Try when the database has given up the whole transaction. Nothing of it is kept, and nothing more may be done in it.
var ErrAborted = errors.New("the database has given up the transaction")

// Try runs fn within the transaction and takes back what it changed when it fails; what was done before stays. It returns fn's error, or
// ErrAborted when the transaction cannot go on: some errors of a database (a full disk, a statement that was cancelled) end all of it.
func (tx *Tx) Try(ctx context.Context, fn func() error) error {
	ctx = context.WithoutCancel(ctx)
	if _, err := tx.exec(ctx, "SAVEPOINT attempt"); err != nil {
		return fmt.Errorf("%w: %w", ErrAborted, err)
	}
	woken := len(tx.wake)
	failed := fn()
	if failed != nil {
		tx.wake = tx.wake[:woken]
		if _, err := tx.exec(ctx, "ROLLBACK TO SAVEPOINT attempt"); err != nil {
			return fmt.Errorf("%w: %w", ErrAborted, failed)
		}
	}
	if _, err := tx.exec(ctx, "RELEASE SAVEPOINT attempt"); err != nil {
		return fmt.Errorf("%w: %w", ErrAborted, errors.Join(failed, err))
	}
	return tx.db.translate(failed)
}
