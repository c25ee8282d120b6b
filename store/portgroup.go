package store

import (
	"context"

	"github.com/riser-project/riser/node"
)

type npg = node.Portgroup

var portgroups = newResource("portgroups", "Portgroup", func(g *npg) *node.Record { return &g.Record },
	text("node_uuid", func(g *npg) *string { return &g.NodeUUID }),
	text("name", func(g *npg) *string { return &g.Name }),
	text("address", func(g *npg) *string { return &g.Address }),
	jsonText("extra", func(g *npg) *node.Object { return &g.Extra }),
	jsonText("internal_info", func(g *npg) *node.Object { return &g.InternalInfo }),
	boolean("standalone_ports_supported", func(g *npg) *bool { return &g.StandalonePorts }),
	text("mode", func(g *npg) *string { return &g.Mode }),
	jsonText("properties", func(g *npg) *node.Object { return &g.Properties }),
	text("physical_network", func(g *npg) *string { return &g.PhysicalNet }),
	text("category", func(g *npg) *string { return &g.Category }),
	boolean("dynamic_portgroup", func(g *npg) *bool { return &g.Dynamic }),
)

// SortablePortgroupColumn reports whether port groups can be sorted by this API field.
func SortablePortgroupColumn(name string) bool { return portgroups.sortable(name) }

// Portgroup returns the port group with this UUID or name. The error is fault.NotFound when there is none.
func (tx *Tx) Portgroup(ctx context.Context, ref string) (*node.Portgroup, error) {
	return portgroups.named(ctx, tx, ref)
}

// Portgroups returns the port groups that q selects, without regard to its PortgroupUUID and Description. A marker that names no port group is
// fault.NotFound.
func (tx *Tx) Portgroups(ctx context.Context, q PortQuery) ([]*node.Portgroup, error) {
	q.PortgroupUUID, q.Description = "", ""
	return portgroups.list(ctx, tx, q.where(), q.Page)
}

// InsertPortgroup adds g and fills its CreatedAt. The error is fault.Conflict when its UUID, address or name is taken.
func (tx *Tx) InsertPortgroup(ctx context.Context, g *node.Portgroup) error {
	return portgroups.add(ctx, tx, g, portgroupTaken)
}

// SavePortgroup writes all of g as it was read. The error is fault.Conflict when it was changed since, or its address or name is taken.
func (tx *Tx) SavePortgroup(ctx context.Context, g *node.Portgroup) error {
	return portgroups.save(ctx, tx, g, portgroupTaken)
}

func portgroupTaken(g *node.Portgroup) error {
	return taken("A portgroup with MAC address %s, UUID %s or name \"%s\" already exists.", g.Address, g.UUID, g.Name)
}

// DeletePortgroup removes the port group with this UUID.
func (tx *Tx) DeletePortgroup(ctx context.Context, uuid string) error {
	return portgroups.remove(ctx, tx, uuid)
}
