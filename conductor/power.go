package conductor

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/riser-project/riser/failpoint"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

func (in *Intake) power(ctx context.Context, ref string, target node.PowerState, timeout time.Duration, actor string) error {
	return in.write(ctx, failpoint.AcceptPower, func(tx *store.Tx) error {
		n, err := tx.Node(ctx, ref)
		if err == nil {
			n, err = tx.NodeForUpdate(ctx, n.UUID)
		}
		if err != nil {
			return err
		}
		if err := checkPower(n, target); err != nil {
			return err
		}
		n.LastError, n.TargetPower = "", settled(target)
		sp := spec{Target: target, Timeout: int64(timeout / time.Second)}
		op := &store.Op{UUID: uuid.NewString(), Root: n.Root(), Node: n.UUID, Lease: n.Lease, Kind: kindPower, State: store.OpPlanned, Spec: sp.raw(), Actor: actor}
		row := &store.OpStep{Node: n.UUID, Interface: node.Power, Step: string(target), State: store.StepPlanned}
		return begin(ctx, tx, n, op, []*store.OpStep{row})
	})
}

func checkPower(n *node.Node, target node.PowerState) error {
	switch target {
	case node.PowerOn, node.PowerOff, node.Rebooting, node.SoftPowerOff, node.SoftRebooting:
	default:
		return fault.New(fault.Invalid, `Invalid power state "%s": use "power on", "power off", "rebooting", "soft power off" or "soft rebooting".`, target)
	}
	switch {
	case n.Provision == node.Cleaning || n.Provision == node.CleanWait:
		return fault.New(fault.Invalid, `The requested action "%s" can not be performed on node "%s" while it is in state "%s".`, target, n.UUID, n.Provision)
	case n.DisablePowerOff && (target == node.PowerOff || target == node.SoftPowerOff):
		return noPowerOff(n)
	case n.Reservation != "":
		return Locked(n)
	}
	return nil
}

// settled is the power state that a target leads to.
func settled(target node.PowerState) node.PowerState {
	switch target {
	case node.SoftPowerOff, node.PowerOff:
		return node.PowerOff
	}
	return node.PowerOn
}

// powerOp carries out a request for power outside of any flow.
func (r *run) powerOp(ctx context.Context) error {
	row := r.steps[0]
	nodes, err := r.load(ctx, r.steps)
	if err != nil {
		return err
	}
	t := newTask(r, row, nodes[0])
	defer t.close()
	err = r.powerAttempt(ctx, t)
	if dropped(ctx, err) {
		return err
	}
	t.finish(err)
	if err := t.save(failpoint.StepEnd); err != nil {
		return err
	}
	state, text := store.OpDone, ""
	if err != nil {
		state = store.OpFailed
		text = clip(fmt.Sprintf("Failed to change power state to '%s' by '%s': %s", settled(r.spec.Target), r.spec.Target, row.Error))
	}
	return r.end(ctx, state, text, func(_ context.Context, _ *store.Tx, n *node.Node) error {
		n.TargetPower, n.LastError = "", text
		return nil
	})
}

func (r *run) powerAttempt(ctx context.Context, t *task) error {
	if t.node == nil {
		return fault.New(fault.NotFound, "the node is gone")
	}
	if r.spec.Timeout > 0 {
		limit := time.Duration(r.spec.Timeout) * time.Second
		t.pace.Off, t.pace.SoftOff, t.pace.On, t.pace.Restart = limit, limit, limit, limit
	}
	_, err := t.attempt(ctx, powerStep(r.spec.Target))
	return err
}
