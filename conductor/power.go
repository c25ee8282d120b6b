package conductor

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

func (in *Intake) power(ctx context.Context, ref string, target node.PowerState, timeout time.Duration, actor string) error {
	return in.DB.Write(ctx, func(tx *store.Tx) error {
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
		return begin(ctx, tx, n, op, []*store.OpStep{row}, nil)
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
		return fault.New(fault.Conflict, "Failed to set node power state to %s. Node %s has disable_power_off set.", node.PowerOff, n.UUID)
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
