package store

import (
	"context"

	"github.com/riser-project/riser/node"
)

type nch = node.Chassis

var chassis = newResource("chassis", "Chassis", func(c *nch) *node.Record { return &c.Record },
	text("description", func(c *nch) *string { return &c.Description }),
	jsonText("extra", func(c *nch) *node.Object { return &c.Extra }),
)

// SortableChassisColumn reports whether chassis can be sorted by this API field.
func SortableChassisColumn(name string) bool { return chassis.sortable(name) }

// Chassis returns the chassis with this UUID. The error is fault.NotFound when there is none.
func (tx *Tx) Chassis(ctx context.Context, uuid string) (*node.Chassis, error) {
	return chassis.one(ctx, tx, "uuid", uuid)
}

// ChassisList returns a page of the chassis.
func (tx *Tx) ChassisList(ctx context.Context, p Page) ([]*node.Chassis, error) {
	return chassis.list(ctx, tx, &where{}, p)
}

// InsertChassis adds c and fills its CreatedAt. The error is fault.Conflict when its UUID is taken.
func (tx *Tx) InsertChassis(ctx context.Context, c *node.Chassis) error {
	return chassis.add(ctx, tx, c, chassisTaken)
}

// SaveChassis writes all of c as it was read. The error is fault.Conflict when it was changed since.
func (tx *Tx) SaveChassis(ctx context.Context, c *node.Chassis) error {
	return chassis.save(ctx, tx, c, chassisTaken)
}

func chassisTaken(c *node.Chassis) error {
	return taken("A chassis with UUID %s already exists.", c.UUID)
}

// DeleteChassis removes the chassis with this UUID. Nodes in it are the caller's business.
func (tx *Tx) DeleteChassis(ctx context.Context, uuid string) error {
	return chassis.remove(ctx, tx, uuid)
}
