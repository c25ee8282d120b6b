package conductor

import (
	"context"
	"sync"

	"github.com/riser-project/riser/store"
)

// recorder writes the steps of one operation under its fence. Writes that come while one is on its way share the next transaction, so that a
// step on a thousand children does not cost three thousand commits.
type recorder struct {
	db    *store.DB
	fence store.Fence

	mu      sync.Mutex
	pending []record
	writing bool
}

type record struct {
	step store.OpStep
	done chan error
}

// save returns when step is on disk. The error is fault.Lost when the lease is gone.
func (r *recorder) save(ctx context.Context, step *store.OpStep) error {
	rec := record{*step, make(chan error, 1)}
	r.mu.Lock()
	r.pending = append(r.pending, rec)
	lead := !r.writing
	r.writing = true
	r.mu.Unlock()
	if lead {
		r.drain(ctx)
	}
	return <-rec.done
}

// drain writes until nothing is pending. It does not end with the context of the step that happens to lead: others wait for it.
func (r *recorder) drain(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
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
		err := r.db.WriteFenced(ctx, r.fence, func(tx *store.Tx) error {
			for i := range batch {
				if err := tx.SaveStep(ctx, &batch[i].step); err != nil {
					return err
				}
			}
			return nil
		})
		for _, rec := range batch {
			rec.done <- err
		}
	}
}
