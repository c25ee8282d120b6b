package conductor

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

// power changes the power of the task's node with the rules of a server and the cards in its slots: a slot-powered card needs its server on, and
// is shut down before its server loses power. What was sent to relatives is on the record of this step too.
func (t *task) power(ctx context.Context, target node.PowerState, pace driver.Pace) error {
	switch {
	case t.node.SlotPowered() && settled(target) == node.PowerOn:
		if err := t.parentOn(ctx, pace); err != nil {
			return err
		}
	case !t.node.IsChild() && settled(target) == node.PowerOff:
		if err := t.childrenOff(ctx, target, pace); err != nil {
			return err
		}
	case !t.node.IsChild() && target != node.PowerOn:
		cuts, err := t.restartCutsPower(ctx, target)
		if err != nil {
			return err
		}
		if cuts {
			if err := t.childrenOff(ctx, node.SoftPowerOff, pace); err != nil {
				return err
			}
		}
	}
	conn, err := t.open(ctx)
	if err != nil {
		return err
	}
	if err := t.change(ctx, conn, t.node, target, pace); err != nil {
		return err
	}
	return t.run.powered(ctx, t.node, settled(target))
}

// change is one machine's power change, with its evidence on the record.
func (t *task) change(ctx context.Context, conn driver.Conn, n *node.Node, target node.PowerState, pace driver.Pace) error {
	p, ok := driver.As[driver.Power](conn)
	if !ok {
		return driver.Unsupported("power control")
	}
	if own, ok := driver.As[driver.Paced](conn); ok {
		pace = own.Pace()
	}
	boot, _ := driver.As[driver.Boot](conn)
	seen, err := driver.ChangePower(ctx, p, boot, target, pace)
	for _, line := range seen {
		if n != t.node {
			line = n.Label() + ": " + line
		}
		t.evidence(line)
	}
	return err
}

// restartCutsPower reports whether a restart of the server would take the power from its slots: its controller has no restart that does not.
func (t *task) restartCutsPower(ctx context.Context, target node.PowerState) (bool, error) {
	conn, err := t.open(ctx)
	if err != nil {
		return false, err
	}
	p, ok := driver.As[driver.Power](conn)
	if !ok {
		return false, driver.Unsupported("power control")
	}
	cmds, err := p.PowerCommands(ctx)
	if err != nil {
		return false, err
	}
	if target == node.SoftRebooting && slices.Contains(cmds, driver.GracefulRestart) {
		return false, nil
	}
	return !slices.Contains(cmds, driver.ForceRestart), nil
}

// parentOn sees to it that the server of a slot-powered card is on. Cards of the same server wait for each other here, and then start side by
// side.
func (t *task) parentOn(ctx context.Context, pace driver.Pace) error {
	unlock, err := t.run.c.families.lock(ctx, t.run.op.Root)
	if err != nil {
		return err
	}
	defer unlock()
	var parent *node.Node
	err = t.run.c.db.Read(ctx, func(tx *store.Tx) error {
		if parent, err = tx.Node(ctx, t.node.Parent); err != nil {
			return err
		}
		return tx.Unseal(ctx, parent)
	})
	if err != nil {
		return err
	}
	conn, free, err := t.run.c.connect(ctx, parent)
	if err != nil {
		return fmt.Errorf("parent node %s: %w", parent.Label(), err)
	}
	defer free()
	defer conn.Close()
	p, ok := driver.As[driver.Power](conn)
	if !ok {
		return fmt.Errorf("parent node %s: %w", parent.Label(), driver.Unsupported("power control"))
	}
	state, err := p.PowerState(ctx)
	if err != nil {
		return fmt.Errorf("parent node %s: %w", parent.Label(), err)
	}
	if state == node.PowerOn {
		return nil
	}
	if !t.run.holds(parent) {
		return fault.New(fault.Locked, "Node %s parent_node %s is presently locked and we are unable to perform any action on it at this time. Please retry after the current operation is completed.", t.node.UUID, parent.UUID)
	}
	t.evidence(fmt.Sprintf("%s is off and feeds this card's slot: it is powered on first", parent.Label()))
	if err := t.change(ctx, conn, parent, node.PowerOn, pace); err != nil {
		return fmt.Errorf("parent node %s: %w", parent.Label(), err)
	}
	return t.run.powered(ctx, parent, node.PowerOn)
}

// holds reports whether this operation may act on a relative: it is the operation's own, or nobody's.
func (r *run) holds(n *node.Node) bool {
	return n.Reservation == "" || n.UUID == r.op.Node || r.touches(n.UUID)
}

// childrenOff shuts the slot-powered cards of the task's node down, before the node loses power.
func (t *task) childrenOff(ctx context.Context, target node.PowerState, pace driver.Pace) error {
	unlock, err := t.run.c.families.lock(ctx, t.run.op.Root)
	if err != nil {
		return err
	}
	defer unlock()
	var children []*node.Node
	err = t.run.c.db.Read(ctx, func(tx *store.Tx) error {
		if children, err = tx.Children(ctx, t.node.UUID); err != nil {
			return err
		}
		for _, c := range children {
			if err := tx.Unseal(ctx, c); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, c := range children {
		if !c.SlotPowered() {
			continue
		}
		if !t.run.holds(c) {
			return fault.New(fault.Locked, "Node %s child_node %s is presently locked and we are unable to perform any action on it at this time. Please retry after the current operation is completed.", t.node.UUID, c.UUID)
		}
		if err := t.childOff(ctx, c, target, pace); err != nil {
			return fmt.Errorf("child node %s: %w", c.Label(), err)
		}
	}
	return nil
}

func (t *task) childOff(ctx context.Context, c *node.Node, target node.PowerState, pace driver.Pace) error {
	conn, free, err := t.run.c.connect(ctx, c)
	if err != nil {
		return err
	}
	defer free()
	defer conn.Close()
	if err := t.change(ctx, conn, c, target, pace); err != nil {
		return err
	}
	return t.run.powered(ctx, c, node.PowerOff)
}

// powered records the power state of n as it was seen. Slot-powered cards of a server follow it.
func (r *run) powered(ctx context.Context, n *node.Node, state node.PowerState) error {
	return r.write(ctx, func(tx *store.Tx) error {
		refs := []string{n.UUID}
		if !n.IsChild() {
			children, err := tx.Children(ctx, n.UUID)
			if err != nil {
				return err
			}
			for _, c := range children {
				if c.SlotPowered() {
					refs = append(refs, c.UUID)
				}
			}
		}
		for _, ref := range refs {
			if err := setPower(ctx, tx, ref, state); err != nil {
				return err
			}
		}
		return nil
	})
}

func setPower(ctx context.Context, tx *store.Tx, ref string, state node.PowerState) error {
	n, err := tx.NodeForUpdate(ctx, ref)
	if err != nil || n.Power == state {
		return err
	}
	n.Power = state
	return tx.SaveNode(ctx, n)
}

// powerOp carries out a request for power outside of any flow.
func (r *run) powerOp(ctx context.Context) error {
	row := r.steps[0]
	nodes, err := r.load(ctx, r.steps)
	if err != nil {
		return err
	}
	t := r.task(row, nodes[0])
	defer t.close()
	err = r.powerAttempt(ctx, t)
	if dropped(ctx, err) {
		return err
	}
	state, text := store.OpDone, ""
	row.State, row.Error, row.Ended = store.StepDone, "", r.c.db.Now()
	if err != nil {
		t.failed(err)
		state, text = store.OpFailed, fmt.Sprintf("Failed to change power state to '%s' by '%s': %s", settled(r.spec.Target), r.spec.Target, err)
	}
	if err := r.rec.save(ctx, row); err != nil {
		return err
	}
	return r.end(ctx, state, text, func(n *node.Node) {
		n.TargetPower, n.LastError = "", text
		if text != "" {
			n.Power = node.PowerError
			if t.node != nil {
				n.Power = t.node.Power
			}
		}
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
