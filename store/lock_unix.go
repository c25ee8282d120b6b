//go:build unix

package store

import (
	"errors"
	"os"
	"syscall"

	"github.com/riser-project/riser/fault"
)

// lockFile takes the exclusive lock on path that lasts until the process ends, however it ends.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // the path is the operator's own choice
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close() // nothing was written
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fault.New(fault.Conflict, "another riser works on the database of %s: an SQLite database serves one process; use PostgreSQL for several", path)
		}
		return nil, err
	}
	return f, nil
}
