package conductor

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/step"
	"github.com/riser-project/riser/store"
)

// prepare does what a flow needs before its first step. failed says why the flow cannot begin.
func (r *run) prepare(ctx context.Context) (failed string, err error) {
	switch r.op.Kind {
	case kindVerify, kindAdopt, kindInspect:
		return r.verify(ctx)
	}
	return "", nil
}

// complete does what a flow needs after its last step.
func (r *run) complete(ctx context.Context) (failed string, err error) {
	if r.op.Kind == kindDelete {
		return r.tearDown(ctx)
	}
	return "", nil
}

// verify reads the machine's power and identity: the proof that the controller answers, takes the credentials, and is the machine's that the
// node says.
func (r *run) verify(ctx context.Context) (failed string, err error) {
	n, err := r.node(ctx)
	if err != nil {
		return "", err
	}
	power, id, err := r.c.look(ctx, n)
	switch {
	case dropped(ctx, err):
		return "", err
	case err != nil:
		return fmt.Sprintf("Node %s: failed to verify its management controller: %s.", n.Label(), err), nil
	case n.Card.Serial != "" && id.Serial != "" && id.Serial != n.Card.Serial:
		return fmt.Sprintf("Node %s: its card has serial %q, but the controller at %s says %q: correct the address in driver_info, or the card's serial.",
			n.Label(), n.Card.Serial, r.c.address(n), id.Serial), nil
	}
	err = r.write(ctx, func(tx *store.Tx) error {
		n, err := tx.NodeForUpdate(ctx, r.op.Node)
		if err != nil {
			return err
		}
		if power != "" {
			n.Power = power
		}
		n.DriverInternalInfo = withIdentity(n.DriverInternalInfo, id)
		if r.op.Kind == kindInspect {
			n.InspectionFinishedAt = tx.Now()
		}
		tx.Wake(TopicIdentity)
		return tx.SaveNode(ctx, n)
	})
	return "", err
}

// TopicIdentity is woken when a machine's identity was read.
const TopicIdentity = "identity"

// withIdentity keeps what a machine says of itself; what it does not say any more is gone.
func withIdentity(o node.Object, id driver.Identity) node.Object {
	c := node.Object{}
	for k, v := range o {
		c[k] = v
	}
	for k, v := range map[string]string{
		"system_uuid": id.SystemUUID, "manufacturer": id.Manufacturer, "model": id.Model, "serial_number": id.Serial, "part_number": id.PartNumber,
		"base_mac": id.BaseMAC,
	} {
		if delete(c, k); v != "" {
			c[k] = v
		}
	}
	if delete(c, "card_serials"); len(id.CardSerials) > 0 {
		list := make([]any, len(id.CardSerials))
		for i, s := range id.CardSerials {
			list[i] = s
		}
		c["card_serials"] = list
	}
	if len(c) == 0 {
		return nil
	}
	return c
}

// node reads the operation's node with its secrets.
func (r *run) node(ctx context.Context) (*node.Node, error) {
	var n *node.Node
	err := r.c.db.Read(ctx, func(tx *store.Tx) (err error) {
		if n, err = tx.Node(ctx, r.op.Node); err != nil {
			return err
		}
		return tx.Unseal(ctx, n)
	})
	return n, err
}

// look reads the power state of a machine, and its identity if it can tell one.
func (c *Conductor) look(ctx context.Context, n *node.Node) (node.PowerState, driver.Identity, error) {
	conn, free, err := c.connect(ctx, n)
	if err != nil {
		return "", driver.Identity{}, err
	}
	defer free()
	defer conn.Close()
	var power node.PowerState
	if p, ok := driver.As[driver.Power](conn); ok {
		if power, err = p.PowerState(ctx); err != nil {
			return "", driver.Identity{}, err
		}
	}
	var id driver.Identity
	if i, ok := driver.As[driver.Identifier](conn); ok {
		if id, err = i.Identity(ctx); err != nil {
			return "", id, err
		}
	}
	return power, id, nil
}

func (c *Conductor) address(n *node.Node) string {
	if d, ok := c.drivers[n.Driver]; ok {
		return d.Address(n.DriverInfo)
	}
	return "driver " + n.Driver
}

// tearDown takes the instance off a machine: power off.
func (r *run) tearDown(ctx context.Context) (failed string, err error) {
	n, err := r.node(ctx)
	if err != nil {
		return "", err
	}
	if n.DisablePowerOff {
		return "", nil
	}
	row := &store.OpStep{Op: r.op.ID, Seq: 1 << 20, Node: n.UUID, Interface: node.Power, Step: "power_off", State: store.StepPlanned}
	for _, s := range r.steps {
		if s.Seq == row.Seq {
			row = s
		}
	}
	if row.ID == 0 {
		if err := r.write(ctx, func(tx *store.Tx) error { return tx.InsertStep(ctx, row) }); err != nil {
			return "", err
		}
		r.steps = append(r.steps, row)
	}
	if row.State.Finished() {
		return "", nil
	}
	t := r.task(row, n)
	defer t.close()
	if _, err := t.attempt(ctx, powerStep(node.PowerOff)); err != nil {
		if dropped(ctx, err) {
			return "", err
		}
		t.failed(err)
		failed = fmt.Sprintf("Node %s: failed to tear down: %s.", n.Label(), err)
	} else {
		row.State = store.StepDone
	}
	row.Ended = r.c.db.Now()
	return failed, r.rec.save(ctx, row)
}

// powerStep is a power target as a step.
func powerStep(target node.PowerState) *step.Definition {
	return &step.Definition{
		Interface: node.Power, Name: string(target),
		Run: func(ctx context.Context, t *step.Task) (step.Result, error) {
			return step.Done, t.Power(ctx, target)
		},
		Verify: func(ctx context.Context, t *step.Task, sent time.Time) (bool, error) {
			return driver.RestartSeen(ctx, t.Conn, sent)
		},
	}
}

// call asks the machine, or tells it, what an API request wants, and leaves the answer in the operation.
func (r *run) call(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	row := r.steps[0]
	nodes, err := r.load(ctx, r.steps)
	if err != nil {
		return err
	}
	t := r.task(row, nodes[0])
	defer t.close()
	var answer any
	switch {
	case t.node == nil:
		err = fault.New(fault.NotFound, "the node is gone")
	case t.relativeSent() != nil:
		err = &unknownError{*t.relativeSent()}
	default:
		row.Attempt++
		row.Started, row.State = r.c.db.Now(), store.StepIntent
		answer, err = t.ask(ctx, calls[r.spec.Call])
	}
	if dropped(ctx, err) {
		return err
	}
	return r.answer(ctx, t, answer, err)
}

func (t *task) ask(ctx context.Context, c call) (any, error) {
	conn, err := t.open(ctx)
	if err != nil {
		return nil, err
	}
	return c.run(driver.WithGuard(ctx, t.guard), conn, t.row.Args)
}

func (r *run) answer(ctx context.Context, t *task, answer any, failed error) error {
	r.op.State, r.op.Ended = store.OpDone, r.c.db.Now()
	t.row.State, t.row.Ended = store.StepDone, r.op.Ended
	if failed != nil {
		t.failed(failed)
		r.op.State, r.op.Error = store.OpFailed, failed.Error()
		answer = callFault{fault.KindOf(failed)}
	}
	raw, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	r.op.Result = raw
	return r.write(ctx, func(tx *store.Tx) error {
		if err := tx.SaveStep(ctx, t.row); err != nil {
			return err
		}
		if err := tx.SaveOp(ctx, r.op); err != nil {
			return err
		}
		return tx.PruneOps(ctx, r.op.Node, r.c.cfg.KeepOps)
	})
}
