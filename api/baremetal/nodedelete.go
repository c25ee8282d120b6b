package baremetal

import (
	"context"
	"fmt"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/conductor"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

// deleteNode answers DELETE /v1/nodes/{node}. A parent and what becomes of its children are one transaction: all or nothing.
func (s *service) deleteNode(r *rest.Request) (*rest.Response, error) {
	err := s.write(r, func(ctx context.Context, tx *store.Tx) error {
		n, err := nodeOf(ctx, r, tx.NodeForUpdate)
		if err != nil {
			return err
		}
		if err := mayDelete(n); err != nil {
			return err
		}
		if err := s.loseParent(ctx, tx, r, n); err != nil {
			return err
		}
		return forgetNode(ctx, tx, n)
	})
	if err != nil {
		return nil, err
	}
	return rest.NoContent(), nil
}

// loseParent does to the children of n what the setting deletion.children says.
func (s *service) loseParent(ctx context.Context, tx *store.Tx, r *rest.Request, n *node.Node) error {
	children, err := tx.ChildUUIDs(ctx, n.UUID)
	if err != nil || len(children) == 0 {
		return err
	}
	if s.cfg.Children == Refuse {
		return conflict("Node %s has %d child nodes, the first is %s: delete them first, or set [deletion] children to cascade or orphan.",
			n.UUID, len(children), children[0])
	}
	for _, id := range children {
		c, err := tx.NodeForUpdate(ctx, id)
		if err != nil {
			return err
		}
		if s.cfg.Children == Orphan {
			err = orphan(ctx, tx, c)
		} else {
			err = deleteChild(ctx, tx, r, c)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func deleteChild(ctx context.Context, tx *store.Tx, r *rest.Request, c *node.Node) error {
	if err := r.Permit(c); err != nil {
		return err
	}
	if err := mayDelete(c); err != nil {
		return &fault.Error{Kind: fault.Conflict, Text: fmt.Sprintf("The node's child %s can not be deleted with it: %v", c.Label(), err), Err: err}
	}
	return forgetNode(ctx, tx, c)
}

// forgetNode removes n and the allocation that holds it.
func forgetNode(ctx context.Context, tx *store.Tx, n *node.Node) error {
	if n.AllocationUUID != "" {
		if err := tx.DeleteAllocation(ctx, n.AllocationUUID); err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
	}
	return tx.DeleteNode(ctx, n.UUID)
}

func orphan(ctx context.Context, tx *store.Tx, c *node.Node) error {
	if c.Reservation != "" {
		return conductor.Locked(c)
	}
	c.Parent = ""
	return tx.SaveNode(ctx, c)
}

// mayDelete refuses to delete a node that is locked, in use, protected, or in a state that does not allow it.
func mayDelete(n *node.Node) error {
	switch {
	case n.Reservation != "":
		return conductor.Locked(n)
	case n.Protected:
		return fault.New(fault.Forbidden, "Node %s is protected and can not be undeployed, rebuilt or deleted.", n.UUID)
	case n.Maintenance:
		return nil
	case n.InstanceUUID != "":
		return conflict("Node %s is associated with instance %s.", n.UUID, n.InstanceUUID)
	case !n.Provision.DeleteAllowed():
		return conflict("Can not delete node \"%s\" while it is in provision state \"%s\". Valid provision states to perform deletion are: "+
			"\"('manageable', 'enroll', 'adopt failed', 'available')\", or set the node into maintenance mode", n.UUID, n.Provision)
	}
	return nil
}
