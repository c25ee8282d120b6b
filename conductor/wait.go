package conductor

import (
	"context"
	"time"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/step"
	"github.com/riser-project/riser/store"
)

// alone runs a step on the node itself, which may wait or hold.
func (r *run) alone(ctx context.Context, row *store.OpStep) error {
	nodes, err := r.load(ctx, []*store.OpStep{row})
	if err != nil {
		return err
	}
	t := r.task(row, nodes[0])
	defer t.close()
	def, err := t.define()
	if err == nil {
		var res step.Result
		if res, err = t.attempt(ctx, def); err == nil && res != step.Done {
			t.close()
			err = r.pause(ctx, t, def, res)
		}
	}
	if dropped(ctx, err) {
		return err
	}
	if err != nil {
		t.failed(err)
	} else {
		row.State, row.Error = store.StepDone, ""
	}
	row.Ended = r.c.db.Now()
	return r.rec.save(ctx, row)
}

// pause shows the node as waiting or held until the step is done, its time is over, or an operator says what to do.
func (r *run) pause(ctx context.Context, t *task, def *step.Definition, res step.Result) error {
	ev, state := node.EvWait, store.OpWaiting
	if res == step.Hold {
		ev, state = node.EvHold, store.OpHeld
	}
	if r.op.State == store.OpRunning {
		t.row.State = store.StepWaiting
		if res == step.Wait {
			t.row.Deadline = r.c.db.Now().Add(r.waitLimit(def))
		}
		if err := r.enterPause(ctx, t.row, ev, state); err != nil {
			return err
		}
	}
	r.idle.Store(true)
	err := r.waitOut(ctx, t, def)
	r.idle.Store(false)
	if err != nil {
		return err
	}
	return r.leavePause(ctx)
}

// enterPause records the wait with the node's state in one transaction. The node is free for others meanwhile.
func (r *run) enterPause(ctx context.Context, row *store.OpStep, ev node.Event, state store.OpState) error {
	return r.write(ctx, func(tx *store.Tx) error {
		n, err := tx.NodeForUpdate(ctx, r.op.Node)
		if err != nil {
			return err
		}
		n.Move(ev, "")
		n.Reservation, n.ProvisionUpdatedAt = "", tx.Now()
		if err := tx.SaveNode(ctx, n); err != nil {
			return err
		}
		r.op.State, r.op.Wait = state, row.Deadline
		if err := tx.SaveOp(ctx, r.op); err != nil {
			return err
		}
		return tx.SaveStep(ctx, row)
	})
}

// waitOut returns when the wait is over.
func (r *run) waitOut(ctx context.Context, t *task, def *step.Definition) error {
	poll := time.NewTicker(r.c.cfg.PollInterval)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case word := <-r.words:
			over, err := r.obey(ctx, word, t.row, def)
			if over || err != nil {
				return err
			}
		case <-poll.C:
			if r.op.State == store.OpHeld {
				continue
			}
			if !t.row.Deadline.IsZero() && r.c.db.Now().After(t.row.Deadline) {
				return fault.New(fault.Timeout, "Timeout reached while waiting for callback: nothing was heard within %v", r.waitLimit(def))
			}
			if def.Poll == nil {
				continue
			}
			res, err := def.Poll(ctx, t.task())
			t.close()
			if err != nil || res == step.Done {
				return err
			}
		}
	}
}

// obey does what an operator, or the node's agent, says to a step that waits. over means that the wait has ended.
func (r *run) obey(ctx context.Context, word string, row *store.OpStep, def *step.Definition) (over bool, err error) {
	err = r.write(ctx, func(tx *store.Tx) error { return tx.ControlOp(ctx, r.op, "") })
	if err != nil {
		return false, err
	}
	switch word {
	case "unhold":
		return r.op.State == store.OpHeld, nil
	case "resume":
		return r.op.State == store.OpWaiting, nil
	case "abort":
		if r.op.State == store.OpHeld || def.Abortable {
			r.aborted = true
			return true, fault.New(fault.Conflict, "the operation was aborted by an operator during step %s", row.Name())
		}
		r.aborted = true
	}
	return false, nil
}

// leavePause takes the node again. Somebody else may hold it for a moment; the operation waits for that.
func (r *run) leavePause(ctx context.Context) error {
	for {
		free := false
		err := r.write(ctx, func(tx *store.Tx) error {
			n, err := tx.NodeForUpdate(ctx, r.op.Node)
			if err != nil {
				return err
			}
			if free = n.Reservation == ""; !free {
				return nil
			}
			n.Move(node.EvResume, "")
			n.Reservation, n.ProvisionUpdatedAt = r.c.holder.Hostname(), tx.Now()
			if err := tx.SaveNode(ctx, n); err != nil {
				return err
			}
			r.op.State, r.op.Wait = store.OpRunning, time.Time{}
			return tx.SaveOp(ctx, r.op)
		})
		if err != nil || free {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(200 * time.Millisecond):
		}
	}
}
