package baremetal

import (
	"context"

	"github.com/google/uuid"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

// createNode answers POST /v1/nodes.
func (s *service) createNode(r *rest.Request) (*rest.Response, error) {
	n, err := s.newNode(r)
	if err != nil {
		return nil, err
	}
	var b []byte
	err = s.write(r, func(ctx context.Context, tx *store.Tx) error {
		if err := r.Permit(n); err != nil {
			return err
		}
		if err := s.placeNode(ctx, tx, r, n); err != nil {
			return err
		}
		if err := tx.InsertNode(ctx, n); err != nil {
			return err
		}
		b, err = nodeBody(ctx, tx, r, n)
		return err
	})
	if err != nil {
		return nil, s.nodeTaken(r, n, err)
	}
	return rest.Created(r.Endpoint()+"/v1/nodes/"+n.UUID, b), nil
}

// newNode reads a node from the body of a request, without a look at the store.
func (s *service) newNode(r *rest.Request) (*node.Node, error) {
	body, err := r.Object(false)
	if err != nil {
		return nil, err
	}
	n := &node.Node{ResourceClass: s.cfg.DefaultResourceClass, ConductorGroup: s.cfg.DefaultConductorGroup, Provision: node.Enroll}
	if r.Version < mvEnroll {
		n.Provision = node.Available
	}
	if err := nodeForm.fill(n, body, r.Version); err != nil {
		return nil, err
	}
	if n.Name != "" && !validNodeName(n.Name, r.Version) {
		return nil, invalid("Cannot create node with invalid name '%s'", n.Name)
	}
	if n.RetiredReason != "" && !n.Retired {
		return nil, invalid("Cannot set retired_reason without retired being True")
	}
	if err := checkNetworkData(n.NetworkData); err != nil {
		return nil, err
	}
	if n.UUID = canonical(n.UUID); n.UUID == "" {
		n.UUID = uuid.NewString()
	}
	n.InstanceUUID, n.ChassisUUID = canonical(n.InstanceUUID), canonical(n.ChassisUUID)
	nameInstance(n)
	return n, nil
}

// nameInstance takes the instance's name from its display name when it has none.
func nameInstance(n *node.Node) {
	if n.InstanceName != "" {
		return
	}
	if s, _ := n.InstanceInfo["display_name"].(string); len(s) <= 255 {
		n.InstanceName = s
	}
}

// placeNode checks what n refers to, and fills in its interfaces.
func (s *service) placeNode(ctx context.Context, tx *store.Tx, r *rest.Request, n *node.Node) error {
	if n.Parent != "" {
		if err := setParent(ctx, tx, r, n, n.Parent, false); err != nil {
			return err
		}
	}
	if err := checkChassis(ctx, tx, n.ChassisUUID); err != nil {
		return err
	}
	if err := s.checkServed(ctx, tx, n); err != nil {
		return err
	}
	return s.chooseInterfaces(n)
}

// setParent gives n the parent that the client named by UUID or name.
func setParent(ctx context.Context, tx *store.Tx, r *rest.Request, n *node.Node, asked string, hasChildren bool) error {
	parent, err := tx.Node(ctx, canonical(asked))
	if err == nil {
		err = r.PermitRule("baremetal:node:update:parent_node", parent)
	}
	switch {
	case fault.Is(err, fault.NotFound), fault.Is(err, fault.Forbidden):
		parent = nil
	case err != nil:
		return err
	}
	if err := node.CheckParent(n, hasChildren, parent, asked); err != nil {
		return err
	}
	n.Parent = parent.UUID
	return nil
}

func checkChassis(ctx context.Context, tx *store.Tx, id string) error {
	if id == "" {
		return nil
	}
	_, err := tx.Chassis(ctx, id)
	if fault.Is(err, fault.NotFound) {
		return invalid("Chassis %s could not be found.", id)
	}
	return err
}

// nodeTaken says which of n's unique values another node has, when that is what err is about.
func (s *service) nodeTaken(r *rest.Request, n *node.Node, err error) error {
	if !fault.Is(err, fault.Conflict) {
		return err
	}
	found := err
	_ = s.read(r, func(ctx context.Context, tx *store.Tx) error { // the conflict itself is told when this look fails
		if other, err := tx.Node(ctx, n.Name); err == nil && other.UUID != n.UUID {
			found = conflict("A node with name %s already exists.", n.Name)
			return nil
		}
		if list, err := tx.Nodes(ctx, store.NodeQuery{IncludeChildren: true, InstanceUUID: n.InstanceUUID, Limit: 1}); err == nil && n.InstanceUUID != "" &&
			len(list) == 1 && list[0].UUID != n.UUID {
			found = conflict("Instance %s is already associated with a node, it cannot be associated with this other node %s", n.InstanceUUID, n.UUID)
			return nil
		}
		if other, err := tx.Node(ctx, n.UUID); err == nil && n.ID == 0 && other.UUID == n.UUID {
			found = conflict("A node with UUID %s already exists.", n.UUID)
		}
		return nil
	})
	return found
}
