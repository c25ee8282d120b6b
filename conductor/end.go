package conductor

import (
	"context"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/riser-project/riser/failpoint"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/step"
	"github.com/riser-project/riser/store"
)

var noTime time.Time

// succeed ends the operation well.
func (r *run) succeed(ctx context.Context) error {
	return r.end(ctx, store.OpDone, "", func(ctx context.Context, tx *store.Tx, n *node.Node) error {
		switch r.op.Kind {
		case kindClean:
			ev := node.EvDone
			if n.TargetProvision == node.Manageable || n.Retired {
				ev = node.EvManage
			}
			n.Move(ev, "")
		case kindDelete:
			return r.giveBack(ctx, tx, n)
		default:
			n.Move(node.EvDone, "")
		}
		return nil
	})
}

// giveBack takes the instance off the record of a node, with the allocation that reserved it.
func (r *run) giveBack(ctx context.Context, tx *store.Tx, n *node.Node) error {
	if n.AllocationUUID != "" {
		if err := tx.DeleteAllocation(ctx, n.AllocationUUID); err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
	}
	n.InstanceUUID, n.InstanceInfo, n.InstanceName, n.AllocationUUID, n.Protected, n.ProtectedReason = "", nil, "", "", false, ""
	n.Move(node.EvClean, "")
	return nil
}

// fail ends the operation badly. text names the node, the step, the cause and the way out.
func (r *run) fail(ctx context.Context, text string) error {
	state := store.OpFailed
	if r.aborted {
		state = store.OpAborted
	}
	text = clip(text)
	return r.end(ctx, state, text, func(_ context.Context, _ *store.Tx, n *node.Node) error {
		ran := len(n.CleanStep)+len(n.ServiceStep) > 0 && !r.aborted
		n.LastError = text
		switch {
		case r.op.Kind == kindClean && ran:
			n.Maintenance, n.MaintenanceReason, n.Fault = true, text, node.FaultClean
		case r.op.Kind == kindService && ran:
			n.Maintenance, n.MaintenanceReason, n.Fault = true, text, node.FaultService
		}
		if !n.Move(node.EvFail, "") {
			n.Move(node.EvAbort, "")
		}
		if r.op.Kind == kindService && r.aborted {
			n.Move(node.EvAbort, "")
		}
		return nil
	})
}

// end writes the end of the operation and of what it held, in one transaction, and starts what follows from it.
func (r *run) end(ctx context.Context, state store.OpState, text string, move func(ctx context.Context, tx *store.Tx, n *node.Node) error) error {
	return r.write(ctx, failpoint.End, func(tx *store.Tx) error {
		op := *r.op
		op.State, op.Error, op.Ended, op.Wait = state, text, tx.Now(), noTime
		if err := tx.SaveOp(ctx, &op); err != nil {
			return err
		}
		n, err := tx.NodeForUpdate(ctx, op.Node)
		if err != nil {
			return err
		}
		severity, suffix := "INFO", "_end"
		told := fmt.Sprintf("%s completed successfully", eventType(op.Kind, r.spec))
		if state != store.OpDone {
			severity, suffix, told = "ERROR", "", text
		}
		event := r.event(n, severity, eventType(op.Kind, r.spec)+suffix, told)
		event.Duration = op.Ended.Sub(op.Started)
		before := n.Provision
		if err := move(ctx, tx, n); err != nil {
			return err
		}
		n.Reservation, n.CleanStep, n.DeployStep, n.ServiceStep = "", nil, nil, nil
		if n.Provision != before {
			n.ProvisionUpdatedAt = tx.Now()
		}
		if err := tx.ReleaseChildren(ctx, &op); err != nil {
			return err
		}
		if err := tx.InsertEvent(ctx, event); err != nil {
			return err
		}
		if err := tx.PruneOps(ctx, n.UUID, r.c.cfg.KeepOps); err != nil {
			return err
		}
		if op.Kind == kindDelete && n.Provision == node.Cleaning {
			return r.follow(ctx, tx, n)
		}
		return tx.SaveNode(ctx, n)
	})
}

// follow starts the cleaning that comes after a machine was given back.
func (r *run) follow(ctx context.Context, tx *store.Tx, n *node.Node) error {
	verb, _ := node.VerbOf("provide")
	in := &Intake{DB: r.c.db, Catalog: r.c.catalog, Drivers: r.c.drivers, Config: r.c.cfg}
	a := admission{in: in, tx: tx, cfg: r.c.cfg, n: n, req: Request{Verb: verb, Actor: r.op.Actor, Project: r.spec.Project}}
	rows, _, err := a.plan(ctx, kindClean)
	if err != nil {
		return err
	}
	op := &store.Op{
		UUID: uuid.NewString(), Root: n.Root(), Node: n.UUID, Lease: n.Lease, Kind: kindClean, State: store.OpPlanned, Actor: r.op.Actor,
		Spec: spec{Verb: verb.Target, Project: r.spec.Project}.raw(),
	}
	return begin(ctx, tx, n, op, rows)
}

// extraSeq is the place of a step that nobody asked for: behind all others.
const extraSeq = 1 << 20

// giveUp does what has to be done after a flow has failed, and returns why it did, with what is to be added. A machine whose deployment failed is
// powered off, so that nothing half made runs on it; a card that draws its power from a slot is left alone.
func (r *run) giveUp(ctx context.Context, failed string) (string, error) {
	if r.op.Kind != kindDeploy || r.c.cfg.keepsPower() {
		return failed, nil
	}
	n, err := r.node(ctx)
	if err != nil {
		return "", err
	}
	if n.DisablePowerOff || n.SlotPowered() {
		return failed, nil
	}
	also, err := r.powerOff(ctx, n)
	if also != "" {
		failed += " Powering it off failed as well: " + also + "."
	}
	return failed, err
}

// powerOff is a step of the engine's own. failed says why it failed.
func (r *run) powerOff(ctx context.Context, n *node.Node) (failed string, err error) {
	row, err := r.extraStep(ctx, n)
	if err != nil || row.State.Finished() {
		return "", err
	}
	t := newTask(r, row, n)
	defer t.close()
	_, err = t.attempt(ctx, powerStep(node.PowerOff))
	if dropped(ctx, err) {
		return "", err
	}
	t.finish(err)
	return row.Error, t.save(failpoint.StepEnd)
}

// extraStep returns the row of the step, which is there already after a crash.
func (r *run) extraStep(ctx context.Context, n *node.Node) (*store.OpStep, error) {
	for _, s := range r.steps {
		if s.Seq == extraSeq {
			return s, nil
		}
	}
	row := &store.OpStep{Op: r.op.ID, Seq: extraSeq, Node: n.UUID, Interface: node.Power, Step: "power_off", State: store.StepPlanned}
	err := r.write(ctx, failpoint.AddStep, func(tx *store.Tx) error {
		have, err := tx.Steps(ctx, r.op.ID)
		if err != nil {
			return err
		}
		for _, s := range have { // a write whose answer was lost
			if s.Seq == extraSeq {
				row = s
				return nil
			}
		}
		return tx.InsertStep(ctx, row)
	})
	if err == nil {
		r.steps = append(r.steps, row)
	}
	return row, err
}

// tearDown takes the instance off a machine: power off.
func (r *run) tearDown(ctx context.Context) (failed string, err error) {
	n, err := r.node(ctx)
	if err != nil || n.DisablePowerOff {
		return "", err
	}
	failed, err = r.powerOff(ctx, n)
	if failed != "" {
		failed = fmt.Sprintf("Node %s: failed to tear down: %s.", n.Label(), failed)
	}
	return failed, err
}

// powerStep is a power target as a step.
func powerStep(target node.PowerState) *step.Definition {
	return &step.Definition{
		Interface: node.Power, Name: string(target),
		Run: func(ctx context.Context, t *step.Task) (step.Result, error) { return step.Done, t.Power(ctx, target) },
	}
}

// clip cuts a text to the longest that last_error may have.
func clip(text string) string { return cut(text, 4096) }

// cut cuts a text to so many characters.
func cut(text string, limit int) string {
	if utf8.RuneCountInString(text) <= limit {
		return text
	}
	return string([]rune(text)[:limit-1]) + "…"
}
