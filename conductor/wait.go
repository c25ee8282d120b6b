package conductor

import (
	"context"
	"time"

	"github.com/riser-project/riser/failpoint"
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
	t := newTask(r, row, nodes[0])
	defer t.close()
	def, err := t.define()
	if err == nil {
		var res step.Result
		if res, err = t.attempt(ctx, def); err == nil && res != step.Done {
			t.close()
			return r.pause(ctx, t, def, res)
		}
	}
	if dropped(ctx, err) {
		return err
	}
	t.finish(err)
	return t.save(failpoint.StepEnd)
}

// pause shows the node as waiting or held until the step is done, its time is over, or an operator says what to do.
func (r *run) pause(ctx context.Context, t *task, def *step.Definition, res step.Result) error {
	if r.op.State == store.OpRunning {
		if err := r.enterPause(ctx, t, def, res); err != nil {
			return err
		}
	}
	r.rest()
	err := r.waitOut(ctx, t, def)
	t.close()
	if dropped(ctx, err) {
		return err
	}
	if err := r.work(ctx); err != nil {
		return err
	}
	return r.retake(ctx, t, err)
}

// rest gives the operation's worker back while it waits.
func (r *run) rest() {
	r.idle = true
	r.c.free()
}

// work takes a worker again.
func (r *run) work(ctx context.Context) error {
	select {
	case r.c.workers <- struct{}{}:
		r.idle = false
		return nil
	case <-r.out:
		return errYielded
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// enterPause records the wait with the node's state in one transaction. The node and the children are free for others meanwhile.
func (r *run) enterPause(ctx context.Context, t *task, def *step.Definition, res step.Result) error {
	ev, state, deadline := node.EvWait, store.OpWaiting, r.c.db.Now().Add(r.waitLimit(def))
	if res == step.Hold {
		ev, state, deadline = node.EvHold, store.OpHeld, noTime
	}
	t.change(func(row store.OpStep) store.OpStep { return waiting(row, deadline) })
	return r.write(ctx, failpoint.Pause, func(tx *store.Tx) error {
		n, err := tx.NodeForUpdate(ctx, r.op.Node)
		if err != nil {
			return err
		}
		n.Move(ev, "")
		n.Reservation, n.ProvisionUpdatedAt = "", tx.Now()
		if err := tx.SaveNode(ctx, n); err != nil {
			return err
		}
		if err := tx.ReleaseChildren(ctx, r.op); err != nil {
			return err
		}
		r.op.State, r.op.Wait = state, deadline
		if err := tx.SaveOp(ctx, r.op); err != nil {
			return err
		}
		return tx.SaveStep(ctx, t.row)
	})
}

// waitOut returns when the wait is over: nil when the step is done.
func (r *run) waitOut(ctx context.Context, t *task, def *step.Definition) error {
	poll := time.NewTicker(r.c.cfg.PollInterval)
	defer poll.Stop()
	over := r.timer(t.row.Deadline, r.waitLimit(def))
	defer over.Stop()
	for {
		var look bool
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-r.out:
			return errYielded
		case <-over.C:
			return fault.New(fault.Timeout, "Timeout reached while waiting for callback: nothing was heard within %v", r.waitLimit(def))
		case word := <-r.words:
			done, err := r.obey(ctx, word, t.row, def)
			if done || err != nil {
				return err
			}
			look = word == "resume"
		case <-poll.C:
			look = r.op.State == store.OpWaiting
		}
		if !look || def.Poll == nil {
			continue
		}
		res, err := t.call(ctx, failpoint.Poll, def.Poll)
		t.close()
		if err != nil || res == step.Done {
			return err
		}
	}
}

// obey does what an operator, or the node's agent, says to a step that waits. done means that the wait has ended.
func (r *run) obey(ctx context.Context, word string, row *store.OpStep, def *step.Definition) (done bool, err error) {
	if word == store.WordAbort && (r.op.State == store.OpHeld || def.Abortable) {
		r.aborted = true
		return true, fault.New(fault.Conflict, "the operation was aborted by an operator during step %s", row.Name())
	}
	err = r.write(ctx, failpoint.Word, func(tx *store.Tx) error { return tx.HeardOp(ctx, r.op, word) })
	if err != nil {
		return false, err
	}
	switch word {
	case "unhold":
		return r.op.State == store.OpHeld, nil
	case "resume":
		return r.op.State == store.OpWaiting && def.Poll == nil, nil
	case "fail":
		return true, r.agentFailed(ctx)
	case store.WordAbort:
		r.aborted = true
		return false, r.showStep(ctx, row)
	}
	return false, nil
}

// agentFailed is the error that the node's agent reported.
func (r *run) agentFailed(ctx context.Context) error {
	n, err := r.node(ctx)
	if err != nil {
		return err
	}
	text, _ := n.DriverInternalInfo["agent_status_message"].(string)
	if text == "" {
		text = "it gave no reason"
	}
	return fault.New(fault.Conflict, "the node's agent reports an error: %s", text)
}

// retake takes the node and the children again and records how the step ended, in one transaction: failed is nil when it is done. Somebody else
// may hold one of them for a moment; the operation waits for that.
func (r *run) retake(ctx context.Context, t *task, failed error) error {
	t.finish(failed)
	for {
		taken := false
		err := r.write(ctx, failpoint.Retake, func(tx *store.Tx) (err error) {
			taken, err = r.retakeNow(ctx, tx, t.row)
			return err
		})
		if err != nil || taken {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (r *run) retakeNow(ctx context.Context, tx *store.Tx, row *store.OpStep) (taken bool, err error) {
	n, err := tx.NodeForUpdate(ctx, r.op.Node)
	if fault.Is(err, fault.NotFound) {
		return false, fault.New(fault.Lost, "node %s is gone, and operation %s with it", r.op.Node, r.op.UUID)
	}
	if err != nil || n.Reservation != "" {
		return false, err
	}
	host := r.c.holder.Hostname()
	if held, err := tx.ReserveChildren(ctx, r.op, host); err != nil || held != "" {
		return false, err
	}
	op, err := tx.Op(ctx, r.op.UUID)
	if err != nil {
		return false, err
	}
	r.aborted = r.aborted || op.Aborting
	n.Move(node.EvResume, "")
	n.Reservation, n.ProvisionUpdatedAt = host, tx.Now()
	if err := tx.SaveNode(ctx, n); err != nil {
		return false, err
	}
	op.State, op.Wait = store.OpRunning, noTime
	if err := tx.SaveOp(ctx, op); err != nil {
		return false, err
	}
	r.op = op
	return true, tx.SaveStep(ctx, row)
}
