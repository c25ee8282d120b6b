package baremetal

import (
	"context"
	"maps"
	"slices"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/conductor"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

// change is a patch of a node: what it was, what it is to be, and the fields that were touched.
type change struct {
	old, new *node.Node
	touched  []string
	reset    bool // interfaces that the patch does not name get the new driver's defaults
}

func (c *change) of(field string) bool { return slices.Contains(c.touched, field) }

// patchNode answers PATCH /v1/nodes/{node}.
func (s *service) patchNode(r *rest.Request) (*rest.Response, error) {
	ops, err := readPatch(r)
	if err != nil {
		return nil, err
	}
	reset, err := readReset(r, ops)
	if err != nil {
		return nil, err
	}
	var n *node.Node
	var b []byte
	err = s.write(r, func(ctx context.Context, tx *store.Tx) (err error) {
		if n, err = nodeOf(ctx, r, tx.NodeForUpdate); err != nil {
			return err
		}
		if err := s.applyPatch(ctx, tx, r, n, ops, reset); err != nil {
			return err
		}
		b, err = nodeBody(ctx, tx, r, n)
		return err
	})
	if err != nil {
		return nil, s.nodeTaken(r, n, err)
	}
	return rest.OK(b), nil
}

// readReset reads ?reset_interfaces=, which goes only with a change of the driver.
func readReset(r *rest.Request, ops []patchOp) (bool, error) {
	reset, err := queryBool(r.Query(), "reset_interfaces")
	if err != nil || reset == nil {
		return false, err
	}
	if err := need(r, mvResetInterfaces); err != nil {
		return false, err
	}
	if *reset && !slices.ContainsFunc(ops, func(o patchOp) bool { return o.path[0] == "driver" }) {
		return false, invalid("The reset_interfaces parameter can only be used when changing the node's driver.")
	}
	return *reset, nil
}

func (s *service) applyPatch(ctx context.Context, tx *store.Tx, r *rest.Request, n *node.Node, ops []patchOp, reset bool) error {
	if len(ops) == 0 {
		return nil
	}
	for _, op := range ops {
		if op.path[0] == "parent_node" && op.op != "remove" && op.value == nil {
			return invalid("Unable to apply the requested parent_node 'None'. Requested value was invalid.")
		}
		if op.path[0] == "name" && op.op != "remove" && op.value == nil {
			return invalid("Cannot change name for node %s to 'None'", n.UUID)
		}
		if op.path[0] == "chassis_uuid" && op.op == "remove" && r.Version < mvChassisUnset {
			return notAcceptable()
		}
	}
	old := *n
	n.Interfaces = maps.Clone(n.Interfaces)
	touched, err := nodeForm.patch(n, ops, r.Version)
	if err != nil {
		return err
	}
	for _, name := range touched {
		if err := r.PermitRule(updateRule(name), &old); err != nil {
			return err
		}
	}
	c := &change{old: &old, new: n, touched: touched, reset: reset}
	if err := c.allowed(r, ops); err != nil {
		return err
	}
	if err := s.settle(ctx, tx, r, c); err != nil {
		return err
	}
	return tx.SaveNode(ctx, n)
}

// allowed refuses a patch that the node's state forbids.
func (c *change) allowed(r *rest.Request, ops []patchOp) error {
	n := c.old
	freeing := n.Maintenance && len(ops) == 1 && ops[0].op == "remove" && ops[0].text == "/instance_uuid"
	switch {
	case n.Reservation != "":
		return conductor.Locked(n)
	case n.TargetProvision != "" && !n.Provision.UpdateAllowed() && !freeing:
		return conflict("Node %s can not be updated while a state transition is in progress.", n.UUID)
	case n.Provision == node.Inspecting && r.Version >= mvInspectWait:
		return conflict("Can not update node \"%s\" while it is in state \"%s\".", n.UUID, n.Provision)
	case c.of("driver") && n.Driver != c.new.Driver && n.ConsoleEnabled:
		return conflict("Node %s can not change its driver while its console is enabled.", n.UUID)
	}
	for _, kind := range node.AllInterfaces {
		if c.of(interfaceField(kind)) && !n.Maintenance && !mayChangeInterfaces(n.Provision) {
			return conflict("Node %s can not have %s updated unless it is in one of the provision states enroll, inspecting, inspect wait, manageable, "+
				"available, or in maintenance mode.", n.UUID, interfaceField(kind))
		}
	}
	return nil
}

func mayChangeInterfaces(s node.State) bool {
	switch s {
	case node.Enroll, node.Inspecting, node.InspectWait, node.Manageable, node.Available:
		return true
	}
	return false
}

// settle checks the new values against each other and the store, and carries out what follows from them.
func (s *service) settle(ctx context.Context, tx *store.Tx, r *rest.Request, c *change) error {
	if err := c.checkValues(r); err != nil {
		return err
	}
	n := c.new
	if c.of("owner") && c.old.Owner != n.Owner {
		if err := mayChangeOwner(ctx, tx, r, c.old); err != nil {
			return err
		}
	}
	if c.of("parent_node") && n.Parent != "" {
		if err := s.adopt(ctx, tx, r, c); err != nil {
			return err
		}
	}
	if c.of("chassis_uuid") {
		n.ChassisUUID = canonical(n.ChassisUUID)
		if err := checkChassis(ctx, tx, n.ChassisUUID); err != nil {
			return err
		}
	}
	return s.settleDriver(ctx, tx, c)
}

func (s *service) adopt(ctx context.Context, tx *store.Tx, r *rest.Request, c *change) error {
	children, err := tx.ChildUUIDs(ctx, c.new.UUID)
	if err != nil {
		return err
	}
	return setParent(ctx, tx, r, c.new, c.new.Parent, len(children) > 0)
}

func (s *service) settleDriver(ctx context.Context, tx *store.Tx, c *change) error {
	n := c.new
	driverChanged := n.Driver != c.old.Driver
	if driverChanged || n.ConductorGroup != c.old.ConductorGroup {
		if err := s.checkServed(ctx, tx, n); err != nil {
			return err
		}
	}
	if driverChanged && c.reset {
		for _, kind := range node.AllInterfaces {
			if !c.of(interfaceField(kind)) {
				delete(n.Interfaces, kind)
			}
		}
	}
	if driverChanged || !maps.Equal(n.Interfaces, c.old.Interfaces) {
		return s.chooseInterfaces(n)
	}
	return nil
}

// checkValues refuses values that go against each other, and clears what goes with what was cleared.
func (c *change) checkValues(r *rest.Request) error {
	n, old := c.new, c.old
	switch {
	case c.of("name") && n.Name != old.Name && n.Name != "" && !validNodeName(n.Name, r.Version):
		return invalid("Cannot change name for node %s to '%s'", n.UUID, n.Name)
	case n.InstanceUUID != old.InstanceUUID && n.InstanceUUID != "" && old.InstanceUUID != "":
		return conflict("Node %s is associated with instance %s.", n.UUID, old.InstanceUUID)
	case n.Protected && !old.Protected && n.Provision != node.Active && n.Provision != node.RescueState:
		return conflict("Node %s can not have protected set in provision state \"%s\", the allowed states are \"active\" and \"rescue\".", n.UUID, n.Provision)
	case c.of("protected_reason") && n.ProtectedReason != "" && !n.Protected:
		return invalid("The protected_reason field can only be set when protected is True")
	case n.Retired && !old.Retired && n.Provision == node.Available:
		return conflict("Node %s can not have retired set in provision state \"available\", the node must be moved to \"manageable\" first.", n.UUID)
	case c.of("retired_reason") && n.RetiredReason != "" && !n.Retired:
		return invalid("The retired_reason field can only be set when retired is True")
	}
	if c.of("network_data") {
		if err := checkNetworkData(n.NetworkData); err != nil {
			return err
		}
	}
	n.InstanceUUID = canonical(n.InstanceUUID)
	if c.of("instance_info") {
		nameInstance(n)
	}
	if !n.Protected {
		n.ProtectedReason = ""
	}
	if !n.Retired {
		n.RetiredReason = ""
	}
	if old.Maintenance && !n.Maintenance {
		n.MaintenanceReason, n.Fault = "", ""
	}
	return nil
}

// mayChangeOwner refuses to hand an occupied node to another project, except by those who may do anything.
func mayChangeOwner(ctx context.Context, tx *store.Tx, r *rest.Request, n *node.Node) error {
	if n.AllocationUUID != "" {
		a, err := tx.Allocation(ctx, n.AllocationUUID)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
		if err == nil && a.Owner != "" {
			return conflict("Cannot change owner of node %s while its allocation %s has an owner.", n.UUID, a.UUID)
		}
	}
	if n.Provision != node.Active {
		return nil
	}
	err := r.PermitRule("baremetal:node:update_owner_provisioned", n)
	if fault.Is(err, fault.Forbidden) {
		return conflict("Cannot update owner of node %s while it is provisioned.", n.UUID)
	}
	return err
}
