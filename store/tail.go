package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strconv"
	"sync"
)

// tail is the number of the last commit that was acknowledged, in a file of its own beside an SQLite database. SQLite takes a write-ahead log
// that was cut or damaged for a shorter one and says nothing; the number says how many commits are missing.
//
// The file is written after each commit and not synced: after a loss of power it may be behind the database, never before it.
type tail struct {
	mu   sync.Mutex
	file *os.File
	last uint64
}

// openTail opens the file and compares it with the database.
func (db *DB) openTail(ctx context.Context, path string) (*tail, error) {
	var have uint64
	err := db.Read(ctx, func(tx *Tx) error {
		text, err := tx.meta(ctx, "commits")
		if err != nil || text == "" {
			return err
		}
		have, err = strconv.ParseUint(text, 10, 64)
		return err
	})
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // the path is the operator's own choice
	if err != nil {
		return nil, fmt.Errorf("commits file: %w", err)
	}
	acknowledged, err := readTail(f)
	if err == nil && acknowledged > have {
		err = fmt.Errorf("the database ends with commit %d and commit %d was acknowledged: %d changes are lost, by damage to its files or because an "+
			"older copy was put in its place; bring back the files that belong together, or delete %s to go on without them", have, acknowledged, acknowledged-have, path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &tail{file: f, last: have}, nil
}

// readTail returns 0 for a file that is empty, or whose last write was torn.
func readTail(f *os.File) (uint64, error) {
	var b [12]byte
	n, err := f.ReadAt(b[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("commits file: %w", err)
	}
	if n < len(b) || crc32.ChecksumIEEE(b[:8]) != binary.BigEndian.Uint32(b[8:]) {
		return 0, nil
	}
	return binary.BigEndian.Uint64(b[:8]), nil
}

// number gives the transaction the next commit number.
func (tx *Tx) number(ctx context.Context) error {
	if tx.db.tail == nil {
		return nil
	}
	return tx.queryRow(ctx, "INSERT INTO meta (key, value) VALUES ('commits', '1') ON CONFLICT (key) DO UPDATE SET value = CAST(value AS INTEGER) + 1 RETURNING CAST(value AS INTEGER)").
		Scan(&tx.commit)
}

// acknowledge notes that the commit is about to be acknowledged. A file that cannot be written stays behind, which is no false alarm.
func (t *tail) acknowledge(commit uint64) {
	if t == nil || commit == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if commit <= t.last {
		return
	}
	t.last = commit
	var b [12]byte
	binary.BigEndian.PutUint64(b[:8], commit)
	binary.BigEndian.PutUint32(b[8:], crc32.ChecksumIEEE(b[:8]))
	_, _ = t.file.WriteAt(b[:], 0)
}

func (t *tail) close() error {
	if t == nil {
		return nil
	}
	return t.file.Close()
}
