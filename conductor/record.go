package conductor

import (
	"context"
	"sync"

	"github.com/riser-project/riser/failpoint"
	"github.com/riser-project/riser/store"
)

// recorder writes the steps of one operation under its fence. Writes that come while one is on its way share the next transaction, so that a
// step on a thousand children does not cost three thousand commits.
type recorder struct {
	c     *Conductor
	fence store.Fence
	ctx   context.Context // of the operation: others wait for a write that a step leads

	mu      sync.Mutex
	pending []record
	writing bool
}

type record struct {
	row  func() store.OpStep
	also func(ctx context.Context, tx *store.Tx) error
	done chan error
}

// save writes what row returns in the transaction, with what also writes, and returns when that is on disk. All writes of the operation's steps
// go through here while they run, so that an older state of a row never replaces a newer one. The error is fault.Lost when the lease, or the
// operation, is gone.
func (r *recorder) save(p failpoint.Pair, row func() store.OpStep, also func(ctx context.Context, tx *store.Tx) error) error {
	if err := failpoint.Hit(p.Before()); err != nil {
		return err
	}
	rec := record{row, also, make(chan error, 1)}
	r.mu.Lock()
	r.pending = append(r.pending, rec)
	lead := !r.writing
	r.writing = true
	r.mu.Unlock()
	if lead {
		r.drain()
	}
	if err := <-rec.done; err != nil {
		return err
	}
	return failpoint.Hit(p.After())
}

// drain writes until nothing is pending.
func (r *recorder) drain() {
	for {
		r.mu.Lock()
		batch := r.pending
		r.pending = nil
		if len(batch) == 0 {
			r.writing = false
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		err := r.c.persist(r.ctx, r.fence, failpoint.Record, func(tx *store.Tx) error { return r.write(tx, batch) })
		for _, rec := range batch {
			rec.done <- err
		}
	}
}

func (r *recorder) write(tx *store.Tx, batch []record) error {
	for _, rec := range batch {
		if rec.also != nil {
			if err := rec.also(r.ctx, tx); err != nil {
				return err
			}
		}
		row := rec.row()
		if err := tx.SaveStep(r.ctx, &row); err != nil {
			return err
		}
	}
	return nil
}
