package store

import (
	"context"
	"strings"

	"github.com/riser-project/riser/node"
)

type np = node.Port

var ports = newResource("ports", "Port", func(p *np) *node.Record { return &p.Record },
	text("node_uuid", func(p *np) *string { return &p.NodeUUID }),
	text("address", func(p *np) *string { return &p.Address }),
	text("name", func(p *np) *string { return &p.Name }),
	jsonText("extra", func(p *np) *node.Object { return &p.Extra }),
	jsonText("internal_info", func(p *np) *node.Object { return &p.InternalInfo }),
	jsonText("local_link_connection", func(p *np) *node.Object { return &p.LocalLink }),
	boolean("pxe_enabled", func(p *np) *bool { return &p.PXEEnabled }),
	text("portgroup_uuid", func(p *np) *string { return &p.PortgroupUUID }),
	text("physical_network", func(p *np) *string { return &p.PhysicalNet }),
	boolean("is_smartnic", func(p *np) *bool { return &p.SmartNIC }),
	text("description", func(p *np) *string { return &p.Description }),
	text("vendor", func(p *np) *string { return &p.Vendor }),
	text("category", func(p *np) *string { return &p.Category }),
	boolean("available_for_dynamic_portgroup", func(p *np) *bool { return &p.DynamicAllowed }),
)

// PortQuery selects ports, or port groups. The zero value selects all.
type PortQuery struct {
	NodeUUID      string
	Address       string
	PortgroupUUID string
	Description   string   // is contained in the description, whatever the case
	Shards        []string // of the node
	Groups        []string // conductor groups of the node
	Project       string   // owner or lessee of the node
	Page
}

func (q *PortQuery) where() *where {
	w := &where{}
	w.equal("node_uuid", q.NodeUUID)
	w.equal("address", q.Address)
	w.equal("portgroup_uuid", q.PortgroupUUID)
	if q.Description != "" {
		w.add(`LOWER(description) LIKE ? ESCAPE '\'`, "%"+escapeLike(strings.ToLower(q.Description))+"%")
	}
	ofNode := &where{}
	in(ofNode, "shard", q.Shards)
	in(ofNode, "conductor_group", q.Groups)
	if q.Project != "" {
		ofNode.add("(owner = ? OR lessee = ?)", q.Project, q.Project)
	}
	if len(ofNode.conds) > 0 {
		w.add("node_uuid IN (SELECT uuid FROM nodes"+ofNode.sql()+")", ofNode.args...)
	}
	return w
}

// SortablePortColumn reports whether ports can be sorted by this API field.
func SortablePortColumn(name string) bool { return ports.sortable(name) }

// Port returns the port with this UUID. The error is fault.NotFound when there is none.
func (tx *Tx) Port(ctx context.Context, uuid string) (*node.Port, error) {
	return ports.one(ctx, tx, "uuid", uuid)
}

// PortNamed returns the port with this UUID or name. The error is fault.NotFound when there is none.
func (tx *Tx) PortNamed(ctx context.Context, ref string) (*node.Port, error) {
	return ports.named(ctx, tx, ref)
}

// Ports returns the ports that q selects. A marker that names no port is fault.NotFound.
func (tx *Tx) Ports(ctx context.Context, q PortQuery) ([]*node.Port, error) {
	return ports.list(ctx, tx, q.where(), q.Page)
}

// InsertPort adds p and fills its CreatedAt. The error is fault.Conflict when its UUID, address or name is taken.
func (tx *Tx) InsertPort(ctx context.Context, p *node.Port) error {
	return ports.add(ctx, tx, p, portTaken)
}

// SavePort writes all of p as it was read. The error is fault.Conflict when it was changed since, or its address or name is taken.
func (tx *Tx) SavePort(ctx context.Context, p *node.Port) error {
	return ports.save(ctx, tx, p, portTaken)
}

func portTaken(p *node.Port) error {
	return taken("A port with MAC address %s, UUID %s or name \"%s\" already exists.", p.Address, p.UUID, p.Name)
}

// DeletePort removes the port with this UUID.
func (tx *Tx) DeletePort(ctx context.Context, uuid string) error { return ports.remove(ctx, tx, uuid) }
