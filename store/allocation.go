package store

import (
	"context"

	"github.com/riser-project/riser/node"
)

type nal = node.Allocation

var allocations = newResource("allocations", "Allocation", func(a *nal) *node.Record { return &a.Record },
	text("name", func(a *nal) *string { return &a.Name }),
	text("resource_class", func(a *nal) *string { return &a.ResourceClass }),
	jsonText("candidate_nodes", func(a *nal) *[]string { return &a.CandidateNodes }),
	jsonText("traits", func(a *nal) *[]string { return &a.Traits }),
	jsonText("extra", func(a *nal) *node.Object { return &a.Extra }),
	text("owner", func(a *nal) *string { return &a.Owner }),
	text("node_uuid", func(a *nal) *string { return &a.NodeUUID }),
	spelled("state", func(a *nal) *node.AllocationState { return &a.State }),
	text("last_error", func(a *nal) *string { return &a.LastError }),
)

// AllocationQuery selects allocations. The zero value selects all.
type AllocationQuery struct {
	NodeUUID      string
	ResourceClass string
	State         node.AllocationState
	Owner         string
	Page
}

// SortableAllocationColumn reports whether allocations can be sorted by this API field.
func SortableAllocationColumn(name string) bool { return allocations.sortable(name) }

// Allocation returns the allocation with this UUID or name. The error is fault.NotFound when there is none.
func (tx *Tx) Allocation(ctx context.Context, ref string) (*node.Allocation, error) {
	return allocations.named(ctx, tx, ref)
}

// Allocations returns the allocations that q selects. A marker that names no allocation is fault.NotFound.
func (tx *Tx) Allocations(ctx context.Context, q AllocationQuery) ([]*node.Allocation, error) {
	w := &where{}
	w.equal("node_uuid", q.NodeUUID)
	w.equal("resource_class", q.ResourceClass)
	w.equal("state", string(q.State))
	w.equal("owner", q.Owner)
	return allocations.list(ctx, tx, w, q.Page)
}

// InsertAllocation adds a and fills its CreatedAt. The error is fault.Conflict when its UUID, name or node is taken.
func (tx *Tx) InsertAllocation(ctx context.Context, a *node.Allocation) error {
	return allocations.add(ctx, tx, a, allocationTaken)
}

// SaveAllocation writes all of a as it was read. The error is fault.Conflict when it was changed since, or its name or node is taken.
func (tx *Tx) SaveAllocation(ctx context.Context, a *node.Allocation) error {
	return allocations.save(ctx, tx, a, allocationTaken)
}

func allocationTaken(a *node.Allocation) error {
	return taken("An allocation with UUID %s, name \"%s\" or node \"%s\" already exists.", a.UUID, a.Name, a.NodeUUID)
}

// DeleteAllocation removes the allocation with this UUID. The node it holds is the caller's business.
func (tx *Tx) DeleteAllocation(ctx context.Context, uuid string) error {
	return allocations.remove(ctx, tx, uuid)
}
