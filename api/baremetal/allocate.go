package baremetal

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

// allocate finds a node for a, which has just been inserted, and holds it; or says in a why there is none. Nodes are tried in random order, so
// that requests of the same time do not all want the same one; with byName the node that has the allocation's name is tried first.
func allocate(ctx context.Context, tx *store.Tx, a *al, byName bool) error {
	no := false
	q := store.NodeQuery{
		Provision: []node.State{node.Available}, ResourceClass: a.ResourceClass, Associated: &no, Maintenance: &no,
		Columns: []string{
			"uuid", "name", "provision_state", "instance_uuid", "maintenance", "power_state", "parent_node", "resource_class", "owner", "lessee",
		},
	}
	if len(a.CandidateNodes) > 0 {
		q.UUIDs, q.IncludeChildren = a.CandidateNodes, true
	}
	found, err := tx.Nodes(ctx, q)
	if err != nil {
		return err
	}
	found = slices.DeleteFunc(found, func(n *node.Node) bool { return !a.Matches(n) })
	if len(found) == 0 {
		why := "no available nodes match the resource class " + a.ResourceClass
		if len(a.CandidateNodes) > 0 {
			why = "none of the requested nodes are available and match the resource class " + a.ResourceClass
		}
		return failAllocation(ctx, tx, a, why)
	}
	if err := tx.FillTraits(ctx, found); err != nil {
		return err
	}
	found = slices.DeleteFunc(found, func(n *node.Node) bool { return !a.Fits(n) })
	if len(found) == 0 {
		return failAllocation(ctx, tx, a, "no suitable nodes have requested traits "+strings.Join(a.Traits, ", "))
	}
	rand.Shuffle(len(found), func(i, j int) { found[i], found[j] = found[j], found[i] }) //nolint:gosec // spreads load; nothing depends on it being unforeseeable
	if i := slices.IndexFunc(found, func(n *node.Node) bool { return a.Name != "" && n.Name == a.Name }); byName && i > 0 {
		found[0], found[i] = found[i], found[0]
	}
	for _, n := range found {
		locked, err := tx.NodeForUpdate(ctx, n.UUID)
		if err != nil {
			return err
		}
		if locked.Traits = n.Traits; locked.Reservation == "" && a.Fits(locked) {
			return hold(ctx, tx, a, locked)
		}
	}
	return failAllocation(ctx, tx, a, fmt.Sprintf("all %d suitable nodes are locked", len(found)))
}

func failAllocation(ctx context.Context, tx *store.Tx, a *al, why string) error {
	a.State, a.LastError = node.AllocationError, fmt.Sprintf("Failed to process allocation %s: %s.", a.UUID, why)
	return tx.SaveAllocation(ctx, a)
}

// hold gives n to a.
func hold(ctx context.Context, tx *store.Tx, a *al, n *node.Node) error {
	n.InstanceUUID, n.AllocationUUID = a.UUID, a.UUID
	if len(a.Traits) > 0 {
		traits := make([]any, len(a.Traits))
		for i, t := range a.Traits {
			traits[i] = t
		}
		n.InstanceInfo = maps.Clone(n.InstanceInfo)
		if n.InstanceInfo == nil {
			n.InstanceInfo = node.Object{}
		}
		n.InstanceInfo["traits"] = traits
	}
	if err := tx.SaveNode(ctx, n); err != nil {
		return err
	}
	a.State, a.NodeUUID, a.LastError = node.AllocationActive, n.UUID, ""
	return tx.SaveAllocation(ctx, a)
}
