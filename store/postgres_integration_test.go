//go:build integration

package store_test

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/riser-project/riser/internal/lab"
	"github.com/riser-project/riser/store"
	"github.com/riser-project/riser/store/storetest"
)

func TestPostgreSQL(t *testing.T) {
	pg := lab.StartPostgreSQL(t)
	storetest.Run(t, func(t *testing.T) *store.DB {
		return openPostgres(t, pg.Database(t), filepath.Join(t.TempDir(), "key"))
	})
}

func openPostgres(t *testing.T, dsn, key string) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), dsn, store.Options{KeyFile: key})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func TestAWriteWakesOtherProcesses(t *testing.T) {
	dsn, key := lab.StartPostgreSQL(t).Database(t), filepath.Join(t.TempDir(), "key")
	one, other := openPostgres(t, dsn, key), openPostgres(t, dsn, key)
	woken, cancel := other.Subscribe("topic")
	defer cancel()
	<-woken // everybody is woken once the listener is connected
	if err := one.Write(t.Context(), func(tx *store.Tx) error { tx.Wake("topic"); return nil }); err != nil {
		t.Fatal(err)
	}
	select {
	case <-woken:
	case <-time.After(5 * time.Second):
		t.Error("the other process was not woken within 5 s")
	}
}

func TestATakeoverWaitsForAFencedWriteUnderWay(t *testing.T) {
	dsn, key := lab.StartPostgreSQL(t).Database(t), filepath.Join(t.TempDir(), "key")
	db := openPostgres(t, dsn, key)
	shards, err := db.PrepareLeases(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.TakeLeases(t.Context(), "a", shards, 200*time.Millisecond, 0); err != nil {
		t.Fatal(err)
	}
	inside, taken := make(chan struct{}), make(chan time.Time, 1)
	go func() {
		<-inside
		time.Sleep(300 * time.Millisecond) // until the lease has expired
		others := 0
		for {
			got, err := db.TakeLeases(context.Background(), "b", shards, time.Hour, 0)
			if err != nil {
				t.Error(err)
			}
			if slices.ContainsFunc(got, func(l store.Lease) bool { return l.Shard == shards[0] }) {
				break
			}
			others += len(got)
		}
		taken <- time.Now()
		if others != len(shards)-1 {
			t.Errorf("while the write was under way b took %d of the %d other leases", others, len(shards)-1)
		}
	}()
	var left time.Time
	err = db.WriteFenced(t.Context(), store.Fence{Shard: shards[0], Owner: "a", Epoch: 1}, func(*store.Tx) error {
		close(inside)
		time.Sleep(600 * time.Millisecond)
		left = time.Now()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if at := <-taken; at.Before(left) {
		t.Errorf("b took the lease %v before the write under it had ended", left.Sub(at))
	}
}
