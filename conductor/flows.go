package conductor

import (
	"context"
	"fmt"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/failpoint"
	"github.com/riser-project/riser/node"
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
	switch r.op.Kind {
	case kindDelete:
		return r.tearDown(ctx)
	case kindInspect:
		return "", r.inspected(ctx)
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
	return "", r.write(ctx, failpoint.Identity, func(tx *store.Tx) error {
		n, err := tx.NodeForUpdate(ctx, r.op.Node)
		if err != nil {
			return err
		}
		if power != "" {
			n.Power = power
		}
		n.DriverInternalInfo = withIdentity(n.DriverInternalInfo, id)
		tx.Wake(TopicIdentity)
		return tx.SaveNode(ctx, n)
	})
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
func (c *Conductor) look(ctx context.Context, n *node.Node) (power node.PowerState, id driver.Identity, err error) {
	conn, free, err := c.connect(ctx, n)
	if err != nil {
		return "", id, err
	}
	defer free()
	defer c.disconnect(conn, n)
	if err := failpoint.Hit(failpoint.Look.Before()); err != nil {
		return "", id, err
	}
	if p, ok := driver.As[driver.Power](conn); ok {
		if power, err = p.PowerState(ctx); err != nil {
			return "", id, err
		}
	}
	if i, ok := driver.As[driver.Identifier](conn); ok {
		if id, err = i.Identity(ctx); err != nil {
			return "", id, err
		}
	}
	return power, id, failpoint.Hit(failpoint.Look.After())
}
