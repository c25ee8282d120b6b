package conductor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/failpoint"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

// power changes the power of the task's node with the rules of a server and the cards in its slots: a slot-powered card needs its server on, and
// is shut down before its server loses power. What was sent to relatives is on the record of this step too.
//
// Whoever needs the lock of the family takes it before any controller's: otherwise two could wait for each other.
func (t *task) power(ctx context.Context, target node.PowerState) error {
	t.calls++
	if t.node.DisablePowerOff && settled(target) == node.PowerOff {
		return noPowerOff(t.node)
	}
	switch {
	case t.node.SlotPowered() && settled(target) == node.PowerOn:
		if !t.isOn(ctx) {
			if err := t.withFamily(ctx, func() error { return t.parentOn(ctx) }); err != nil {
				return err
			}
		}
	case !t.node.IsChild() && target != node.PowerOn:
		cuts, err := t.cutsPower(ctx, target)
		if err != nil {
			return err
		}
		if cuts {
			return t.withFamily(ctx, func() error { return t.serverOff(ctx, target) })
		}
	}
	return t.own(ctx, target)
}

// noPowerOff is the fault for a node that must not lose its power.
func noPowerOff(n *node.Node) error {
	return fault.New(fault.Conflict, "Failed to set node power state to %s. Node %s has disable_power_off set.", node.PowerOff, n.UUID)
}

// withFamily runs fn while no other power change of the server and its cards that concerns their relatives is under way. Nobody waits for the
// family while he keeps a controller from others.
func (t *task) withFamily(ctx context.Context, fn func() error) error {
	return t.withoutController(ctx, func() error {
		unlock, err := t.run.c.families.lock(ctx, t.node.Root())
		if err != nil {
			return err
		}
		defer unlock()
		return fn()
	})
}

// serverOff takes the power of a server, and so of the cards in its slots: for good, or for the moment of a restart.
func (t *task) serverOff(ctx context.Context, target node.PowerState) error {
	shutdown := target
	if settled(target) == node.PowerOn {
		if t.node.DisablePowerOff {
			return fault.New(fault.Conflict, "Node %s has disable_power_off set, and its controller has no restart that leaves the power on.", t.node.UUID)
		}
		shutdown = node.SoftPowerOff
	}
	if err := t.childrenOff(ctx, shutdown); err != nil {
		return err
	}
	if t.conn != nil && t.free == nil {
		free, err := t.run.c.bmcs.lock(ctx, t.run.c.address(t.node))
		if err != nil {
			return err
		}
		defer free()
	}
	return t.own(ctx, target)
}

// own changes the power of the task's own node.
func (t *task) own(ctx context.Context, target node.PowerState) error {
	conn, err := t.open(ctx)
	if err != nil {
		return err
	}
	return t.changePower(ctx, conn, t.node, target)
}

// isOn reports whether the task's machine is known to be on already: then its slot has power. A controller that does not answer may have none.
func (t *task) isOn(ctx context.Context) bool {
	conn, err := t.open(ctx)
	if err != nil {
		return false
	}
	p, ok := driver.As[driver.Power](conn)
	if !ok {
		return false
	}
	state, err := p.PowerState(ctx)
	return err == nil && state == node.PowerOn
}

// cutsPower reports whether the target takes the power from the server's slots. A restart does when its controller has none that does not.
func (t *task) cutsPower(ctx context.Context, target node.PowerState) (bool, error) {
	if settled(target) == node.PowerOff {
		return true, nil
	}
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
func (t *task) parentOn(ctx context.Context) error {
	var parent *node.Node
	err := t.run.c.db.Read(ctx, func(tx *store.Tx) (err error) {
		if parent, err = tx.Node(ctx, t.node.Parent); err != nil {
			return err
		}
		return tx.Unseal(ctx, parent)
	})
	if err != nil {
		return err
	}
	if err := t.relativeOn(ctx, parent); err != nil {
		return fmt.Errorf("parent node %s: %w", parent.Label(), err)
	}
	return nil
}

func (t *task) relativeOn(ctx context.Context, parent *node.Node) error {
	t.hide(parent)
	conn, free, err := t.run.c.connect(ctx, parent)
	if err != nil {
		return err
	}
	defer free()
	defer t.run.c.disconnect(conn, parent)
	p, ok := driver.As[driver.Power](conn)
	if !ok {
		return driver.Unsupported("power control")
	}
	state, err := p.PowerState(ctx)
	if err != nil || state == node.PowerOn {
		return err
	}
	if !t.run.holds(parent) {
		return fault.New(fault.Locked, "Node %s parent_node %s is presently locked and we are unable to perform any action on it at this time. Please retry after the current operation is completed.", t.node.UUID, parent.UUID)
	}
	t.evidence(fmt.Sprintf("%s is off and feeds this card's slot: it is powered on first", parent.Label()))
	return t.changePower(ctx, conn, parent, node.PowerOn)
}

// holds reports whether this operation may act on a relative: it is the operation's own, or nobody's.
func (r *run) holds(n *node.Node) bool {
	return n.Reservation == "" || n.UUID == r.op.Node || r.touches(n.UUID)
}

// touches reports whether the operation has work to do on the node, and so holds it.
func (r *run) touches(nodeUUID string) bool {
	return slices.ContainsFunc(r.steps, func(s *store.OpStep) bool { return s.Node == nodeUUID && s.State != store.StepSkipped })
}

// childrenOff shuts the slot-powered cards of the task's node down, side by side, before the node loses power.
func (t *task) childrenOff(ctx context.Context, target node.PowerState) error {
	cards, err := t.cards(ctx)
	if err != nil {
		return err
	}
	for _, c := range cards {
		switch {
		case !t.run.holds(c):
			return fault.New(fault.Locked, "Node %s child_node %s is presently locked and we are unable to perform any action on it at this time. Please retry after the current operation is completed.", t.node.UUID, c.UUID)
		case c.DisablePowerOff:
			return fmt.Errorf("child node %s: %w", c.Label(), noPowerOff(c))
		}
		t.hide(c)
	}
	room := make(chan struct{}, t.run.c.cfg.ChildWidth)
	errs := make([]error, len(cards))
	var wg sync.WaitGroup
	for i, c := range cards {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			if err := t.childOff(ctx, c, target); err != nil {
				errs[i] = fmt.Errorf("child node %s: %w", c.Label(), err)
			}
		})
	}
	wg.Wait()
	return joined(errs)
}

// joined is the first of errs, with the texts of the others.
func joined(errs []error) error {
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(errs) < 2 {
		return errors.Join(errs...)
	}
	return fmt.Errorf("%w; %w", errs[0], joined(errs[1:]))
}

// cards returns the children of the task's node that draw their power from its slots, with their secrets.
func (t *task) cards(ctx context.Context) ([]*node.Node, error) {
	var cards []*node.Node
	err := t.run.c.db.Read(ctx, func(tx *store.Tx) error {
		children, err := tx.Children(ctx, t.node.UUID)
		if err != nil {
			return err
		}
		for _, c := range children {
			if !c.SlotPowered() {
				continue
			}
			if err := tx.Unseal(ctx, c); err != nil {
				return err
			}
			cards = append(cards, c)
		}
		return nil
	})
	return cards, err
}

func (t *task) childOff(ctx context.Context, c *node.Node, target node.PowerState) error {
	conn, free, err := t.run.c.connect(ctx, c)
	if err != nil {
		return err
	}
	defer free()
	defer t.run.c.disconnect(conn, c)
	return t.changePower(ctx, conn, c, target)
}

// powered records, with the step, that the power of n was seen to be state. Slot-powered cards of a server lose their power with it, and have it
// again when the server was off before: fed says that.
func (t *task) powered(n *node.Node, state node.PowerState, fed bool) error {
	return t.run.rec.save(failpoint.StepKeep, t.snapshot, func(ctx context.Context, tx *store.Tx) error {
		if err := setPower(ctx, tx, n.UUID, state); err != nil {
			return err
		}
		if n.IsChild() || state == node.PowerOn && !fed {
			return nil
		}
		return setCards(ctx, tx, n.UUID, state, func(*node.Node) bool { return true })
	})
}

// setCards records the power of the cards that draw it from the slots of the server.
func setCards(ctx context.Context, tx *store.Tx, server string, state node.PowerState, which func(*node.Node) bool) error {
	children, err := tx.Children(ctx, server)
	if err != nil {
		return err
	}
	for _, c := range children {
		if c.SlotPowered() && which(c) {
			if err := setPower(ctx, tx, c.UUID, state); err != nil {
				return err
			}
		}
	}
	return nil
}

func setPower(ctx context.Context, tx *store.Tx, ref string, state node.PowerState) error {
	n, err := tx.NodeForUpdate(ctx, ref)
	if fault.Is(err, fault.NotFound) {
		return nil // it was deleted meanwhile
	}
	if err != nil || n.Power == state {
		return err
	}
	n.Power = state
	return tx.SaveNode(ctx, n)
}
